"""transformers, imported by the first test that needs it: it takes 3 s, and each of the test processes collects all tests."""

from __future__ import annotations

import gc
import importlib
from typing import Any


def from_transformers(name: str, module: str = "transformers") -> Any:
    """What `from MODULE import NAME` imports."""
    found = getattr(importlib.import_module(module), name)
    gc.freeze()  # as after the collection of tests: the engines collect garbage at each load
    return found
