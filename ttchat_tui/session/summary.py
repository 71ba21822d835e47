"""The request for a summary: what falls out, in parts that fit into the context, and what the model is asked."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import msgspec

from ttchat_tui.domain.chat import ChatMessage
from ttchat_tui.domain.ledger import RowKind
from ttchat_tui.domain.sampling import SamplingParams
from ttchat_tui.session.outgoing import Outgoing, OutgoingPart

_LONGEST: Final = 1024
"""Tokens of a summary, the thoughts of a reasoning model included; a quarter of a small context."""
_CHARACTERS_A_TOKEN: Final = 3
"""Where the engine has not counted: fewer than English text has (about four), so that a part fits."""
_UNKNOWN_CONTEXT: Final = 4096
_TEMPERATURE: Final = 0.3

_TASK: Final = (
    "Summarise the conversation below so that it can be continued from the summary alone. Keep names, numbers, facts, "
    "decisions and open questions, and code that still matters. Write in the language of the conversation, without an "
    "introduction, at most 200 words."
)
_BEFORE: Final = "A summary of what was said before:"
_AFTER: Final = "The conversation:"


class Summary(msgspec.Struct, frozen=True):
    message_id: int
    """The last message that it stands for."""
    text: str
    messages: int
    """How many messages it stands for."""
    tokens: int | None = None
    """What is sent in its place without it; None: not counted."""
    is_cut: bool = False
    """The model reached its limit of tokens."""


def parts_of(
    prompt: Outgoing, covered: int, context_length: int, tokens: Mapping[tuple[RowKind, int], int]
) -> list[str]:
    """What is to be summarised up to the turn of the message `covered`: an earlier summary and all that is sent but kept
    turns, in parts of at most half a context. `tokens`: of what is sent, by kind and message, as far as it was counted."""
    most = max((context_length or _UNKNOWN_CONTEXT) // 2, 1)
    parts: list[str] = []
    room = 0
    for part in covered_parts(prompt, covered):
        text = _said(part)
        size = tokens.get((part.kind, part.message_id)) or len(text) // _CHARACTERS_A_TOKEN + 1
        pieces = -(-size // most)
        length = -(-len(text) // pieces)
        for start in range(0, len(text), length):
            piece = text[start : start + length]
            if parts and room >= size / pieces:
                parts[-1] += f"\n\n{piece}"
            else:
                parts.append(piece)
                room = most
            room -= size / pieces
    return parts or [""]


def asked_of(
    part: str, before: str, sampling: SamplingParams, context_length: int
) -> tuple[tuple[ChatMessage, ...], SamplingParams]:
    """The messages and parameters of the request. `before`: the summary of earlier parts."""
    earlier = f"{_BEFORE}\n{before}\n\n" if before else ""
    task = f"{_TASK}\n\n{earlier}{_AFTER}\n\n{part}"
    longest = min(_LONGEST, (context_length or _UNKNOWN_CONTEXT) // 4)
    chosen = msgspec.structs.replace(
        sampling, temperature=_TEMPERATURE, max_tokens=longest, stop=(), seed=None
    )
    return (ChatMessage("user", task),), chosen


def covered_parts(prompt: Outgoing, covered: int) -> list[OutgoingPart]:
    """What is sent now and would be summarised up to the turn of the message `covered`."""
    found: list[OutgoingPart] = []
    turns: list[list[OutgoingPart]] = []
    for part in (part for parts in prompt.parts for part in parts):
        if part.kind == "summary":
            found.append(part)
        elif part.kind == "message":
            if part.role == "user" or not turns:
                turns.append([])
            turns[-1].append(part)
    for turn in turns:  # ids grow along a path, and the message itself may be one that is not sent
        if turn[0].message_id <= covered and not any(part.is_kept for part in turn):
            found += turn
    return found


def _said(part: OutgoingPart) -> str:
    who = {"user": "User: ", "assistant": "Assistant: "}.get(part.role, "")
    return f"{who}{part.content}"
