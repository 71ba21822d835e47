from collections.abc import Iterator
from pathlib import Path

import pytest

from ttchat_tui.storage.conversations import ConversationStore
from ttchat_tui.storage.opening import open_store


@pytest.fixture
def store(own_folders: Path) -> Iterator[ConversationStore]:
    opened = open_store(own_folders / "data" / "conversations.db")
    yield opened
    opened.close()
