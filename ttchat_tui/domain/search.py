"""Search over everything said: what is asked, and what is found."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Final, Protocol, TypeAlias

import msgspec

from ttchat_tui.domain.chat import Role

MOST_RANKED: Final = 500
"""Messages that are ranked; of more, only the newest."""

_NEEDLE: Final = re.compile(r'"(?P<phrase>[^"]*)"?|(?P<word>[^\s"]+)')

Span: TypeAlias = tuple[int, int]
"""Start and end of a hit, in characters."""


def needles_in(typed: str) -> tuple[str, ...]:
    """What is looked for, in a search and in the open conversation: words, each anywhere, and "words together"."""
    found = (part["phrase"] or part["word"] or "" for part in _NEEDLE.finditer(typed))
    return tuple(needle for each in found if (needle := each.strip()))


def typed_as(needles: Iterable[str]) -> str:
    """What is typed for these needles."""
    return " ".join(f'"{needle}"' if " " in needle else needle for needle in needles)


class SearchQuery(msgspec.Struct, frozen=True):
    """A parsed query. All conditions must hold."""

    needles: tuple[str, ...] = ()
    """Each is found anywhere, also inside a word. One with blanks is a phrase."""
    role: Role | None = None
    models: tuple[str, ...] = ()
    """Parts of the model's name."""
    before: float | None = None
    """Unix seconds; exclusive."""
    after: float | None = None
    """Unix seconds; inclusive."""
    tags: tuple[str, ...] = ()
    """Beginnings of tags that the conversation has."""
    in_title: bool = False
    """Only titles are searched."""
    in_archive: bool = False
    """Only archived conversations are searched; otherwise all."""
    problem: str = ""
    """A sentence about an operator that was left out; empty: all is understood."""

    @property
    def is_empty(self) -> bool:
        """Nothing is asked."""
        has_filter = self.role or self.models or self.tags or self.in_archive
        has_time = self.before is not None or self.after is not None
        return not (self.needles or has_filter or has_time)


class SearchHit(msgspec.Struct, frozen=True):
    """A message, or a conversation whose title was found."""

    conversation_id: int
    title: str
    created_at: float
    """Of the message, or of the conversation's last change. Unix seconds."""
    message_id: int | None = None
    """None: the title was found."""
    role: Role = "user"
    model: str = ""
    is_archived: bool = False
    snippet: str = ""
    """One line around the hits; untrusted text."""
    spans: tuple[Span, ...] = ()
    """Hits in the snippet; without a message, in the title."""


class SearchResults(msgspec.Struct, frozen=True):
    """The answer to one query."""

    asked: str
    """The query as typed."""
    hits: tuple[SearchHit, ...] = ()
    """The best first."""
    needles: tuple[str, ...] = ()
    """What to mark in an opened message."""
    count: int = 0
    """How many messages and titles were found."""
    is_cut: bool = False
    """There are more: only the newest were ranked."""
    problem: str = ""
    """Why the query was understood differently or not answered; empty: nothing to say."""
    indexed: float = 1.0
    """The indexed share of all messages. Below 1, older messages, or those just imported, are not found yet."""


Answer: TypeAlias = Callable[[SearchResults], None]


class Search(Protocol):
    """Answers queries on a thread of its own."""

    def ask(self, typed: str, answer: Answer) -> None:
        """Search for what was typed. `answer` is called on the search's thread, again after more has been indexed. Only the
        newest query is answered. The index is brought up to date, also for an empty query."""
        ...

    def refresh(self, report: Callable[[float], None]) -> None:
        """Bring the index up to date. `report` is called on the search's thread with the indexed share of all messages, between 0
        and 1: now, and whenever the index is brought up to date later. Questions are answered meanwhile."""
        ...

    def forget(self, answer: Answer) -> None:
        """Call `answer` no more. A query with another one stays."""
        ...

    def close(self) -> None:
        """End the thread. Idempotent."""
        ...
