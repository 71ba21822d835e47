"""The search's thread: answers, again while it indexes, and after any damage."""

from __future__ import annotations

import queue
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.storage.examples import ask as say
from ttchat_tui.domain.search import SearchResults
from ttchat_tui.storage.conversations import ConversationStore
from ttchat_tui.storage.opening import open_store
from ttchat_tui.storage.search.index import index_file
from ttchat_tui.storage.search.thread import SearchThread

PATIENCE_S = 60.0


@pytest.fixture
def search(store: ConversationStore, path: Path) -> Iterator[SearchThread]:
    search = SearchThread(lambda: store.file)
    yield search
    search.close()


@pytest.fixture
def answered(search: SearchThread) -> Callable[[str], SearchResults]:
    """The complete answer to a query."""

    def answered(typed: str) -> SearchResults:
        answers: queue.SimpleQueue[SearchResults] = queue.SimpleQueue()
        search.ask(typed, answers.put)
        while True:
            results = answers.get(timeout=PATIENCE_S)
            if results.indexed == 1 or results.problem:
                return results

    return answered


Answered = Callable[[str], SearchResults]


def say_five(store: ConversationStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """Five messages, which are indexed and answered with one by one."""
    monkeypatch.setattr("ttchat_tui.storage.search.index.BATCH_MESSAGES", 1)
    monkeypatch.setattr("ttchat_tui.storage.search.thread.ANSWER_AGAIN_S", 0.0)
    for number in range(5):
        say(store, f"needle {number}")


def test_a_query_is_answered_with_what_was_just_said(store: ConversationStore, answered: Answered) -> None:
    said = say(store, "needle")
    assert [hit.message_id for hit in answered("needle").hits] == [said.id]
    again = say(store, "another needle")
    assert {hit.message_id for hit in answered("needle").hits} == {said.id, again.id}


def test_a_query_is_answered_again_until_all_is_indexed(
    store: ConversationStore, search: SearchThread, monkeypatch: pytest.MonkeyPatch
) -> None:
    say_five(store, monkeypatch)
    answers: queue.SimpleQueue[SearchResults] = queue.SimpleQueue()
    search.ask("needle", answers.put)
    shares: list[float] = []
    counts: list[int] = []
    while not shares or shares[-1] < 1:
        results = answers.get(timeout=PATIENCE_S)
        shares.append(results.indexed)
        counts.append(sum(hit.message_id is not None for hit in results.hits))
    assert shares == sorted(shares)
    assert counts[-1] == 5
    assert counts[0] < 5


def found_once_indexed(path: Path) -> list[int | None]:
    """Messages with "needle", as a new thread finds them when it has indexed everything."""
    other = SearchThread(lambda: path)
    answers: queue.SimpleQueue[SearchResults] = queue.SimpleQueue()
    other.ask("needle", answers.put)
    results = answers.get(timeout=PATIENCE_S)
    while results.indexed < 1:
        results = answers.get(timeout=PATIENCE_S)
    other.close()
    return [hit.message_id for hit in results.hits]


@pytest.mark.parametrize("damage", [b"\0" * 100, b"no database at all", b""], ids=["zeros", "text", "cut"])
def test_a_damaged_index_is_built_again(
    store: ConversationStore, path: Path, search: SearchThread, answered: Answered, damage: bytes
) -> None:
    said = say(store, "needle")
    answered("needle")
    search.close()
    with index_file(path).open("r+b") as file:
        file.write(damage)
        if not damage:
            file.truncate(4096 * 3)
    assert found_once_indexed(path) == [said.id]


def test_an_index_with_other_tables_is_built_again(
    store: ConversationStore, path: Path, search: SearchThread, answered: Answered
) -> None:
    said = say(store, "needle")
    answered("needle")
    search.close()
    with closing(sqlite3.connect(index_file(path))) as index:
        index.execute("DROP TABLE vocabulary")
    assert found_once_indexed(path) == [said.id]


def test_a_database_that_is_gone_is_reported(path: Path) -> None:
    search = SearchThread(lambda: path.parent / "nothing.db")
    path.parent.mkdir(parents=True)
    answers: queue.SimpleQueue[SearchResults] = queue.SimpleQueue()
    search.ask("needle", answers.put)
    assert answers.get(timeout=PATIENCE_S).problem.startswith("Search failed: ")
    search.close()


def test_the_search_follows_a_database_that_is_written_anew_or_replaced(
    store: ConversationStore, path: Path, answered: Answered
) -> None:
    first = say(store, "needle")
    assert [hit.message_id for hit in answered("needle").hits] == [first.id]
    path.unlink()
    second = say(store, "another needle")
    assert store.file == path
    assert {hit.message_id for hit in answered("needle").hits} == {first.id, second.id}
    with closing(open_store(path.with_name("other.db"))) as other:
        say(other, "a needle of somebody else")
    path.with_name("other.db").rename(path)
    third = say(store, "a third needle")
    assert store.file != path
    assert {hit.message_id for hit in answered("needle").hits} == {first.id, second.id, third.id}


def test_an_error_of_any_kind_is_reported_and_the_next_query_answered(
    store: ConversationStore, search: SearchThread, answered: Answered, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = say(store, "needle")
    with monkeypatch.context() as patched:
        patched.setattr("ttchat_tui.storage.search.thread.find", lambda *_: 1 // 0)
        assert answered("needle").problem == "Search failed: integer division or modulo by zero."
    taken = threading.Event()

    def fail(results: SearchResults) -> None:
        taken.set()
        raise ValueError("nobody takes it")

    search.ask("needle", fail)
    assert taken.wait(PATIENCE_S)
    assert [hit.message_id for hit in answered("needle").hits] == [said.id]


def test_a_refresh_reports_until_all_is_indexed_and_takes_no_questions_place(
    store: ConversationStore, search: SearchThread, monkeypatch: pytest.MonkeyPatch
) -> None:
    say_five(store, monkeypatch)
    answers: queue.SimpleQueue[SearchResults] = queue.SimpleQueue()
    reports: queue.SimpleQueue[float] = queue.SimpleQueue()
    search.ask("needle", answers.put)
    search.refresh(reports.put)
    while answers.get(timeout=PATIENCE_S).indexed < 1:
        pass
    shares = [reports.get(timeout=PATIENCE_S)]
    while shares[-1] < 1:
        shares.append(reports.get(timeout=PATIENCE_S))
    assert shares == sorted(shares)


def test_an_index_that_fails_reports_no_share(
    store: ConversationStore, search: SearchThread, answered: Answered, monkeypatch: pytest.MonkeyPatch
) -> None:
    reports: list[float] = []
    say(store, "needle")
    with monkeypatch.context() as patched:
        patched.setattr("ttchat_tui.storage.search.thread.SearchIndex", lambda *_: 1 // 0)
        search.refresh(reports.append)
        assert answered("needle").problem
    assert reports == []
    answered("needle")
    assert reports[-1] == 1.0


def test_nothing_is_answered_after_the_end(store: ConversationStore, search: SearchThread) -> None:
    search.close()
    search.close()
    search.ask("needle", lambda results: pytest.fail("an answer"))


def test_the_database_is_never_written(store: ConversationStore, path: Path, answered: Answered) -> None:
    say(store, "needle")
    store.merge_log()
    before = path.read_bytes()
    answered("needle")
    store.merge_log()
    assert path.read_bytes() == before
