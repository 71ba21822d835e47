"""The message type of a prompt, and which of its messages may fall out."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Literal, TypeAlias

import msgspec

Role: TypeAlias = Literal["system", "user", "assistant"]


class ChatMessage(msgspec.Struct, frozen=True, omit_defaults=True):
    """One message of a prompt, in the form that chat templates take."""

    role: Role
    content: str
    reasoning_content: str = ""
    """The thoughts of an earlier reply, which are not in its content. `SamplingParams.keep_thoughts` decides about them."""
    token_ids: tuple[int, ...] = ()
    """Of a reply: as a model wrote it, with its thoughts; empty: not known. A prompt has these ids where they stand for its text."""


def loose_turns(messages: Sequence[ChatMessage], keep: Collection[int]) -> list[range]:
    """The positions of each turn that may be dropped, in the order in which they are. The system prompt, turns with a message
    of `keep`, and everything from the last user message on stay."""
    head = 1 if messages and messages[0].role == "system" else 0
    users = [index for index, message in enumerate(messages) if index > head and message.role == "user"]
    turns = [range(start, end) for start, end in zip([head, *users], users, strict=False)]
    return [turn for turn in turns if not any(position in turn for position in keep)]
