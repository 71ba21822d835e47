"""Sessions on one database, closed at the end of the test."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.fakes import Gate, Script
from tests.session.test_chat import Chat
from tests.session.test_second_model import STEPPED, MakeTwoModels, TwoModels


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Chat]]:
    chats: list[Chat] = []

    def make(script: Script | None = None, gate: Gate | None = None) -> Chat:
        chats.append(Chat(tmp_path / "conversations.db", script, gate))
        return chats[-1]

    yield make
    for chat in chats:
        chat.close()


@pytest.fixture
def two_models(tmp_path: Path) -> Iterator[MakeTwoModels]:
    made: list[TwoModels] = []

    def make(
        first: Script = STEPPED, second: Script = STEPPED, room: Callable[[str], None] = lambda name: None
    ) -> TwoModels:
        made.append(TwoModels(tmp_path / "conversations.db", first, second, room))
        return made[-1]

    yield make
    for each in made:
        each.close()
