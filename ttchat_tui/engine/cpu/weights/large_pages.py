"""Memory in pages of 2 MB for what is read from end to end for every token: weights, and the KV cache.

With pages of 4 kB the processor's prefetching ends every 64 cache lines, and each page is looked up anew: one Zen 4 core
reads 20 GB/s so, 31 GB/s from large pages. Linux gives them where transparent huge pages are `madvise` or `always`;
elsewhere the memory is as any other.
"""

from __future__ import annotations

import contextlib
import math
import mmap
import threading
from collections.abc import Sequence
from typing import Final

import torch

PAGE: Final = 2 * 2**20
_CHUNK: Final = 64 * 2**20
"""Bytes that an arena maps at once. What is not used of them is never touched, and takes no memory."""
_LINE: Final = 64
"""Tensors in an arena begin with a cache line."""


def empty(shape: Sequence[int], dtype: torch.dtype) -> torch.Tensor:
    """A tensor whose contents mean nothing; small ones are in ordinary memory."""
    size = math.prod(shape) * dtype.itemsize
    if size < PAGE:
        return torch.empty(shape, dtype=dtype)
    return _mapped(size).narrow(0, 0, size).view(dtype).view(shape)


class Arena:
    """Hands out memory that lives as long as the tensors in it. Several threads may use one."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._chunk: torch.Tensor = torch.empty(0, dtype=torch.uint8)
        self._used = 0

    def hold(self, tensor: torch.Tensor) -> torch.Tensor:
        """A copy of `tensor`."""
        size = tensor.nbytes
        with self._lock:
            if self._used + size > len(self._chunk):
                self._chunk, self._used = _mapped(max(size, _CHUNK)), 0
            place = self._chunk.narrow(0, self._used, size)
            self._used += -(-size // _LINE) * _LINE
        return place.view(tensor.dtype).view(tensor.shape).copy_(tensor)


def _mapped(size: int) -> torch.Tensor:
    """uint8 [at least `size`]. A mapping begins anywhere; a page more, and all of `size` can be in large ones."""
    # Private: Python's default is memory that is shared, for which Linux has another setting, mostly off.
    memory = mmap.mmap(-1, -(-size // PAGE) * PAGE + PAGE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    if hasattr(mmap, "MADV_HUGEPAGE"):
        with contextlib.suppress(OSError):  # A kernel without them.
            memory.madvise(mmap.MADV_HUGEPAGE)
    whole = torch.frombuffer(memory, dtype=torch.uint8)
    return whole.narrow(0, -whole.data_ptr() % PAGE, -(-size // PAGE) * PAGE)
