"""What this machine can run: the expected speed of a model, and whether it fits in memory.

A decode step reads all weights once, so that its rate is bounded by the memory's: bandwidth / size of the model. The bandwidth
is measured once, in 0.15 s of CPU time, and kept in the cache folder. Prefill and candidates are bounded otherwise.
"""

from __future__ import annotations

import contextlib
import ctypes
import logging
import mmap
import os
import threading
import time
from pathlib import Path
from typing import Final

import msgspec

from ttchat_tui.domain.decoding import decodable
from ttchat_tui.domain.free_memory import available_bytes

log = logging.getLogger(__name__)

FILE: Final = "memory-bandwidth.json"

SHARE: Final = 0.6
"""Of the bandwidth that a decode step reaches; docs/performance.md measures 0.63 on the default model."""

_OVERHEAD: Final = 1.2
_RUNTIME: Final = 250 * 2**20
"""A loaded model takes about 1.2 times its file and 250 MB: vocabulary, KV cache of the first positions, working space. The
engine computes it exactly from the header before it loads."""

_BUFFER: Final = 64 << 20
"""Bytes that each thread reads: more than its share of any cache."""
_PASSES: Final = 3


class Machine(msgspec.Struct, frozen=True):
    """This machine, as far as it bounds a model on the CPU."""

    read_bytes_per_s: float = 0.0
    """Of all cores together; 0 if unknown."""
    free_bytes: int | None = None
    """Memory that is free now; None if unknown."""

    def tokens_per_s(self, size_bytes: int) -> float:
        """The expected decode rate of a dense model of this size; 0 if unknown."""
        return SHARE * self.read_bytes_per_s / size_bytes if size_bytes else 0.0

    def has_room_for(self, size_bytes: int) -> bool:
        """Whether a model of this size fits in the memory that is free now; True if that is unknown."""
        return self.free_bytes is None or size_bytes * _OVERHEAD + _RUNTIME <= self.free_bytes


class _Kept(msgspec.Struct, frozen=True):
    read_bytes_per_s: float
    cores: int


def this_machine(cache_dir: Path) -> Machine:
    """This machine now. The first call measures it: not for the UI's thread."""
    return Machine(_bandwidth(cache_dir / FILE), available_bytes())


def _bandwidth(file: Path) -> float:
    cores = _cores()
    try:
        kept = msgspec.json.decode(file.read_bytes(), type=decodable(_Kept))
        if kept.cores == cores and kept.read_bytes_per_s > 0:
            return kept.read_bytes_per_s
    except (OSError, msgspec.DecodeError, UnicodeDecodeError):
        pass  # missing at first, or damaged: measured again
    measured = _measure(cores)
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        part = file.with_name(f"{file.name}.{os.getpid()}")
        part.write_bytes(msgspec.json.encode(_Kept(measured, cores)))
        part.replace(file)
    except OSError as error:
        log.warning("the measured memory bandwidth is not kept: %s", error)
    return measured


def _measure(threads: int) -> float:
    """Bytes per second that `threads` threads read together, the best of three passes.

    libc's `memchr` reads as fast as the memory delivers, and ctypes runs it without the interpreter's lock.
    """
    try:
        libc = ctypes.CDLL(None)
        libc.memchr.argtypes = (ctypes.c_void_p, ctypes.c_int, ctypes.c_size_t)
        libc.memchr.restype = ctypes.c_void_p
        with contextlib.ExitStack() as stack:
            maps = [stack.enter_context(contextlib.closing(mmap.mmap(-1, _BUFFER))) for _ in range(threads)]
            return max(_pass(libc, maps) for _ in range(_PASSES))
    except (OSError, AttributeError, MemoryError, ValueError) as error:
        log.warning("the memory bandwidth is not measured: %s", error)
        return 0.0


def _pass(libc: ctypes.CDLL, maps: list[mmap.mmap]) -> float:
    views = [(ctypes.c_char * _BUFFER).from_buffer(each) for each in maps]
    for view in views:
        ctypes.memset(view, 1, _BUFFER)  # pages that were never written are all one page of zeros
    readers = [
        threading.Thread(target=libc.memchr, args=(ctypes.addressof(view), 2, _BUFFER)) for view in views
    ]
    start = time.perf_counter()
    for reader in readers:
        reader.start()
    for reader in readers:
        reader.join()
    return len(views) * _BUFFER / (time.perf_counter() - start)


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
