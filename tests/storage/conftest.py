"""A store on a real file, and a clock that the test moves."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.new_store import new_store
from tests.storage.examples import HandClock
from ttchat_tui.storage.conversations import ConversationStore


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "data" / "conversations.db"


@pytest.fixture
def reachable_path() -> Iterator[Path]:
    """A path that any user can reach, unlike pytest's own folders."""
    with tempfile.TemporaryDirectory(prefix="ttchat-test-") as folder:
        Path(folder).chmod(0o755)
        yield Path(folder) / "data" / "conversations.db"
        (Path(folder) / "data").chmod(0o700)


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


@pytest.fixture
def store(path: Path, clock: HandClock) -> Iterator[ConversationStore]:
    store = new_store(path, clock=clock)
    assert store.mode == "read-write"
    assert store.notice is None
    yield store
    store.close()
