"""Words that transcripts for people share: headings, times and figures."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Final

from ttchat_tui.domain.conversation import Message

HEADINGS: Final = {"system": "System", "user": "You", "assistant": "Assistant"}

_STATUS_WORDS: Final = {"streaming": "still being written", "interrupted": "interrupted", "error": "failed"}


def heading_of(message: Message) -> str:
    """`You`, or the model's name."""
    return (message.reply.model if message.reply is not None else "") or HEADINGS[message.role]


def local_time(unix_s: float) -> str:
    """`2026-11-29 14:02`, in the time zone of this machine; empty if unknown."""
    return datetime.fromtimestamp(unix_s).strftime("%Y-%m-%d %H:%M") if unix_s > 0 else ""


def figures_of(message: Message) -> Iterator[str]:
    """What made a reply, how fast it was, and how it ended."""
    reply = message.reply
    if reply is None:
        return
    yield from filter(None, (without_line_breaks(reply.model), without_line_breaks(reply.engine)))
    stats = reply.stats
    if stats is not None:
        of_whole = f" new of {reply.tokens:,}" if reply.tokens > stats.completion_tokens else ""
        yield f"{stats.completion_tokens:,}{of_whole} tok"
        if stats.ttft_s is not None:
            yield f"TTFT {stats.ttft_s:.2f} s"
        if stats.decode_tps is not None:
            yield f"{stats.decode_tps:.1f} tok/s"
    if reply.seed is not None:
        yield f"seed {reply.seed}"
    if message.status in _STATUS_WORDS:
        yield _STATUS_WORDS[message.status]
    if reply.error:
        yield without_line_breaks(reply.error)


def without_line_breaks(text: str) -> str:
    return " ".join(text.split())
