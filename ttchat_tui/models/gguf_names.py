"""What the names of .gguf files say: the quantisation, the shards of one model, the file to take of a repository."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import PurePosixPath
from typing import Final

from ttchat_tui.domain.shards import shards_of

USUAL: Final = ("Q4_K_M", "Q4_K_S", "Q4_0", "Q5_K_M", "Q6_K", "Q8_0")
"""Taken in this order where a repository is named without a quantisation. llama.cpp and Ollama begin with Q4_K_M too."""

_QUANTISATION: Final = re.compile(
    r"(?<![A-Za-z0-9])((?:UD-)?(?:IQ[1-4]_(?:XXS|XS|S|M|NL)|Q[2-8]_K(?:_(?:XL|XS|S|M|L|P))?|Q[2-8]_[01]|TQ[12]_0"
    r"|MXFP4(?:_MOE)?|BF16|F16|F32|FP16|FP32))(?![A-Za-z0-9])",
    re.IGNORECASE,
)
"""As `llama-quantize` and those who publish its files write them. `UD-`: Unsloth's mixes of formats."""
_DEEPEST: Final = 4
"""Parts of a path. Shards often are in a folder of their quantisation."""
_LONGEST: Final = 200
"""Bytes of a name in a path; the file system holds 255."""
_NO_MODEL: Final = re.compile(r"mmproj|imatrix", re.IGNORECASE)


def quantisation_of(path: str) -> str:
    """`Q4_K_M` for `qwen2.5-0.5b-instruct-q4_k_m.gguf`; also from a folder in the path. Empty if the path does not say."""
    for part in reversed(PurePosixPath(path).parts):
        if found := _QUANTISATION.findall(part):
            return str(found[-1]).upper()
    return ""


def is_plain(path: str) -> bool:
    """Whether a path that a server or a user names is below its folder, not hidden, and can be stored and shown."""
    parts = path.split("/")
    return len(parts) <= _DEEPEST and all(map(_is_plain_part, parts))


def _is_plain_part(name: str) -> bool:
    is_usual = name.isprintable() and name == name.strip() and "\\" not in name
    return is_usual and name[:1] not in ("", ".") and len(name.encode()) <= _LONGEST


def models_among(names: Iterable[str]) -> dict[str, list[str]]:
    """The models among the files of a repository: first file → all its files. Models that lack a shard are left out.

    What is no model by its name (projectors of images, statistics) is left out too.
    """
    ggufs = {
        name for name in names if name.endswith(".gguf") and not _NO_MODEL.search(name.rpartition("/")[2])
    }
    found: dict[str, list[str]] = {}
    for name in sorted(ggufs):
        shards = [str(shard) for shard in shards_of(PurePosixPath(name))]
        if ggufs.issuperset(shards):
            found[shards[0]] = shards
    return found


def choose(names: Iterable[str], *, file: str = "", quantisation: str = "") -> list[str]:
    """The files to take of a repository with the files `names`: of the model that contains `file`, else of the
    quantisation, else of the first of `USUAL`, else the first one.

    Raises:
        ValueError: with the end of a sentence about the repository.
    """
    models = models_among(names)
    if not models:
        raise ValueError("has no .gguf files")
    if file:
        for files in models.values():
            if file in files:
                return files
        raise ValueError(f"has no file {file}; it has {', '.join(models)}")
    by_quantisation: dict[str, str] = {}
    for name in sorted(models, key=lambda name: (len(name), name)):
        by_quantisation.setdefault(quantisation_of(name), name)
    wanted = (quantisation, f"UD-{quantisation}") if quantisation else USUAL
    for each in wanted:
        if each in by_quantisation:
            return models[by_quantisation[each]]
    if quantisation:
        there = ", ".join(sorted(each for each in by_quantisation if each)) or "none that its names say"
        raise ValueError(f"has no {quantisation}; it has {there}")
    return models[next(iter(models))]
