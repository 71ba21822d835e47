"""Answers queries from the index: candidates by FTS5, newest first, then checked, ranked and cut to snippets."""

from __future__ import annotations

import re
import sqlite3
import time
from typing import Any, Final, cast, get_args

from ttchat_tui.domain.chat import Role
from ttchat_tui.domain.matching import Matcher, without_markers
from ttchat_tui.domain.search import MOST_RANKED, SearchHit, SearchQuery, SearchResults
from ttchat_tui.domain.text import visible_line
from ttchat_tui.storage.rows import text_from, time_from
from ttchat_tui.storage.search.index import SearchIndex

MOST_HITS: Final = 100
MOST_TITLES: Final = 5
"""Conversations that are listed for their title, before the messages; with `in:title` as many as `MOST_HITS`."""

BEFORE_HIT: Final = 40
SNIPPET: Final = 240
"""Characters of a message around its hits."""

_TYPICAL: Final = 600
"""Characters of a typical message, for the ranking."""
_MONTH_S: Final = 30 * 24 * 3600.0

_CANDIDATES: Final = """
    SELECT m.id, m.conversation_id, m.role, m.model, m.created_at, m.content, c.title, c.is_archived
    FROM {source}
        JOIN chats.messages m ON m.id = d.message_id
        JOIN chats.conversations c ON c.id = m.conversation_id
    WHERE {conditions} AND d.conversation_id NOT IN
        (SELECT id FROM chats.conversations WHERE deleted_at IS NOT NULL)
    ORDER BY {id} DESC LIMIT ?
"""

_SAID: Final = "said s CROSS JOIN docs d ON d.message_id = s.rowid"
"""CROSS JOIN keeps the order of the loops: FTS5 yields the newest first, and LIMIT ends it early."""

_TAGGED: Final = "{} IN (SELECT id FROM chats.conversations WHERE instr(' ' || tags, ?) > 0)"
"""The value is a blank and the beginning of a tag."""

_TITLED: Final = """
    SELECT c.id, c.title, c.updated_at, c.model, c.is_archived
    FROM titles t JOIN chats.conversations c ON c.id = t.rowid
    WHERE {conditions} AND c.deleted_at IS NULL ORDER BY t.rowid DESC LIMIT ?
"""


def find(index: SearchIndex, typed: str, query: SearchQuery, now: float | None = None) -> SearchResults:
    """The answer to a query. Raises sqlite3.Error."""
    if query.is_empty:
        return SearchResults(asked=typed, problem=query.problem, indexed=index.share)
    now = time.time() if now is None else now
    matcher = Matcher(query.needles)
    titled = _titled(index, query, matcher)
    rows = [] if query.in_title else _candidates(index, query)
    is_cut = len(rows) > MOST_RANKED
    scored = [(score, row) for row in rows[:MOST_RANKED] if (score := _score(row, matcher, now)) is not None]
    scored.sort(key=lambda each: (-each[0], -each[1]["id"]))
    told = {row["conversation_id"] for _, row in scored}
    titled = [hit for hit in titled if hit.conversation_id not in told]
    if not query.in_title:
        titled = titled[:MOST_TITLES]
    hits = titled + [_hit(row, matcher) for _, row in scored[: MOST_HITS - len(titled)]]
    return SearchResults(
        asked=typed,
        hits=tuple(hits),
        needles=query.needles,
        count=len(titled) + len(scored),
        is_cut=is_cut,
        problem=query.problem,
        indexed=index.share,
    )


def _titled(index: SearchIndex, query: SearchQuery, matcher: Matcher) -> list[SearchHit]:
    match = index.match_of(query.needles, inside=False)
    if not match or query.role is not None:
        return []
    conditions, values = _filters(query, "c", "c.updated_at", "c.id")
    sql = _TITLED.format(conditions=" AND ".join(["titles MATCH ?", *conditions]))
    rows = index.connection.execute(sql, (match, *values, MOST_HITS)).fetchall()
    hits = [
        SearchHit(
            conversation_id=row["id"],
            title=title,
            created_at=time_from(row["updated_at"]),
            model=text_from(row["model"]),
            is_archived=bool(row["is_archived"]),
            spans=tuple(matcher.spans(title)),
        )
        for row in rows
        if matcher.has_all(title := visible_line(text_from(row["title"])))
    ]
    return sorted(hits, key=lambda hit: -hit.created_at)


def _candidates(index: SearchIndex, query: SearchQuery) -> list[sqlite3.Row]:
    """The newest messages with the query's words, one more than are ranked."""
    match = index.match_of(query.needles)
    conditions, values = _filters(query, "d", "d.created_at", "d.conversation_id")
    if match:
        conditions, values = ["said MATCH ?", *conditions], [match, *values]
    sql = _CANDIDATES.format(
        source=_SAID if match else "docs d",
        id="s.rowid" if match else "d.message_id",
        conditions=" AND ".join(conditions) or "true",
    )
    return index.connection.execute(sql, (*values, MOST_RANKED + 1)).fetchall()


def _filters(query: SearchQuery, of: str, at: str, conversation: str) -> tuple[list[str], list[Any]]:
    """Conditions in SQL and their values. `of` is the table with model and role, `at` the column of the time,
    `conversation` that of the conversation's id."""
    conditions: list[str] = []
    values: list[Any] = []
    for condition, value in (
        (f"{of}.role = ?", query.role),
        (f"{at} < ?", query.before),
        (f"{at} >= ?", query.after),
        *((f"instr(lower({of}.model), ?) > 0", model.lower()) for model in query.models),
        *((_TAGGED.format(conversation), f" {tag}") for tag in query.tags),
    ):
        if value is not None:
            conditions.append(condition)
            values.append(value)
    if query.in_archive:
        conditions.append(f"{conversation} IN (SELECT id FROM chats.conversations WHERE is_archived)")
    return conditions, values


def _score(row: sqlite3.Row, matcher: Matcher, now: float) -> float | None:
    """How well a message fits; None: not at all, its words have changed since it was indexed.

    As in BM25, more hits of a needle count less and less, and less in a long message. Newer messages count more.
    """
    content = text_from(row["content"])
    counts = matcher.counts(content)
    if not all(counts):  # a phrase may have Markdown's markers inside
        counts = matcher.counts(without_markers(content))
        if not all(counts):
            return None
    weight = 0.25 + 0.75 * len(content) / _TYPICAL
    quality = sum(count / (count + 1.5 * weight) for count in counts) / max(1, len(counts))
    age = max(0.0, now - time_from(row["created_at"])) / _MONTH_S
    in_title = 0.3 if matcher and matcher.has_all(text_from(row["title"])) else 0.0
    return quality + in_title + 0.5 / (1 + age)


def _hit(row: sqlite3.Row, matcher: Matcher) -> SearchHit:
    role = row["role"] if row["role"] in get_args(Role) else "user"
    snippet = _snippet(text_from(row["content"]), matcher)
    return SearchHit(
        conversation_id=row["conversation_id"],
        title=visible_line(text_from(row["title"])),
        created_at=time_from(row["created_at"]),
        message_id=row["id"],
        role=cast(Role, role),
        model=text_from(row["model"]),
        is_archived=bool(row["is_archived"]),
        snippet=snippet,
        spans=tuple(matcher.spans(snippet)),
    )


def _snippet(content: str, matcher: Matcher) -> str:
    """One line of the message around its first hit."""
    first = matcher.first(content)
    if first is None:
        content = without_markers(content)
        first = matcher.first(content) or 0
    start = max(0, first - BEFORE_HIT)
    if start and (blank := re.search(r"\s", content[start:first])):
        start += blank.end()
    text = visible_line(content[start : start + SNIPPET].strip())
    return f"{'…' if start else ''}{text}{'…' if start + SNIPPET < len(content) else ''}"
