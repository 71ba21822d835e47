"""What files of models are, in words that the list of models and the engines share."""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Final

LFS_POINTER: Final = b"version https://git-lfs"
"""The start of the pointer that git leaves in place of a large file it did not fetch."""
SINGLE_FILE: Final = "model.safetensors"
"""The weights of a model that is not split."""

LONGEST_GGUF_HEADER: Final = 2**27
"""Bytes. Vocabularies of a million tokens take a third. More is damage, or made to fill the memory: such files may be sparse."""
MOST_GGUF_FIELDS: Final = 2**16
MOST_GGUF_TENSORS: Final = 2**18
MOST_GGUF_STRINGS: Final = 2**22
"""In one array."""
LONGEST_SAFETENSORS_HEADER: Final = 100_000_000
"""Bytes. `MAX_HEADER_SIZE` of the safetensors package."""
LARGEST_TEXT: Final = 2**28
"""Bytes of a file of JSON or a template in a model's folder. The largest tokenizer.json have 40 MB."""

_SIDE_PART: Final = "the image or audio part of a model, which needs the model's main file beside it"
_DRAFT: Final = "a draft model, which only speeds another one up"
_EMBEDDER: Final = "a model for embedding or ranking texts, which writes none"
_TYPES: Final = {
    "mmproj": _SIDE_PART,
    "adapter": "an adapter (LoRA), which needs the model that it was trained for",
    "imatrix": "statistics for quantising a model",
    "vocab": "a vocabulary without weights",
}
"""`general.type` of GGUF files: `GGUFType` in llama.cpp's gguf-py/gguf/constants.py, and `vocab`."""
_ARCHITECTURES: Final = {
    "clip": _SIDE_PART,
    "t5encoder": "an encoder, which writes no text",
    "wavtokenizer-dec": "a decoder of sound",
    "eagle3": _DRAFT,
    "dflash": _DRAFT,
    "gemma4-assistant": _DRAFT,
}
_EMBEDDERS: Final = re.compile(r".*bert.*|.*-embed.*|gemma-embedding")
"""Architectures of llama.cpp's src/llama-arch.cpp that embed or rank texts."""
_PICKLES: Final = (".bin", ".pt", ".pth", ".ckpt")


def gguf_that_is_no_model(file_type: str, architecture: str) -> str:
    """What a GGUF file is that holds no model to chat with; empty for one that does.

    Args:
        file_type: `general.type`; empty if the file has none.
        architecture: `general.architecture`.
    """
    found = _TYPES.get(file_type) or _ARCHITECTURES.get(architecture, "")
    return found or (_EMBEDDER if _EMBEDDERS.fullmatch(architecture) else "")


def without_safetensors(names: Collection[str]) -> str:
    """The end of a sentence about a folder with these files, none of them safetensors."""
    pickles = sorted(name for name in names if name.endswith(_PICKLES))
    if pickles:
        return f"has its weights in {pickles[0]}, which may contain programs and is not read; .safetensors files are"
    return "has no .safetensors weights"


def is_index_stale(named: Collection[str], present: Collection[str]) -> bool:
    """Whether an index of shards is left over from another version: there is a whole file that it does not name.

    `named`: the files that the index names; `present`: the files of the folder.
    """
    return SINGLE_FILE in present and SINGLE_FILE not in named
