"""The engine on the installation of a test module."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.engine.tenstorrent.fakes.card import misuses
from tests.engine.tenstorrent.fakes.installation import Installation
from ttchat_tui.engine.tenstorrent.engine import TenstorrentEngine


@pytest.fixture
def engine(installed: Installation) -> Iterator[TenstorrentEngine]:
    """Empty; at the end, whatever was loaded was used as tt-metal wants it."""
    engine = TenstorrentEngine()
    yield engine
    engine.close()
    assert not misuses()
