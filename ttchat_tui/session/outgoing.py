"""From a conversation to the messages of its next prompt, and back from each of those to what it was made of.

Rules, so that roles stay valid for every chat template (a user's message first, then taking turns):

- A message that was left out is not sent, and neither are the replies to a user's message that was left out.
- A summary is sent in the place of the message that has it and all before it, but for turns with a kept message. It
  follows the system prompt, since that never falls out.
- The message to answer, or the reply to continue with its question, is always sent.
- Adjacent messages of one role become one. An empty reply is not sent, so that two of the user's can be adjacent.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from itertools import chain, groupby, islice
from operator import attrgetter

import msgspec

from ttchat_tui.domain.chat import ChatMessage, Role, loose_turns
from ttchat_tui.domain.conversation import Message
from ttchat_tui.domain.ledger import Fate, RowKind
from ttchat_tui.domain.thoughts import extract_answer, extract_thoughts

SUMMARY_HEADING = "Summary of the conversation so far, in the place of its oldest messages:"


class OutgoingPart(msgspec.Struct, frozen=True):
    """A part of a prompt's message."""

    kind: RowKind
    role: Role
    content: str
    message_id: int = 0
    thoughts: str = ""
    """Of a reply; they are not in its content."""
    is_kept: bool = False
    token_ids: tuple[int, ...] = ()
    """Of a reply, as the model wrote it."""


class Outgoing(msgspec.Struct, frozen=True):
    """The messages of a prompt, before any fall out."""

    messages: tuple[ChatMessage, ...]
    parts: tuple[tuple[OutgoingPart, ...], ...]
    """What each of the messages was made of."""
    unsent: dict[int, Fate]
    """Why messages of the conversation are not in it, by id."""
    summary_of: int = 0
    """The message whose summary is sent; 0: none."""
    keep: tuple[int, ...] = ()
    """Positions in `messages` of those that are kept when others fall out."""

    def messages_in(self, dropped: int) -> int:
        """How many messages of the conversation are in the `dropped` messages that the engine dropped."""
        turns = loose_turns(self.messages, self.keep) if dropped else []
        return sum(len(self.parts[at]) for at in islice(chain.from_iterable(turns), dropped))

    def with_draft(self, draft: str) -> Outgoing:
        """The same with the user's `draft` at the end."""
        part = OutgoingPart("draft", "user", draft)
        follows_user = bool(self.parts) and self.parts[-1][0].role == "user"
        kept = len(self.parts) - follows_user
        last = (*self.parts[-1], part) if follows_user else (part,)
        return msgspec.structs.replace(
            self, messages=(*self.messages[:kept], _message(last)), parts=(*self.parts[:kept], last)
        )


_IS_KEPT = attrgetter("is_kept")


def outgoing(
    system_prompt: str,
    path: Sequence[Message],
    *,
    has_draft: bool = False,
    is_continuing: bool = False,
) -> Outgoing:
    """
    Args:
        has_draft: a draft follows, so that nothing of the path has to be answered.
        is_continuing: the reply at the end is to be continued, as it is, also if it is half a character or white space.
    """
    said = [(message, as_said(message.role, message.content)) for message in path]
    unfinished = said[-1:] if is_continuing else []
    said = [each for each in said[: len(said) - len(unfinished)] if each[1].content.strip()]
    said += [(message, ChatMessage(message.role, message.content)) for message, _ in unfinished]
    is_answered = is_continuing or (bool(said) and said[-1][0].role == "user")
    needed = _last_question(said) if is_answered and not has_draft else len(said)
    summary = _summary_in(path, before=said[needed][0].id if needed < len(said) else None)
    unsent = _unsent([message for message, _ in said[:needed]], summary.id if summary is not None else 0)
    continued = unfinished[0][0] if unfinished else None  # its ids are in the request
    parts: list[OutgoingPart] = []
    if system_prompt.strip():
        parts.append(OutgoingPart("system", "system", system_prompt))
    if summary is not None:
        parts.append(OutgoingPart("summary", "system", f"{SUMMARY_HEADING}\n{summary.summary}", summary.id))
    for message, each in said:
        if message.id not in unsent:
            is_kept = message.context == "kept"
            thoughts, ids = each.reasoning_content, ()
            if message.reply is not None and message is not continued:
                ids = message.reply.token_ids
            parts.append(OutgoingPart("message", each.role, each.content, message.id, thoughts, is_kept, ids))
    joined = _joined(parts)
    return Outgoing(
        messages=tuple(map(_message, joined)),
        parts=joined,
        unsent=unsent,
        summary_of=summary.id if summary is not None else 0,
        keep=tuple(at for at, each in enumerate(joined) if any(map(_IS_KEPT, each))),
    )


def as_said(role: Role, content: str) -> ChatMessage:
    """A message of a conversation as a model reads it: thoughts are apart from the answer."""
    return _reply_as_said(content) if role == "assistant" else ChatMessage(role, content)


@lru_cache(32_768)
def _reply_as_said(content: str) -> ChatMessage:
    """Remembered for the replies of a long conversation: it is counted at each pause in typing. A user's message, which may
    have whole files in it, is not."""
    return ChatMessage("assistant", extract_answer(content), extract_thoughts(content))


def _message(parts: Sequence[OutgoingPart]) -> ChatMessage:
    if len(parts) == 1:  # nearly all
        return ChatMessage(parts[0].role, parts[0].content, parts[0].thoughts, parts[0].token_ids)
    return ChatMessage(
        parts[0].role,
        "\n\n".join(part.content for part in parts),
        "\n\n".join(part.thoughts for part in parts if part.thoughts),
    )


def _last_question(said: Sequence[tuple[Message, ChatMessage]]) -> int:
    """The index of the last user's message; 0 without one."""
    return next((index for index in reversed(range(len(said))) if said[index][0].role == "user"), 0)


def _summary_in(path: Sequence[Message], before: int | None) -> Message | None:
    """The message with the newest summary, which may be an empty reply; only those before the message `before` count."""
    return next(
        (each for each in reversed(path) if each.summary and (before is None or each.id < before)), None
    )


def _unsent(path: Sequence[Message], summarised: int) -> dict[int, Fate]:
    """The fate of messages that are not sent. `summarised`: the last message that the summary stands for; ids grow along a
    path."""
    unsent: dict[int, Fate] = {}
    for turn in _turns(path):
        messages = path[turn.start : turn.stop]
        is_kept = is_left_out = False
        for message in messages:
            is_kept = is_kept or message.context == "kept"
        for message in messages:
            is_left_out = is_left_out or (message.role == "user" and message.context == "left out")
            if is_left_out or message.context == "left out":
                unsent[message.id] = "left out"
            elif message.id <= summarised and not is_kept:
                unsent[message.id] = "summarised"
    return unsent


def _turns(path: Sequence[Message]) -> list[range]:
    """The indexes of each user's message with the replies to it; replies before the first are a turn of their own."""
    starts = [index for index, message in enumerate(path) if index == 0 or message.role == "user"]
    return [range(start, end) for start, end in zip(starts, [*starts[1:], len(path)], strict=False)]


def _joined(parts: Sequence[OutgoingPart]) -> tuple[tuple[OutgoingPart, ...], ...]:
    return tuple(tuple(run) for _, run in groupby(parts, key=attrgetter("role")))
