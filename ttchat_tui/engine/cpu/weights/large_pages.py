"""Memory in 2 MB pages for what is read completely for every token: weights and the KV cache.

With 4 kB pages the processor stops prefetching every 64 cache lines and looks up each page: one Zen 4 core reads 20 GB/s,
and 31 GB/s from large pages. Linux provides them if transparent huge pages are set to `madvise` or `always`. Elsewhere this
is ordinary memory.
"""

# numpy's stubs give results of arithmetic, `reshape` and `view` no type at Python 3.10.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

from __future__ import annotations

import contextlib
import math
import mmap
import threading
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

PAGE: Final = 2 * 2**20
_CHUNK: Final = 64 * 2**20
"""Bytes that an arena maps at once. Unused ones are never touched and take no memory."""
_LINE: Final = 64
"""Arrays in an arena are aligned to cache lines."""


def empty(shape: Sequence[int], dtype: type[Any]) -> NDArray[Any]:
    """An uninitialised array. Small ones are in ordinary memory."""
    size = math.prod(shape) * np.dtype(dtype).itemsize
    if size < PAGE:
        return np.empty(shape, dtype)
    return _mapped(size)[:size].view(dtype).reshape(shape)


class Arena:
    """Allocates memory that lives as long as the arrays in it. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._chunk: NDArray[np.uint8] = np.empty(0, np.uint8)
        self._used = 0

    def take(self, size: int) -> NDArray[np.uint8]:
        """uint8 [size], all 0."""
        with self._lock:
            if self._used + size > len(self._chunk):
                self._chunk, self._used = _mapped(max(size, _CHUNK)), 0
            place = self._chunk[self._used : self._used + size]
            self._used += -(-size // _LINE) * _LINE
        return place


def _mapped(size: int) -> NDArray[np.uint8]:
    """uint8 [at least `size`], all 0. One page more is mapped, so that the array can start at a page boundary."""
    # Private: for shared memory, Python's default, Linux has another setting, which is mostly off.
    memory = mmap.mmap(-1, -(-size // PAGE) * PAGE + PAGE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    if hasattr(mmap, "MADV_HUGEPAGE"):
        with contextlib.suppress(OSError):  # This Linux has no large pages.
            memory.madvise(mmap.MADV_HUGEPAGE)
    whole = np.frombuffer(memory, np.uint8)
    start = -whole.ctypes.data % PAGE
    return whole[start : start + -(-size // PAGE) * PAGE]
