"""The search index: a file of its own beside the database, derived from it, and built again whenever it does not fit.

It holds the words of messages and titles without their text (a contentless FTS5 table), and what filters need of a message.
Whoever reads it must check each hit against the message: words of messages that changed or went stay until the next build.

docs/decisions/028-search-index-beside-the-database.md has the reasons.
"""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from ttchat_tui.domain.matching import folded, is_alone, words
from ttchat_tui.storage.database import decoded_text
from ttchat_tui.storage.files import Identity, companions, identity_of
from ttchat_tui.storage.rows import text_from, time_from

VERSION: Final = 2
"""Of this schema and of `domain.matching`. Each version of the app has a file of its own: two that run in turns would build
a common one again and again."""

UNUSED_FOR_S: Final = 30 * 24 * 3600.0
"""After this time without a change, another version's index is deleted."""

BATCH_CHARS: Final = 60_000
"""Text that is indexed in one transaction: about 20 ms."""
BATCH_MESSAGES: Final = 200

REMOVED_FOR_S: Final = 24 * 3600.0
"""How long words of removed messages and old titles may stay: a build removes them."""

BUSY_TIMEOUT_S: Final = 5.0
"""How long a batch waits for another window that indexes. The thread has time."""

_SCHEMA: Final = """
    CREATE TABLE state (
        version INTEGER NOT NULL,
        -- The last change of the database that is in the index, with its mark.
        seq INTEGER NOT NULL,
        mark BLOB NOT NULL,
        -- Messages are indexed from the newest down: those below `floor` are not yet. It began above `top`.
        floor INTEGER NOT NULL,
        top INTEGER NOT NULL,
        built_at REAL NOT NULL,
        -- Messages removed since then, whose words are still here.
        removed INTEGER NOT NULL DEFAULT 0,
        -- The same for titles, which are built again on their own: they change far more often.
        titles_built_at REAL NOT NULL,
        titles_removed INTEGER NOT NULL DEFAULT 0
    );
    CREATE TABLE titled (conversation_id INTEGER PRIMARY KEY);
    CREATE TABLE docs (
        message_id INTEGER PRIMARY KEY,
        conversation_id INTEGER NOT NULL,
        role TEXT NOT NULL,
        model TEXT NOT NULL,
        created_at REAL NOT NULL
    );
    CREATE VIRTUAL TABLE said USING fts5 (words, content='', columnsize=0, tokenize='ascii', prefix='2 3');
    CREATE VIRTUAL TABLE titles USING fts5 (words, content='', columnsize=0, tokenize='ascii', prefix='2 3');
    -- Every word there is, to find those that have letters in the middle: `name` in `getusername`.
    CREATE TABLE vocabulary (id INTEGER PRIMARY KEY, word TEXT NOT NULL UNIQUE);
"""

_PARTS: Final = """
    CREATE VIRTUAL TABLE parts USING fts5 (
        word, content='vocabulary', content_rowid='id', tokenize='trigram', detail='none', columnsize=0
    );
    CREATE TRIGGER word_added AFTER INSERT ON vocabulary
    BEGIN INSERT INTO parts (rowid, word) VALUES (NEW.id, NEW.word); END
"""

_HAS_TRIGRAMS: Final = sqlite3.sqlite_version_info >= (3, 34)
"""With an older SQLite, words are found from their first letter on only."""

PART: Final = range(3, 41)
"""Characters of a word that can be found by letters in its middle."""

MOST_WORDS: Final = 100
"""Words that have the same letters in the middle, the shortest first: of more, the letters say little."""

_TABLES: Final = ("state", "docs", "said", "titles", "titled", "parts", "vocabulary")

_MESSAGES: Final = "SELECT id, conversation_id, role, model, created_at, status, content FROM chats.messages"


def index_file(database: Path) -> Path:
    """Where this version's index of a database is."""
    return database.with_name(f"{database.name}.search-{VERSION}")


def remove_unused(database: Path) -> None:
    """Delete the indexes of other versions of the app that have not changed for a month. One that cannot be deleted stays:
    it only takes room."""
    for each in (database.with_name("search.db"), *database.parent.glob(f"{database.name}.search-*[0-9]")):
        with suppress(OSError):
            if each != index_file(database) and time.time() - each.stat().st_mtime > UNUSED_FOR_S:
                _remove(each)


def remove_index(database: Path) -> None:
    """Delete the index; it is built again. Nobody needs to close it first."""
    _remove(index_file(database))


def _remove(file: Path) -> None:
    for each in (*companions(file), file):
        each.unlink(missing_ok=True)


class SearchIndex:
    """One connection, for one thread; `interrupt` may be called from any. Raises sqlite3.Error and OSError.

    The connection also reads the database, as `chats`, and never writes there.
    """

    def __init__(self, database: Path, file: Path) -> None:
        self._database = database
        self._file = file
        with suppress(FileExistsError):
            os.close(os.open(file, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
        self._identities = self._identified()
        self.connection = self._open()
        self._fresh: set[str] = set()
        """Words of the running batch."""

    def _open(self) -> sqlite3.Connection:
        # `check_same_thread`: `interrupt` comes from other threads.
        connection = sqlite3.connect(
            f"{self._file.absolute().as_uri()}?mode=rw",
            uri=True,
            timeout=BUSY_TIMEOUT_S,
            isolation_level=None,
            check_same_thread=False,
        )
        connection.row_factory = sqlite3.Row
        connection.text_factory = decoded_text
        try:
            connection.execute("PRAGMA secure_delete = ON")
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = NORMAL")
            connection.execute("ATTACH ? AS chats", (f"{self._database.absolute().as_uri()}?mode=ro",))
        except BaseException:
            connection.close()
            raise
        return connection

    def _identified(self) -> tuple[Identity | None, Identity | None]:
        return identity_of(self._database), identity_of(self._file)

    def is_of(self, database: Path) -> bool:
        """Whether this is the index of the file at that path. False once either was moved, deleted or replaced."""
        return database == self._database and self._identified() == self._identities

    def interrupt(self) -> None:
        """End the running statement with sqlite3.OperationalError."""
        self.connection.interrupt()

    def close(self) -> None:
        self.connection.close()

    # --- following the database

    @property
    def share(self) -> float:
        """The indexed share of all messages, between 0 and 1."""
        state = self._state()
        if state is None:
            return 0.0
        newest = self.connection.execute("SELECT max(seq) FROM chats.changes").fetchone()[0] or 0
        changes = newest - state["seq"]
        if changes <= BATCH_MESSAGES:  # less than a batch is no wait
            changes = 0
        waiting = max(0, state["floor"] - 1) + changes
        return 1 - waiting / (state["top"] + changes) if waiting else 1.0

    @property
    def is_behind(self) -> bool:
        """`advance` has something to do."""
        state = self._state()
        if state is None or state["floor"] > 0 or self._changes(state) != []:
            return True
        return _has_old_titles(state)

    def advance(self) -> bool:
        """Index the next batch, in one transaction. Returns whether there may be more to index.

        Several processes may do this at once.
        """
        connection = self.connection
        connection.execute("BEGIN IMMEDIATE")
        try:
            state = self._state()
            changes = self._changes(state)
            if changes is None:
                self._start_over()
                has_more = True
            elif changes:
                self._apply(changes)
                has_more = True
            else:
                assert state is not None
                if _has_old_titles(state):
                    self._build_titles()
                has_more = self._build_below(state["floor"])
            self._add_fresh_words()
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise
        return has_more

    def _state(self) -> sqlite3.Row | None:
        """None: the index is new, or of another version."""
        if (
            self.connection.execute("SELECT 1 FROM main.sqlite_master WHERE name = 'state'").fetchone()
            is None
        ):
            return None
        state = self.connection.execute("SELECT * FROM state").fetchone()
        return state if state is not None and state["version"] == VERSION else None

    def _changes(self, state: sqlite3.Row | None) -> list[sqlite3.Row] | None:
        """The next changes to index. None: build again, because the database is not the one that was indexed, its log does
        not go back so far, or there are words of removed messages."""
        if state is None or (state["removed"] and time.time() - state["built_at"] > REMOVED_FOR_S):
            return None
        found = self.connection.execute(
            "SELECT seq, mark, message_id, conversation_id FROM chats.changes WHERE seq >= ? ORDER BY seq LIMIT ?",
            (state["seq"], 1 + BATCH_MESSAGES),
        ).fetchall()
        if not found or (found[0]["seq"], found[0]["mark"]) != (state["seq"], state["mark"]):
            return None
        return found[1:]

    def _start_over(self) -> None:
        for name in _TABLES:
            self.connection.execute(f"DROP TABLE IF EXISTS main.{name}")
        for statement in f"{_SCHEMA}{_PARTS if _HAS_TRIGRAMS else ''}".split(";\n"):
            self.connection.execute(statement)
        top: int = self.connection.execute("SELECT max(id) FROM chats.messages").fetchone()[0] or 0
        self.connection.execute(
            "INSERT INTO state (version, seq, mark, floor, top, built_at, titles_built_at)"
            " SELECT ?1, seq, mark, ?2, ?3, ?4, ?4 FROM chats.changes ORDER BY seq DESC LIMIT 1",
            (VERSION, top + 1, top, time.time()),
        )
        self._build_titles()

    def _build_titles(self) -> None:
        """Index all titles anew: 0.1 s for 10,000."""
        self.connection.execute("INSERT INTO titles (titles) VALUES ('delete-all')")
        self.connection.execute("DELETE FROM titled")
        for row in self.connection.execute("SELECT id, title FROM chats.conversations WHERE title != ''"):
            self._add_title(row["id"], row["title"])
        self.connection.execute("UPDATE state SET titles_removed = 0, titles_built_at = ?", (time.time(),))

    def _apply(self, changes: list[sqlite3.Row]) -> None:
        done, chars = changes[0], 0
        for change in changes:
            if change["message_id"] is not None:
                row = self.connection.execute(f"{_MESSAGES} WHERE id = ?", (change["message_id"],)).fetchone()
                if row is None:
                    self._drop(change["message_id"])
                elif row["status"] != "streaming":
                    chars += self._add(row)
            elif change["conversation_id"] is not None:
                row = self.connection.execute(
                    "SELECT title FROM chats.conversations WHERE id = ?", (change["conversation_id"],)
                ).fetchone()
                self._drop_title(change["conversation_id"])
                if row is not None:
                    self._add_title(change["conversation_id"], row["title"])
            done = change
            if chars > BATCH_CHARS:
                break
        self.connection.execute("UPDATE state SET seq = ?, mark = ?", (done["seq"], done["mark"]))

    def _build_below(self, floor: int) -> bool:
        """Index the newest messages below `floor`. Returns whether there are more."""
        if floor <= 0:
            return False
        lowest, chars = 0, 0
        batch: list[sqlite3.Row] = []
        for row in self.connection.execute(
            f"{_MESSAGES} WHERE id < ? ORDER BY id DESC LIMIT ?", (floor, BATCH_MESSAGES)
        ):
            batch.append(row)
            lowest = row["id"]
            chars += len(text_from(row["content"]))
            if chars > BATCH_CHARS:
                break
        known = {
            row[0]
            for row in self.connection.execute(
                "SELECT message_id FROM docs WHERE message_id BETWEEN ? AND ?", (lowest, floor - 1)
            )
        }
        for row in reversed(batch):  # FTS5 writes a segment whenever an id is not above the last one
            if row["status"] != "streaming" and row["id"] not in known:
                self._add(row)
        self.connection.execute("UPDATE state SET floor = ?", (lowest if batch else 0,))
        return bool(batch)

    def _add(self, row: sqlite3.Row) -> int:
        content = text_from(row["content"])
        found = words(folded(content))
        self._fresh.update(found)
        self.connection.execute(
            "REPLACE INTO docs (message_id, conversation_id, role, model, created_at) VALUES (?, ?, ?, ?, ?)",
            (
                row["id"],
                row["conversation_id"],
                text_from(row["role"]),
                text_from(row["model"]),
                time_from(row["created_at"]),
            ),
        )
        self.connection.execute("INSERT INTO said (rowid, words) VALUES (?, ?)", (row["id"], " ".join(found)))
        return len(content)

    def _add_fresh_words(self) -> None:
        self.connection.executemany(
            "INSERT OR IGNORE INTO vocabulary (word) VALUES (?)",
            ((word,) for word in self._fresh if len(word) in PART),
        )
        self._fresh.clear()

    def words_with(self, part: str) -> list[str]:
        """Words that have `part`, itself a folded word, behind their first letter; the shortest first."""
        if len(part) not in PART or not _HAS_TRIGRAMS:
            return []
        rows = self.connection.execute(
            "SELECT word FROM parts WHERE word LIKE ? ORDER BY length(word), word LIMIT ?",
            (f"%{part}%", MOST_WORDS),
        )
        return [row["word"] for row in rows if not row["word"].startswith(part)]

    def match_of(self, needles: Iterable[str], *, inside: bool = True) -> str:
        """The FTS5 expression for needles, which may be any text; empty if they have no words.

        The last word of each may go on, unless something follows it. A needle of one word is also looked for `inside`
        words. A single letter is only found as a word: too many begin with it.
        """
        phrases: list[str] = []
        for needle in needles:
            plain = folded(needle)
            found = words(plain)
            if not found:
                continue
            goes_on = plain.endswith(found[-1])
            if goes_on and len(found[-1]) == 1 and not is_alone(found[-1]):
                goes_on = False
                found = found[:-1] or found
            # Only letters, digits and characters beyond ASCII: there is nothing to escape.
            either = [f'"{" ".join(found)}"{" *" if goes_on else ""}']
            if inside and found == [plain]:
                either += [f'"{word}"' for word in self.words_with(plain)]
            phrases.append(f"({' OR '.join(either)})")
        return " AND ".join(phrases)

    def _add_title(self, conversation_id: int, title: Any) -> None:
        self.connection.execute("INSERT INTO titled VALUES (?)", (conversation_id,))
        self.connection.execute(
            "INSERT INTO titles (rowid, words) VALUES (?, ?)",
            (conversation_id, " ".join(words(folded(text_from(title))))),
        )

    def _drop_title(self, conversation_id: int) -> None:
        """Note that a title has gone, if there was one: its words stay until the titles are built again."""
        gone = self.connection.execute("DELETE FROM titled WHERE conversation_id = ?", (conversation_id,))
        if gone.rowcount:
            self.connection.execute("UPDATE state SET titles_removed = titles_removed + 1")

    def _drop(self, message_id: int) -> None:
        gone = self.connection.execute("DELETE FROM docs WHERE message_id = ?", (message_id,))
        if gone.rowcount:
            self.connection.execute("UPDATE state SET removed = removed + 1")


def _has_old_titles(state: sqlite3.Row) -> bool:
    return bool(state["titles_removed"]) and time.time() - state["titles_built_at"] > REMOVED_FOR_S
