"""The thread that keeps the search index and answers queries, so that neither costs the screen a frame."""

from __future__ import annotations

import logging
import sqlite3
import threading
from pathlib import Path
from typing import Final

from ttchat_tui.domain.search import Answer, SearchResults
from ttchat_tui.storage.errors import to_storage_error
from ttchat_tui.storage.search.finder import find
from ttchat_tui.storage.search.index import SearchIndex, index_file, remove_index
from ttchat_tui.storage.search.query import parse_query

log = logging.getLogger(__name__)

PAUSE_S: Final = 0.02
"""After each batch, about as long as it took: building an index leaves the screen most of the interpreter's time."""

_MENDABLE: Final = frozenset({"database_corrupt", "storage_failed"})
"""A damaged file, and one with other tables: not a full disk, nor a lock."""

ANSWER_AGAIN_S: Final = 1.0
"""How often a query is answered again while the index is being built."""

CLOSING_S: Final = 5.0
"""How long closing waits for the running batch. The store must close after the index, which may not merge the log."""


class SearchThread:
    """`domain.search.Search` for one database file. The thread starts with the first `ask`."""

    def __init__(self, database: Path) -> None:
        self._database = database
        self._changed = threading.Condition()
        self._asked: tuple[str, Answer] | None = None
        """The newest query, until it is forgotten."""
        self._is_new = False
        """It has no answer yet."""
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
            self._asked = None
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
            except (sqlite3.Error, OSError) as error:
                if "interrupted" not in str(error):  # then there is a newer query
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
        if self._index is None:
            index = SearchIndex(self._database, index_file(self._database))
            with self._changed:
                self._index = index
        return self._index

    def _recover(self, error: sqlite3.Error | OSError) -> None:
        """Build a damaged index again, once. Otherwise report the error; the next query tries again."""
        log.warning("the search index failed: %s", error)
        self._close_index()
        info = to_storage_error(error, index_file(self._database)).info
        if info.kind in _MENDABLE and not self._has_failed:
            self._has_failed = True
            remove_index(self._database)
            self._wake()
            return
        with self._changed:
            asked, self._is_new = self._asked, False
        if asked is not None:
            self._send(*asked, SearchResults(asked=asked[0], problem=f"Search failed: {error}."))

    def _answer(self, index: SearchIndex, *, again: bool = False) -> None:
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
            answer(results)
