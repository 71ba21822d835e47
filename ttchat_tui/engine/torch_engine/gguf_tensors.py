"""GGML tensor data → float32. The common types in torch (two threads, 0.4 s for SmolLM2); the rest by the gguf package.

Block layouts: https://github.com/ggml-org/ggml/blob/master/src/ggml-common.h. 32 weights to a block.
"""

from __future__ import annotations

import mmap
from collections.abc import Callable
from typing import Final

import gguf
import gguf.quants
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
        kind = gguf.GGMLQuantizationType(entry.type_id)
        per_block, block_bytes = gguf.GGML_QUANT_SIZES[kind]
        size = entry.elements // per_block * block_bytes
        # A copy in memory of our own, writable: torch warns of read-only buffers, and the map may be closed later.
        raw = bytearray(data[entry.offset : entry.offset + size])
        if len(raw) < size:
            raise ValueError("the file was cut short")
        unpack = _UNPACK.get(kind)
        if unpack is None:
            weight = gguf.quants.dequantize(np.frombuffer(raw, dtype=np.uint8), kind)
            return torch.as_tensor(weight, dtype=torch.float32).reshape(entry.shape)
        return unpack(torch.frombuffer(raw, dtype=torch.uint8)).reshape(entry.shape)
    except (ValueError, KeyError, NotImplementedError) as error:
        raise ModelLoadError(
            f"The tensor {entry.name!r} (GGML type {entry.type_id}) cannot be read: {error}",
            "Download the file again, or choose another quantisation of the model.",
        ) from error


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


_UNPACK: Final[dict[int, Callable[[torch.Tensor], torch.Tensor]]] = {
    gguf.GGMLQuantizationType.F32: _f32,
    gguf.GGMLQuantizationType.F16: _f16,
    gguf.GGMLQuantizationType.BF16: _bf16,
    gguf.GGMLQuantizationType.Q8_0: _q8_0,
    gguf.GGMLQuantizationType.Q4_0: _q4_0,
    gguf.GGMLQuantizationType.Q4_1: _q4_1,
}
