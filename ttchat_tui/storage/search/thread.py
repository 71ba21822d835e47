"""The thread that keeps the search index and answers queries, so that neither costs the screen a frame."""

from __future__ import annotations

import logging
import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Final, TypeVar

from ttchat_tui.domain.search import Answer, SearchResults
from ttchat_tui.storage.errors import to_storage_error
from ttchat_tui.storage.search.finder import find
from ttchat_tui.storage.search.index import SearchIndex, index_file, remove_index, remove_unused
from ttchat_tui.storage.search.query import parse_query

log = logging.getLogger(__name__)
_T = TypeVar("_T")

PAUSE_S: Final = 0.02
"""After each batch, about as long as it took: building an index leaves the screen most of the interpreter's time."""

_MENDABLE: Final = frozenset({"database_corrupt", "storage_failed"})
"""A damaged file, and one with other tables: not a full disk, nor a lock."""

ANSWER_AGAIN_S: Final = 1.0
"""How often a query is answered again while the index is being built."""

CLOSING_S: Final = 5.0
"""How long closing waits for the running batch. The store must close after the index, which may not merge the log."""


class SearchThread:
    """`domain.search.Search` for one database. The thread starts with the first `ask` or `refresh`."""

    def __init__(self, database: Callable[[], Path]) -> None:
        """`database`: where it is now. The store continues in another file if its own is replaced."""
        self._database = database
        self._changed = threading.Condition()
        self._asked: tuple[str, Answer] | None = None
        """The newest query, until it is forgotten."""
        self._is_new = False
        """It has no answer yet."""
        self._report: Callable[[float], None] | None = None
        self._is_awake = False
        self._is_closed = False
        self._is_searching = False
        self._has_failed = False
        """The index was damaged, and has not worked since."""
        self._index: SearchIndex | None = None
        self._thread: threading.Thread | None = None

    def ask(self, typed: str, answer: Answer) -> None:
        """See `Search.ask`."""
        with self._changed:
            self._asked, self._is_new = (typed, answer), True
            if self._is_searching and self._index is not None:
                self._index.interrupt()
        self._wake()

    def refresh(self, report: Callable[[float], None]) -> None:
        """See `Search.refresh`."""
        with self._changed:
            self._report = report
        self._wake()

    def forget(self, answer: Answer) -> None:
        """See `Search.forget`."""
        with self._changed:
            if self._asked is not None and self._asked[1] == answer:
                self._asked, self._is_new = None, False

    def _wake(self) -> None:
        with self._changed:
            self._is_awake = True
            if self._thread is None and not self._is_closed:
                # A daemon: an index that is not up to date costs nothing, and quitting does not wait for it.
                self._thread = threading.Thread(target=self._run, name="search", daemon=True)
                self._thread.start()
            self._changed.notify_all()

    def close(self) -> None:
        """See `Search.close`."""
        with self._changed:
            self._is_closed = True
            self._asked = self._report = None
            if self._index is not None:
                self._index.interrupt()
            self._changed.notify_all()
            thread = self._thread
        if thread is not None:
            thread.join(timeout=CLOSING_S)

    # --- on the thread

    def _run(self) -> None:
        while not self._is_closed:
            with self._changed:
                while not (self._is_awake or self._is_closed):
                    self._changed.wait()
                self._is_awake = False
            try:
                self._work()
            except Exception as error:  # noqa: BLE001 (reported; without the thread nothing is ever answered again)
                is_interrupted = isinstance(error, sqlite3.OperationalError) and "interrupted" in str(error)
                if not is_interrupted:  # then there is a newer query
                    self._recover(error)
        self._close_index()

    def _close_index(self) -> None:
        with self._changed:  # nobody interrupts it from now on
            index, self._index = self._index, None
        if index is not None:
            index.close()

    def _work(self) -> None:
        """Answer and index in turns until there is nothing to do."""
        index = self._opened()
        if index.is_behind:
            index.advance()  # mostly a message or two, which the answer then has
        self._answer(index)
        unanswered_s = 0.0
        while not self._is_closed and index.is_behind:
            index.advance()
            unanswered_s += self._pause()
            if self._is_new or unanswered_s > ANSWER_AGAIN_S:
                unanswered_s = 0.0
                self._answer(index, again=True)
        if unanswered_s:
            self._answer(index, again=True)
        self._has_failed = False

    def _pause(self) -> float:
        """Leave the interpreter to the screen. Returns the seconds that a batch and its pause take."""
        with self._changed:
            if not self._is_new and not self._is_closed:
                self._changed.wait(PAUSE_S)
        return 2 * PAUSE_S

    def _opened(self) -> SearchIndex:
        database = self._database()
        if self._index is not None and self._index.is_of(database):
            return self._index
        self._close_index()
        index = SearchIndex(database, index_file(database))
        with self._changed:
            self._index = index
        remove_unused(database)
        return index

    def _recover(self, error: Exception) -> None:
        """Build a damaged index again, once. Otherwise report the error; the next query tries again."""
        log.warning("the search failed", exc_info=error)
        self._close_index()
        database = self._database()
        is_of_file = isinstance(error, sqlite3.Error | OSError)
        info = to_storage_error(error, index_file(database)).info if is_of_file else None
        if info is not None and info.kind in _MENDABLE and not self._has_failed:
            self._has_failed = True
            remove_index(database)
            self._wake()
            return
        with self._changed:
            asked, self._is_new = self._asked, False
        if asked is not None:
            self._send(*asked, SearchResults(asked=asked[0], problem=f"Search failed: {error}."))

    def _answer(self, index: SearchIndex, *, again: bool = False) -> None:
        with self._changed:
            report = self._report
        if report is not None:
            self._take(report, index.share)
        with self._changed:
            if self._asked is None or not (self._is_new or again):
                return
            (typed, answer), self._is_new, self._is_searching = self._asked, False, True
        try:
            results = find(index, typed, parse_query(typed))
        finally:
            with self._changed:
                self._is_searching = False
        self._send(typed, answer, results)

    def _send(self, typed: str, answer: Answer, results: SearchResults) -> None:
        with self._changed:
            is_newest = self._asked is not None and self._asked == (typed, answer) and not self._is_new
        if is_newest:
            self._take(answer, results)

    def _take(self, take: Callable[[_T], None], what: _T) -> None:
        try:
            take(what)
        except Exception:
            log.exception("the answer to a search was not taken")
