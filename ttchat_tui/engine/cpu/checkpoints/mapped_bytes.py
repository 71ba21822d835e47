"""Parts of a memory-mapped file as arrays, and their pages."""

from __future__ import annotations

import mmap
import sys
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Bytes: TypeAlias = NDArray[np.uint8]


def bytes_at(data: mmap.mmap, offset: int, size: int) -> Bytes:
    """A view, which keeps the map open.

    Raises:
        ValueError: the file is shorter.
    """
    if offset < 0 or size < 0 or offset + size > len(data):
        raise ValueError("the file is truncated")
    return np.frombuffer(data, np.uint8, size, offset)


def drop_pages(data: mmap.mmap, offset: int, size: int) -> None:
    """Take the pages out of this process, which has read them. The system's cache keeps them."""
    if sys.platform == "linux" and size:
        start = offset // mmap.PAGESIZE * mmap.PAGESIZE
        data.madvise(mmap.MADV_DONTNEED, start, offset + size - start)
