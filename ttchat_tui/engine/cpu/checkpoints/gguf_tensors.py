"""GGML tensor data → float32 or 4-bit blocks. Common types in torch (two threads, 0.4 s for SmolLM2), others by the gguf package.

Block layouts: https://github.com/ggml-org/ggml/blob/master/src/ggml-common.h. 32 weights to a block.
"""

from __future__ import annotations

import importlib
import mmap
import sys
from collections.abc import Callable
from typing import Any, Final, TypeAlias, TypeVar

import numpy as np
import torch

from ttchat_tui.engine.base import ModelLoadError
from ttchat_tui.engine.cpu.checkpoints.gguf_container import TensorEntry
from ttchat_tui.engine.cpu.weights.int4_blocks import GROUP, Int4Blocks

_T = TypeVar("_T")

_BLOCK: Final = GROUP
_Q8_0: Final = 8


def read_tensor(data: mmap.mmap, entry: TensorEntry) -> torch.Tensor:
    """Read the tensor as float32 in its own shape, a copy.

    Raises:
        ModelLoadError: the type is unknown, or the file is truncated.
    """
    try:
        blocks = read_int4(data, entry)
        if blocks is not None:
            return blocks.dequantized()
        if entry.type_id not in _FLOAT:
            return _read_with_gguf(data, entry)
        per_block, block_bytes, unpack = _FLOAT[entry.type_id]
        return unpack(_raw(data, entry, per_block, block_bytes)).reshape(entry.shape)
    except (ValueError, KeyError, NotImplementedError) as error:
        raise _unreadable(entry, error) from error


def holds_int4(entry: TensorEntry) -> bool:
    """Whether `read_int4` supports the type."""
    return entry.type_id in _INT4


def holds_int8(entry: TensorEntry) -> bool:
    """Whether it has 8 bits with a scale for each 32 weights: Q8_0."""
    return entry.type_id == _Q8_0


def read_int4(data: mmap.mmap, entry: TensorEntry) -> Int4Blocks | None:
    """Read the tensor's 4-bit blocks without loss, a copy; None for other types.

    Raises:
        ModelLoadError: the file is truncated.
    """
    if entry.type_id not in _INT4:
        return None
    per_block, block_bytes, unpack = _INT4[entry.type_id]
    try:
        blocks = unpack(_raw(data, entry, per_block, block_bytes))
    except ValueError as error:
        raise _unreadable(entry, error) from error
    groups = (*entry.shape[:-1], entry.shape[-1] // GROUP)
    return Int4Blocks(
        blocks.codes.reshape(entry.shape), blocks.scale.reshape(groups), blocks.minimum.reshape(groups)
    )


def _unreadable(entry: TensorEntry, error: Exception) -> ModelLoadError:
    return ModelLoadError(
        f"The tensor {entry.name!r} (GGML type {entry.type_id}) cannot be read: {error}.",
        "Download the file again, or choose another quantisation of the model.",
    )


def _raw(data: mmap.mmap, entry: TensorEntry, per_block: int, block_bytes: int) -> torch.Tensor:
    """uint8 [blocks, block_bytes]."""
    raw = _bytes_of(data, entry, entry.elements // per_block * block_bytes)
    return torch.frombuffer(raw, dtype=torch.uint8).view(-1, block_bytes)


def _bytes_of(data: mmap.mmap, entry: TensorEntry, size: int) -> bytearray:
    # A writable copy: torch warns about read-only buffers, and the map may be closed later.
    with memoryview(data) as view:
        raw = bytearray(view[entry.offset : entry.offset + size])
    if len(raw) < size:
        raise ValueError("the file is truncated")
    if sys.platform == "linux":
        # Drop the pages from this process, which has its own copy now. The system's cache keeps them.
        start = entry.offset // mmap.PAGESIZE * mmap.PAGESIZE
        data.madvise(mmap.MADV_DONTNEED, start, entry.offset + size - start)
    return raw


def _read_with_gguf(data: mmap.mmap, entry: TensorEntry) -> torch.Tensor:
    """Read any type with the gguf package, which is imported on demand because that takes 0.2 s."""
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
    return raw[:, 2:].contiguous().view(torch.int8).float().mul_(_half(raw, 0))


def _q4_0(raw: torch.Tensor) -> Int4Blocks:
    """w = d * (q - 8): float16 d, 32 nibbles."""
    scale = _half(raw, 0)
    return Int4Blocks(_nibbles(raw[:, 2:]), scale, -8.0 * scale)


def _q4_1(raw: torch.Tensor) -> Int4Blocks:
    """w = d * q + m: float16 d and m, 32 nibbles."""
    return Int4Blocks(_nibbles(raw[:, 4:]), _half(raw, 0), _half(raw, 2))


def _q4_k(raw: torch.Tensor) -> Int4Blocks:
    """w = d * s * q - dmin * m: float16 d and dmin, 8 6-bit pairs s and m in 12 bytes, 256 nibbles in 4 runs of 64."""
    low, high, mixed = raw[:, 4:8], raw[:, 8:12], raw[:, 12:16]
    # Pairs 0 to 3: the lower 6 bits. Pairs 4 to 7: four bits in `mixed` and the two upper bits of pairs 0 to 3.
    s = torch.cat((low & 0x3F, (mixed & 0x0F) | (low >> 6 << 4)), dim=1)
    m = torch.cat((high & 0x3F, (mixed >> 4) | (high >> 6 << 4)), dim=1)
    codes = _nibbles(raw[:, 16:].reshape(-1, _BLOCK))
    return Int4Blocks(codes, _half(raw, 0) * s, -_half(raw, 2) * m)


def _half(raw: torch.Tensor, at: int) -> torch.Tensor:
    """The float16 at this byte of each block, float32 [blocks, 1]."""
    return raw[:, at : at + 2].contiguous().view(torch.float16).float()


def _nibbles(packed: torch.Tensor) -> torch.Tensor:
    """uint8 [blocks, n] → [blocks, 2 n]: low halves first, then high halves."""
    return torch.cat((packed & 0x0F, packed >> 4), dim=1)


_Layout: TypeAlias = tuple[int, int, Callable[[torch.Tensor], _T]]
"""Weights per block, bytes per block, reader of uint8 [blocks, bytes]."""

_INT4: Final[dict[int, _Layout[Int4Blocks]]] = {
    2: (_BLOCK, 18, _q4_0),
    3: (_BLOCK, 20, _q4_1),
    12: (256, 144, _q4_k),
}
"""By GGML type. Q4_0, Q4_1, Q4_K."""
_FLOAT: Final[dict[int, _Layout[torch.Tensor]]] = {
    0: (1, 4, _f32),
    1: (1, 2, _f16),
    _Q8_0: (_BLOCK, 34, _q8_0),
    30: (1, 2, _bf16),
}
"""By GGML type. F32, F16, Q8_0, BF16."""
