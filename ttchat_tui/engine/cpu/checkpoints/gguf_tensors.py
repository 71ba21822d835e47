"""GGML tensor data → float32 or 4-bit blocks. Common types here, others by the gguf package.

Block layouts: https://github.com/ggml-org/ggml/blob/master/src/ggml-common.h. 32 weights to a block.
"""

# numpy's stubs give results of arithmetic, `reshape` and `view` no type at Python 3.10.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

from __future__ import annotations

import importlib
import mmap
from collections.abc import Callable
from typing import Any, Final, cast

import numpy as np
from numpy.typing import NDArray

from ttchat_tui.domain.ggml_types import GGML_TYPES
from ttchat_tui.engine.base import ModelLoadError
from ttchat_tui.engine.cpu.checkpoints.checkpoint import RawTensor
from ttchat_tui.engine.cpu.checkpoints.float_types import FLOAT_TYPES
from ttchat_tui.engine.cpu.checkpoints.gguf_container import TensorEntry
from ttchat_tui.engine.cpu.checkpoints.mapped_bytes import Bytes, bytes_at, drop_pages
from ttchat_tui.engine.cpu.weights.int4_blocks import GROUP, Int4Blocks

_BLOCK: Final = GROUP
_UNQUANTIZED: Final = frozenset({0, 1, 28, 30})
"""F32, F16, F64, BF16."""


def read_raw(data: mmap.mmap, entry: TensorEntry, paired_heads: int = 0) -> RawTensor:
    """The tensor's own bytes.

    Raises:
        ModelLoadError: the type is unknown, or the file is truncated.
    """
    try:
        kind = GGML_TYPES[entry.type_id]
        view = bytes_at(entry.shard or data, entry.offset, entry.size)
    except (ValueError, KeyError) as error:
        raise _unreadable(entry, error) from error
    return RawTensor(kind.name, entry.shape, view, paired_heads)


def release(data: mmap.mmap, entry: TensorEntry) -> None:
    """Take the tensor's pages out of this process."""
    drop_pages(entry.shard or data, entry.offset, entry.size)


def read_tensor(data: mmap.mmap, entry: TensorEntry) -> NDArray[np.float32]:
    """Read the tensor as float32 in its own shape, a copy.

    Raises:
        ModelLoadError: the type is unknown, or the file is truncated.
    """
    raw = read_raw(data, entry)
    try:
        weight = dequantized(raw)
    except (ValueError, KeyError, NotImplementedError) as error:
        raise _unreadable(entry, error) from error
    release(data, entry)
    return weight


def holds_int4(entry: TensorEntry) -> bool:
    """Whether `read_int4` supports the type."""
    return entry.type_id in GGML_TYPES and GGML_TYPES[entry.type_id].name in _INT4


def is_quantized(entry: TensorEntry) -> bool:
    """Whether it has 8 bits or fewer."""
    return entry.type_id not in _UNQUANTIZED


def read_int4(data: mmap.mmap, entry: TensorEntry) -> Int4Blocks | None:
    """Read the tensor's 4-bit blocks without loss, a copy; None for other types.

    Raises:
        ModelLoadError: the file is truncated.
    """
    if not holds_int4(entry):
        return None
    blocks = _blocks(read_raw(data, entry))
    release(data, entry)
    return blocks


def dequantized(raw: RawTensor) -> NDArray[np.float32]:
    """The weights in the order of the file.

    Raises:
        ValueError, KeyError, NotImplementedError: the gguf package does not know the type.
    """
    if raw.kind in _INT4:
        return _blocks(raw).dequantized()
    if raw.kind in FLOAT_TYPES:
        return FLOAT_TYPES[raw.kind].to_float32(raw.data).reshape(raw.shape)
    if raw.kind == "Q8_0":
        return _q8_0(raw.data).reshape(raw.shape)
    return _by_gguf(raw).reshape(raw.shape)


def _blocks(raw: RawTensor) -> Int4Blocks:
    size = next(kind.size for kind in GGML_TYPES.values() if kind.name == raw.kind)
    blocks = _INT4[raw.kind](raw.data.reshape(-1, size))
    groups = (*raw.shape[:-1], raw.shape[-1] // GROUP)
    return Int4Blocks(
        blocks.codes.reshape(raw.shape), blocks.scale.reshape(groups), blocks.minimum.reshape(groups)
    )


def _unreadable(entry: TensorEntry, error: Exception) -> ModelLoadError:
    return ModelLoadError(
        f"The tensor {entry.name!r} (GGML type {entry.type_id}) cannot be read: {error}.",
        "Download the file again, or choose another quantisation of the model.",
    )


def _by_gguf(raw: RawTensor) -> NDArray[np.float32]:
    """Read any type with the gguf package, which is imported on demand because that takes 0.2 s."""
    gguf: Any = importlib.import_module("gguf")
    quants: Any = importlib.import_module("gguf.quants")
    weight: Any = quants.dequantize(raw.data, gguf.GGMLQuantizationType[raw.kind])
    return cast("NDArray[np.float32]", weight).astype(np.float32, copy=False)


def _q8_0(raw: Bytes) -> NDArray[np.float32]:
    """w = d * q: float16 d, 32 int8."""
    blocks = raw.reshape(-1, _BLOCK + 2)
    weight = blocks[:, 2:].view(np.int8).astype(np.float32)
    weight *= _half(blocks, 0)
    return weight


def _q4_0(raw: Bytes) -> Int4Blocks:
    """w = d * (q - 8): float16 d, 32 nibbles."""
    scale = _half(raw, 0)
    return Int4Blocks(_nibbles(raw[:, 2:]), scale, np.float32(-8) * scale)


def _q4_1(raw: Bytes) -> Int4Blocks:
    """w = d * q + m: float16 d and m, 32 nibbles."""
    return Int4Blocks(_nibbles(raw[:, 4:]), _half(raw, 0), _half(raw, 2))


def _q4_k(raw: Bytes) -> Int4Blocks:
    """w = d * s * q - dmin * m: float16 d and dmin, 8 6-bit pairs s and m in 12 bytes, 256 nibbles in 4 runs of 64."""
    low, high, mixed = raw[:, 4:8], raw[:, 8:12], raw[:, 12:16]
    # Pairs 0 to 3: the lower 6 bits. Pairs 4 to 7: four bits in `mixed` and the two upper bits of pairs 0 to 3.
    s = np.concatenate((low & 0x3F, (mixed & 0x0F) | (low >> 6 << 4)), axis=1)
    m = np.concatenate((high & 0x3F, (mixed >> 4) | (high >> 6 << 4)), axis=1)
    codes = _nibbles(raw[:, 16:].reshape(-1, _BLOCK))
    return Int4Blocks(codes, _half(raw, 0) * s, -_half(raw, 2) * m)


def _half(raw: Bytes, at: int) -> NDArray[np.float32]:
    """The float16 at this byte of each block, [blocks, 1]."""
    return np.ascontiguousarray(raw[:, at : at + 2]).view(np.float16).astype(np.float32)


def _nibbles(packed: Bytes) -> Bytes:
    """[blocks, n] → [blocks, 2 n]: low halves first, then high halves."""
    return np.concatenate((packed & np.uint8(15), packed >> np.uint8(4)), axis=1)


_INT4: Final[dict[str, Callable[[Bytes], Int4Blocks]]] = {"Q4_0": _q4_0, "Q4_1": _q4_1, "Q4_K": _q4_k}
"""Reader of [blocks, bytes]."""
