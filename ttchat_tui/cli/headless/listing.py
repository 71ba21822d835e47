"""What a screen shows without being asked, as lines: messages, their versions, conversations, and what is found in them."""

from __future__ import annotations

import queue
import time
from collections.abc import Callable
from typing import Final

from ttchat_tui.domain.conversation import Message
from ttchat_tui.domain.matching import Matcher
from ttchat_tui.domain.search import Search, SearchHit, SearchResults
from ttchat_tui.domain.text import counted, visible_line
from ttchat_tui.session import ChatSession, first_words, name_of
from ttchat_tui.session.by_title import require_title, titled

MOST_LISTED: Final = 30
_SNIPPET: Final = 120
_BEFORE_HIT: Final = 40

SEARCH_S: Final = 5.0
"""A search takes milliseconds, but the index may have to be built first."""


class UsageError(Exception):
    """A command that is not typed as it should be. `str()` is a sentence."""


class PlainListing:
    """Numbers of messages count those of the open branch from 1; numbers of conversations are those of `export --list`."""

    def __init__(self, session: ChatSession, say: Callable[[str], None]) -> None:
        self._session = session
        self._say = say

    def messages(self, count: str) -> None:
        """Every message, or the last `count`."""
        path = self._session.path
        if not path:
            self._say("The conversation is empty.")
        for number, message in list(enumerate(path, start=1))[-_number(count, len(path) or 1) :]:
            self._say(f"{_heading(number, message)}:\n{message.content}")

    def context(self) -> None:
        """What the next prompt holds, message by message."""
        ledger = self._session.context.ledger()
        about = "about " if ledger.is_estimate else ""
        of = f" of {ledger.context_length:,}" if ledger.context_length else ""
        if ledger.prompt_tokens is None:
            self._say("Not counted: no model is loaded, or the conversation is empty.")
        else:
            self._say(f"The next prompt has {about}{ledger.prompt_tokens:,}{of} tokens before your message.")
        numbers = {each.id: number for number, each in enumerate(self._session.path, start=1)}
        for row in ledger.rows:
            if row.kind == "draft":
                continue
            who = row.kind
            if row.kind == "message":
                who = f"{numbers[row.message_id]}, {_speaker(row.role)}"
            tokens = f", {counted(row.tokens, 'token')}" if row.tokens is not None else ""
            fate = "kept" if row.is_kept and row.fate == "sent" else row.fate
            self._say(f"{who}, {fate}{tokens}: {visible_line(row.text)[:_SNIPPET]}")

    # --- versions

    def versions(self, numbers: str) -> None:
        """`n` shows version n of the last reply, `message n` that of any message; without numbers they are listed."""
        given = [_number(each) for each in numbers.split()]
        path = self._session.path
        replies = [number for number, each in enumerate(path, start=1) if each.role == "assistant"]
        at = given[0] if len(given) > 1 else replies[-1] if replies else len(path)
        if len(given) > 2 or not 1 <= at <= len(path):
            raise UsageError(f"The conversation has {counted(len(path), 'message')}.")
        shown = path[at - 1]
        found = [each for each in self._session.tree() if each.parent_id == shown.parent_id]
        if given:
            self._show_version(at, shown, found, given[-1])
            return
        for number, each in enumerate(found, start=1):
            mark = ", shown" if each.id == shown.id else ""
            self._say(f"version {number}{_made_by(each)}{mark}: {first_words(each.content) or 'no words'}")
        if not found:
            self._say("The conversation is empty.")

    def _show_version(self, at: int, shown: Message, found: list[Message], number: int) -> None:
        if not 1 <= number <= len(found):
            raise UsageError(f"The message has {counted(len(found), 'version')}.")
        place = next(place for place, each in enumerate(found) if each.id == shown.id)
        self._session.branching.turn_version(shown.id, number - 1 - place)
        path = self._session.path
        self._say(f"{_heading(at, path[at - 1])}:\n{path[at - 1].content}")
        if after := len(path) - at:
            self._say(f"{after} messages follow; /show reads them." if after > 1 else "1 message follows.")

    # --- what is found

    def titles(self, words: str) -> None:
        """The newest conversations with `words` in their title."""
        matcher = Matcher(words.split())
        found = [each for each in self._session.conversations() if matcher.has_all(each.title)]
        opened = self._session.conversation
        for each in found[:MOST_LISTED]:
            mark = ", archived" if each.is_archived else ""
            mark += ", open" if opened is not None and each.id == opened.id else ""
            count = self._session.organising.conversation(each.id).message_count
            self._say(f"{each.id}: {name_of(each)}, {count} messages{mark}")
        self._count(len(found), "conversation")

    def number_of(self, title: str) -> int:
        """The number of the one conversation that `title` names. Raises UsageError; AppError: there is none, or there are
        several."""
        if not title:
            raise UsageError("Give a title, or a number that /find or /search shows.")
        found = titled(self._session.conversations(), title)
        cure = "/open NUMBER opens one of them, and /find lists them all."
        return require_title(found, title, cure=cure, named=lambda each: f"{each.id}: {name_of(each)}").id

    def hits_here(self, words: str) -> None:
        """The messages of the open branch with all `words`."""
        matcher = Matcher(words.split())
        if not matcher:
            raise UsageError("Give words.")
        found = [
            (number, each)
            for number, each in enumerate(self._session.path, start=1)
            if matcher.has_all(each.content)
        ]
        for number, each in found[:MOST_LISTED]:
            self._say(f"{_heading(number, each)}: {_around(each.content, matcher)}")
        self._count(len(found), "message")

    def hits(self, words: str) -> None:
        """Messages and titles of all conversations, the best first."""
        if not words:
            raise UsageError("Give words.")
        if self._session.search is None:
            self._say("Nothing can be searched: this session is not kept on disk.")
            return
        results = _whole_answer(self._session.search, words)
        if results is None:
            self._say("The search has not answered yet. Try again.")
            return
        for hit in results.hits[:MOST_LISTED]:
            self._say(_line_of(hit))
        if results.problem:
            self._say(results.problem)
        self._count(results.count, "hit")
        if results.indexed < 1:
            self._say("The index is still being built: older messages are not found yet.")

    def _count(self, found: int, what: str) -> None:
        more = f", the first {MOST_LISTED} are listed" if found > MOST_LISTED else ""
        self._say(f"{found:,} {what}{'s' * (found != 1)}{more}.")


def _whole_answer(search: Search, words: str) -> SearchResults | None:
    """The answer once everything is indexed, or the best one after `SEARCH_S`."""
    answers: queue.SimpleQueue[SearchResults] = queue.SimpleQueue()
    search.ask(words, answers.put)
    results: SearchResults | None = None
    deadline = time.monotonic() + SEARCH_S
    try:
        while (results is None or results.indexed < 1) and (left := deadline - time.monotonic()) > 0:
            results = answers.get(timeout=left)
    except queue.Empty:
        pass
    finally:
        search.forget(answers.put)
    return results


def _number(typed: str, default: int = 0) -> int:
    if typed and not typed.isdecimal():
        raise UsageError(f"{typed} is no number.")
    return int(typed) if typed else default


def _heading(number: int, message: Message) -> str:
    """`4, reply, version 2 of 3`."""
    versions = (
        f", version {message.sibling_index + 1} of {message.sibling_count}"
        if message.sibling_count > 1
        else ""
    )
    return f"{number}, {_speaker(message.role)}{versions}"


def _speaker(role: str) -> str:
    return {"user": "you", "assistant": "reply"}.get(role, role)


def _made_by(message: Message) -> str:
    """`, smollm2, temperature 0.7`, as far as it is known."""
    reply = message.reply
    if reply is None:
        return ""
    model = f", {reply.model}" if reply.model else ""
    return f"{model}, temperature {reply.sampling.temperature:g}" if reply.sampling else model


def _around(text: str, matcher: Matcher) -> str:
    """One line around the first hit."""
    start = max(0, (matcher.first(text) or 0) - _BEFORE_HIT)
    line = visible_line(text[start : start + _SNIPPET])
    return f"{'…' * (start > 0)}{line}{'…' * (start + _SNIPPET < len(text))}"


def _line_of(hit: SearchHit) -> str:
    """`12.345: “Clock repair”, you: … the pendulum …`. /open takes the number."""
    if hit.message_id is None:
        return f"{hit.conversation_id}: “{hit.title}”"
    return f"{hit.conversation_id}.{hit.message_id}: “{hit.title}”, {_speaker(hit.role)}: {hit.snippet}"
