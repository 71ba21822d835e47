"""Whether a model will fit into memory, asked before the load rather than answered by the kernel's OOM killer."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from ttchat_tui.engine.base import OutOfMemory
from ttchat_tui.engine.torch_engine.checkpoint import ModelConfig
from ttchat_tui.engine.torch_engine.weights import ExactPrecision

_RUNTIME: Final = 300 * 2**20
"""Bytes for torch itself, the vocabulary and working space."""
_FIRST_POSITIONS: Final = 2048
"""Positions of KV cache to count on."""
_CGROUP: Final = Path("/sys/fs/cgroup")
_MEMINFO: Final = Path("/proc/meminfo")


def needed_bytes(config: ModelConfig, precision: ExactPrecision) -> int:
    """About what a load takes at its peak: weights, one float32 layer and head in the making, the first KV cache."""
    size = 2 if precision == "f16" else 4
    table = config.vocab_size * config.hidden_size
    # A tied head is a second table: the embedding is looked up by row, the head is packed for its product.
    weights = (config.parameters() + (table if config.is_head_tied else 0)) * size
    layer = (config.parameters() - table) // config.layers
    cache = config.layers * 2 * config.kv_heads * config.head_size * _FIRST_POSITIONS * 4
    return weights + max(2 * layer, table) * 4 + cache + _RUNTIME


def check_memory(needed: int, available: int | None) -> None:
    """
    Raises:
        OutOfMemory: less is available than needed. Nothing is said where `available` is not known.
    """
    if available is None or needed <= available:
        return
    raise OutOfMemory(
        f"The model needs about {needed / 1e9:.1f} GB of memory, {available / 1e9:.1f} GB are free.",
        "Close other programs, choose a smaller model, or precision f16.",
    )


def available_bytes(meminfo: Path = _MEMINFO, cgroup: Path = _CGROUP) -> int | None:
    """Memory that can be had without swapping: the machine's, or less if a control group sets a limit; None if unknown."""
    try:
        lines = meminfo.read_text().splitlines()
        free = next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:"))
    except (OSError, StopIteration, ValueError):
        return None
    try:
        limit = int((cgroup / "memory.max").read_text())
        used = int((cgroup / "memory.current").read_text())
    except (OSError, ValueError):
        return free  # No control groups, or the limit is the word "max".
    return min(free, max(limit - used, 0))
