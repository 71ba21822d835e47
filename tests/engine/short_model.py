"""The default model with a few layers and a small vocabulary: its own tokens, template and weights at a tenth of the cost."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import gguf
import numpy as np

from ttchat_tui.engine.cpu.checkpoints.gguf_container import GgufContainer, TensorEntry

LAYERS: Final = 4
VOCAB: Final = 8192
"""Of 49,152 tokens. A BPE numbers its tokens in the order of their merges, so the first ones are a vocabulary as well."""


def shorten(model: Path, path: Path, **fields: Any) -> Path:
    """Write a GGUF file of `model` with its first layers and tokens only; `fields` replace its metadata, with `__` for the
    dots of their keys."""
    container = GgufContainer(model)
    tokens = container.metadata["tokenizer.ggml.tokens"][:VOCAB]
    known = set(tokens)
    changed = {
        "llama.block_count": LAYERS,
        "llama.vocab_size": VOCAB,
        "tokenizer.ggml.tokens": tokens,
        "tokenizer.ggml.token_type": container.metadata["tokenizer.ggml.token_type"][:VOCAB],
        "tokenizer.ggml.merges": [
            line for line in container.metadata["tokenizer.ggml.merges"] if line.replace(" ", "", 1) in known
        ],
        **{key.replace("__", "."): value for key, value in fields.items()},
    }
    writer = gguf.GGUFWriter(path, "llama")
    for key, value in {**container.metadata, **changed}.items():
        if key != "general.architecture":  # The writer has it.
            writer.add_key_value(key, value, gguf.GGUFValueType.get_type(value))
    for entry in container.tensors.values():
        block = entry.name.split(".")[1] if entry.name.startswith("blk.") else "0"
        if int(block) < LAYERS:
            kind = gguf.GGMLQuantizationType(entry.type_id)
            writer.add_tensor(entry.name, _rows(container, entry, kind), raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def _rows(container: GgufContainer, entry: TensorEntry, kind: gguf.GGMLQuantizationType) -> Any:
    """The tensor's bytes, row by row; of the embedding those of the tokens that are left."""
    rows, columns = entry.shape if len(entry.shape) == 2 else (1, *entry.shape)
    per_block, block_bytes = gguf.GGML_QUANT_SIZES[kind]
    row_bytes = columns // per_block * block_bytes
    count = min(rows, VOCAB) if entry.name == "token_embd.weight" else rows
    raw = container.data[entry.offset : entry.offset + count * row_bytes]
    bytes_of_rows = np.frombuffer(raw, np.uint8).reshape(count, row_bytes)
    return bytes_of_rows if len(entry.shape) == 2 else bytes_of_rows[0]
