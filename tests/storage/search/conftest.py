"""A search over the store of the test, without its thread."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ttchat_tui.domain.search import SearchResults
from ttchat_tui.storage.conversations import ConversationStore
from ttchat_tui.storage.search.finder import find
from ttchat_tui.storage.search.index import SearchIndex, index_file
from ttchat_tui.storage.search.query import parse_query

Ask = Callable[[str], SearchResults]


@pytest.fixture
def index(store: ConversationStore, path: Path) -> Iterator[SearchIndex]:
    index = SearchIndex(path, index_file(path))
    yield index
    index.close()


@pytest.fixture
def ask(index: SearchIndex) -> Ask:
    """The answer to a query, once everything is indexed."""

    def ask(typed: str) -> SearchResults:
        while index.is_behind:
            index.advance()
        return find(index, typed, parse_query(typed))

    return ask


def found(results: SearchResults) -> list[int]:
    """The messages that were found, in order of creation."""
    return sorted(hit.message_id for hit in results.hits if hit.message_id is not None)
