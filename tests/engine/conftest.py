"""Fixtures that several files share."""

from __future__ import annotations

import gc

import pytest

from tests.engine.engine_subject import subject

__all__ = ["earlier_objects_are_kept", "subject"]


@pytest.fixture(autouse=True, scope="module")
def earlier_objects_are_kept() -> None:
    """Take what earlier files imported and made out of the garbage collector's sight.

    Engines collect garbage at each load. That would take a fifth of a second with all of it, for each of a thousand loads.
    """
    gc.collect()
    gc.freeze()
