"""The compiled decode kernel for tests: one for this machine's processor, one for AVX2, which most others have."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ttchat_tui.config.paths import find_paths
from ttchat_tui.engine.cpu.native import build
from ttchat_tui.engine.cpu.native.library import Library

PROCESSORS = ("native", "x86-64-v3")
_FOLDER = find_paths(
    dict(os.environ)
).kernels_dir  # The user's: what is compiled once serves all test processes.


def kernel_folder() -> Path:
    """With the kernel in it; skips the test where there is none."""
    kernel()
    return _FOLDER


def kernel(processor: str = "native") -> Library:
    """Skips the test where there is none."""
    try:
        return Library(build.load(_FOLDER, os.environ, processor))
    except build.Unavailable as reason:
        pytest.skip(f"no compiled kernel: {reason}")
