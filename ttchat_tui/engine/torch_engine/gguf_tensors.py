"""GGML tensor data → float32. The common types in torch (two threads, 0.4 s for SmolLM2); the rest by the gguf package.

Block layouts: https://github.com/ggml-org/ggml/blob/master/src/ggml-common.h. 32 weights to a block.
"""

from __future__ import annotations

import importlib
import mmap
from collections.abc import Callable
from typing import Any, Final

import numpy as np
import torch

from ttchat_tui.engine.base import ModelLoadError
from ttchat_tui.engine.torch_engine.gguf_container import TensorEntry

_BLOCK: Final = 32


def read_tensor(data: mmap.mmap, entry: TensorEntry) -> torch.Tensor:
    """The tensor as float32 in its own shape, a copy.

    Raises:
        ModelLoadError: unknown type, or data that the file does not hold.
    """
    try:
        if entry.type_id not in _UNPACK:
            return _read_with_gguf(data, entry)
        per_block, block_bytes, unpack = _UNPACK[entry.type_id]
        raw = _bytes_of(data, entry, entry.elements // per_block * block_bytes)
        return unpack(torch.frombuffer(raw, dtype=torch.uint8)).reshape(entry.shape)
    except (ValueError, KeyError, NotImplementedError) as error:
        raise ModelLoadError(
            f"The tensor {entry.name!r} (GGML type {entry.type_id}) cannot be read: {error}",
            "Download the file again, or choose another quantisation of the model.",
        ) from error


def _bytes_of(data: mmap.mmap, entry: TensorEntry, size: int) -> bytearray:
    # A copy in memory of our own, writable: torch warns of read-only buffers, and the map may be closed later.
    raw = bytearray(data[entry.offset : entry.offset + size])
    if len(raw) < size:
        raise ValueError("the file was cut short")
    return raw


def _read_with_gguf(data: mmap.mmap, entry: TensorEntry) -> torch.Tensor:
    """The gguf package knows all types. Imported when one needs it: that takes 0.2 s of a start that counts."""
    gguf: Any = importlib.import_module("gguf")
    quants: Any = importlib.import_module("gguf.quants")
    kind = gguf.GGMLQuantizationType(entry.type_id)
    per_block, block_bytes = gguf.GGML_QUANT_SIZES[kind]
    raw = _bytes_of(data, entry, entry.elements // per_block * block_bytes)
    weight = quants.dequantize(np.frombuffer(raw, dtype=np.uint8), kind)
    return torch.as_tensor(weight, dtype=torch.float32).reshape(entry.shape)


def _f32(raw: torch.Tensor) -> torch.Tensor:
    return raw.view(torch.float32)


def _f16(raw: torch.Tensor) -> torch.Tensor:
    return raw.view(torch.float16).float()


def _bf16(raw: torch.Tensor) -> torch.Tensor:
    return raw.view(torch.bfloat16).float()


def _q8_0(raw: torch.Tensor) -> torch.Tensor:
    """w = d * q: float16 d, 32 int8."""
    blocks = raw.view(-1, 2 + _BLOCK)
    scale = blocks[:, :2].contiguous().view(torch.float16).float()
    return blocks[:, 2:].contiguous().view(torch.int8).float() * scale


def _q4_0(raw: torch.Tensor) -> torch.Tensor:
    """w = d * (q - 8): float16 d, 32 nibbles."""
    blocks = raw.view(-1, 2 + _BLOCK // 2)
    scale = blocks[:, :2].contiguous().view(torch.float16).float()
    return (_nibbles(blocks[:, 2:]) - 8.0) * scale


def _q4_1(raw: torch.Tensor) -> torch.Tensor:
    """w = d * q + m: float16 d and m, 32 nibbles."""
    blocks = raw.view(-1, 4 + _BLOCK // 2)
    scale = blocks[:, :2].contiguous().view(torch.float16).float()
    least = blocks[:, 2:4].contiguous().view(torch.float16).float()
    return _nibbles(blocks[:, 4:]) * scale + least


def _nibbles(packed: torch.Tensor) -> torch.Tensor:
    """[blocks, 16] bytes → [blocks, 32] float32: the low halves first, then the high ones."""
    return torch.cat((packed & 0x0F, packed >> 4), dim=1).float()


_UNPACK: Final[dict[int, tuple[int, int, Callable[[torch.Tensor], torch.Tensor]]]] = {
    0: (1, 4, _f32),
    1: (1, 2, _f16),
    2: (_BLOCK, 18, _q4_0),
    3: (_BLOCK, 20, _q4_1),
    8: (_BLOCK, 34, _q8_0),
    30: (1, 2, _bf16),
}
"""GGML type → weights in a block, bytes in a block, reader."""
