"""Fixtures that several files share."""

from __future__ import annotations

import gc
from pathlib import Path

import pytest

from tests.engine.short_model import shorten


@pytest.fixture(autouse=True, scope="module")
def earlier_objects_are_kept() -> None:
    """Take what earlier files imported and made out of the garbage collector's sight.

    Engines collect garbage at each load. That would take a fifth of a second with all of it, for each of a thousand loads.
    """
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session")
def short_model_path(default_model_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A GGUF file that loads in a third of the default model's time; its text makes no sense."""
    return shorten(default_model_path, tmp_path_factory.mktemp("short") / "short.gguf")
