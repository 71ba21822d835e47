"""Timelines as files: Chrome trace JSON, which Perfetto (ui.perfetto.dev) and chrome://tracing open, and CSV.

Format: "Trace Event Format", Google, https://docs.google.com/document/d/1CvAClvFfyA5R-PhYUmn5OOQtYMH4h6I0nSsKchNAySU.
Complete events (`ph` X) with times in microseconds; each reply is a process, so that replies lie below each other.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final

import msgspec

from ttchat_tui import __version__
from ttchat_tui.domain.conversation import Conversation, Message
from ttchat_tui.domain.recording import Recording
from ttchat_tui.domain.slices import Slice, slices_of
from ttchat_tui.domain.text import one_line, visible

COLUMNS: Final = ("reply", "model", "kind", "name", "token", "start_ms", "duration_ms", "text", "note")
_NO_RECORDING: Final = Recording()
_NONE: Final[Mapping[int, Recording]] = MappingProxyType({})
_TITLE: Final = 60
"""Characters of a reply in the name of its process."""


def chrome_trace(
    conversation: Conversation, messages: Sequence[Message], recordings: Mapping[int, Recording] = _NONE
) -> str:
    """`recordings`: by message. Replies without a timeline are left out."""
    about = {"app": f"ttchat-tui {__version__}", "conversation": visible(conversation.title)}
    events = [event for found in _replies(messages, recordings) for event in _events(*found)]
    lines = ",\n".join(msgspec.json.encode(event).decode() for event in events)
    head = f'{{"displayTimeUnit":"ms","otherData":{msgspec.json.encode(about).decode()},"traceEvents":['
    return f"{head}\n{lines}\n]}}\n"


def timeline_csv(
    conversation: Conversation, messages: Sequence[Message], recordings: Mapping[int, Recording] = _NONE
) -> str:
    """A line for each slice, with `COLUMNS`. Times are since the request of each reply."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for message, _, slices in _replies(messages, recordings):
        model = visible(message.reply.model) if message.reply else ""
        for each in slices:
            token = "" if each.token is None else each.token
            times = (f"{each.start_s * 1000:.3f}", f"{each.seconds * 1000:.3f}")
            writer.writerow((message.id, model, each.kind, each.name, token, *times, each.text, each.note))
    return text.getvalue()


def _replies(
    messages: Sequence[Message], recordings: Mapping[int, Recording]
) -> Iterator[tuple[Message, float, list[Slice]]]:
    """Each reply with the time of its request in seconds since that of the first one, and its slices."""
    begun_s: float | None = None
    for message in messages:
        stats = message.reply.stats if message.reply else None
        slices = list(slices_of(stats, recordings.get(message.id, _NO_RECORDING))) if stats else []
        if slices:
            begun_s = message.created_at if begun_s is None else begun_s
            yield message, max(0.0, message.created_at - begun_s), slices


def _events(message: Message, begun_s: float, slices: Sequence[Slice]) -> Iterator[dict[str, Any]]:
    place = {"pid": message.id, "tid": 1}
    words = one_line(message.content[:_TITLE])
    model = visible(message.reply.model) if message.reply else ""
    yield {
        "name": "process_name",
        "ph": "M",
        **place,
        "args": {"name": f"reply {message.id} · {model} · {words}"},
    }
    yield {"name": "process_sort_index", "ph": "M", **place, "args": {"sort_index": message.id}}
    yield {"name": "thread_name", "ph": "M", **place, "args": {"name": "timeline"}}
    for each in slices:
        known = {"token": each.token, "text": each.text, "note": each.note}
        yield {
            "name": each.name,
            "cat": each.kind,
            "ph": "X",
            "ts": round((begun_s + each.start_s) * 1e6, 3),
            "dur": round(each.seconds * 1e6, 3),
            **place,
            "args": {name: value for name, value in known.items() if value not in (None, "")},
        }
