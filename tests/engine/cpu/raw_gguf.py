"""GGUF files byte by byte: metadata and tensors of any type, sound or faulty, as no library would write them.

Format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

F32 = 0
ARRAY = 9


class ValueOfType(NamedTuple):
    """A value as a certain GGUF type; of a list, the type of its members."""

    type_id: int
    value: Any


class TensorToWrite(NamedTuple):
    shape: Sequence[int]
    """Outputs first."""
    data: bytes
    type_id: int = F32


def gguf_bytes(
    metadata: Mapping[str, Any], tensors: Mapping[str, TensorToWrite], alignment: int = 32
) -> bytes:
    """A file. Python's bool, int, float and str have a type each; `ValueOfType` names another one."""
    head = b"GGUF" + struct.pack("<IQQ", 3, len(tensors), len(metadata))
    head += b"".join(_string(key) + _value(value) for key, value in metadata.items())
    data = b""
    for name, tensor in tensors.items():
        head += _string(name) + struct.pack("<I", len(tensor.shape))
        head += struct.pack(f"<{len(tensor.shape)}Q", *reversed(tensor.shape))
        head += struct.pack("<IQ", tensor.type_id, len(data))
        data += tensor.data + bytes(-len(tensor.data) % alignment)
    return head + bytes(-len(head) % alignment) + data


def tiny_metadata(architecture: str = "llama", **hyperparameters: Any) -> dict[str, Any]:
    """Of a model of one layer that loads; `hyperparameters` with `__` for the dots of their keys, None to leave one out."""
    found: dict[str, Any] = {
        "block_count": 1, "context_length": 16, "embedding_length": 8, "feed_forward_length": 12,
        "attention__head_count": 2, "attention__head_count_kv": 1, "attention__layer_norm_rms_epsilon": 1e-5,
        **hyperparameters,
    }  # fmt: skip
    named = {f"{architecture}.{key.replace('__', '.')}": value for key, value in found.items()}
    head = {"general.architecture": architecture, "general.type": "model"}
    vocabulary = {
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.pre": "gpt-2",
        "tokenizer.ggml.tokens": ["a", "b", "c", "<|im_end|>"],
        "tokenizer.ggml.token_type": ValueOfType(5, [1, 1, 1, 3]),
        "tokenizer.ggml.merges": ValueOfType(8, []),
    }
    return head | {key: value for key, value in named.items() if value is not None} | vocabulary


def tiny_tensors(architecture: str = "llama") -> dict[str, TensorToWrite]:
    """What `tiny_metadata` describes, filled with ones."""
    shapes = {
        "token_embd": (4, 8), "output_norm": (8,), "blk.0.attn_norm": (8,), "blk.0.attn_q": (8, 8), "blk.0.attn_k": (4, 8),
        "blk.0.attn_v": (4, 8), "blk.0.attn_output": (8, 8), "blk.0.ffn_norm": (8,), "blk.0.ffn_gate": (12, 8),
        "blk.0.ffn_up": (12, 8), "blk.0.ffn_down": (8, 12),
    }  # fmt: skip
    if architecture == "qwen3":
        shapes |= {"blk.0.attn_q_norm": (4,), "blk.0.attn_k_norm": (4,)}
    return {f"{name}.weight": ones(*shape) for name, shape in shapes.items()}


def ones(*shape: int) -> TensorToWrite:
    return TensorToWrite(shape, np.ones(shape, "<f4").tobytes())


def write_raw(
    path: Path, metadata: Mapping[str, Any] | None = None, tensors: Mapping[str, TensorToWrite] | None = None
) -> Path:
    """Write a file; what is not given is that of the tiny model."""
    chosen = tiny_metadata() if metadata is None else metadata
    architecture = str(chosen.get("general.architecture", "llama"))
    path.write_bytes(gguf_bytes(chosen, tiny_tensors(architecture) if tensors is None else tensors))
    return path


_CODES = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}


def _string(text: str) -> bytes:
    encoded = text.encode()
    return struct.pack("<Q", len(encoded)) + encoded


def _value(value: Any) -> bytes:
    type_id, plain = value if isinstance(value, ValueOfType) else (_type_of(value), value)
    if isinstance(plain, list):
        members: list[Any] = plain
        return struct.pack("<IIQ", ARRAY, type_id, len(members)) + b"".join(
            _bare(type_id, each) for each in members
        )
    return struct.pack("<I", type_id) + _bare(type_id, plain)


def _bare(type_id: int, value: Any) -> bytes:
    return _string(value) if type_id == 8 else struct.pack(f"<{_CODES[type_id]}", value)


def _type_of(value: Any) -> int:
    if isinstance(value, list):
        return _type_of(value[0])
    if isinstance(value, bool):
        return 7
    if isinstance(value, str):
        return 8
    return 6 if isinstance(value, float) else 4 if value >= 0 else 5
