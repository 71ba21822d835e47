"""Timelines as files: Chrome trace JSON by its specification, and CSV."""

from __future__ import annotations

import csv
import io
from itertools import accumulate
from typing import Any, Literal

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.size import sized
from ttchat_tui.domain.conversation import Conversation, Message, ReplyRecord
from ttchat_tui.domain.generation import GenerationStats
from ttchat_tui.domain.recording import Pause, RecordedToken, Recording
from ttchat_tui.domain.timeline import Lag, PrefillChunk, StepParts, Timeline
from ttchat_tui.storage.export_timeline import COLUMNS, chrome_trace, timeline_csv

WAIT_S, STARTED_S, READ_S = 1.5, 0.25, 0.5
CONVERSATION = Conversation(id=1, title="Clocks\x1b[31m", created_at=0.0, updated_at=0.0)


# The schema, from "Trace Event Format", Google:
# https://docs.google.com/document/d/1CvAClvFfyA5R-PhYUmn5OOQtYMH4h6I0nSsKchNAySU (sections "JSON Object Format",
# "Complete Events", "Metadata Events").


class CompleteEvent(msgspec.Struct, tag_field="ph", tag="X", forbid_unknown_fields=True):
    name: str
    cat: str
    ts: float
    """Microseconds."""
    dur: float
    pid: int
    tid: int
    args: dict[str, Any]


class MetadataEvent(msgspec.Struct, tag_field="ph", tag="M", forbid_unknown_fields=True):
    name: Literal["process_name", "process_labels", "process_sort_index", "thread_name", "thread_sort_index"]
    pid: int
    tid: int
    args: dict[Literal["name", "labels", "sort_index"], str | int]


class JsonObjectFormat(msgspec.Struct, forbid_unknown_fields=True, rename="camel"):
    trace_events: list[CompleteEvent | MetadataEvent]
    display_time_unit: Literal["ms", "ns"]
    other_data: dict[str, str]


def reply(
    steps: list[StepParts], *, message_id: int = 7, pauses: tuple[Pause, ...] = ()
) -> tuple[Message, Recording]:
    """With a token for each step, one after the other."""
    first_s = STARTED_S + READ_S
    times_s = [first_s + each for each in accumulate(step.total_s for step in steps)]
    total_s = (times_s[-1] if times_s else first_s) + 0.125
    stats = GenerationStats(
        prompt_tokens=12,
        cached_tokens=4,
        completion_tokens=len(steps),
        ttft_s=times_s[0] if times_s else None,
        first_step_s=steps[1].total_s if len(steps) > 1 else None,
        total_s=total_s,
        paused_s=sum(each.seconds for each in pauses),
        timeline=Timeline(
            wait_s=WAIT_S,
            template_s=0.125,
            tokenise_s=0.0625,
            started_s=STARTED_S,
            chunks=(PrefillChunk(8, READ_S, "compile"),),
            first_token=steps[0] if steps else None,
            last_token_s=times_s[-1] if times_s else None,
            pipe=Lag(0.03125),
            screen=Lag(0.0625),
        ),
    )
    message = Message(
        id=message_id,
        conversation_id=1,
        parent_id=1,
        role="assistant",
        content="=1+1 \x1b]0;owned\x07",
        created_at=100.0,
        reply=ReplyRecord(model="small", engine="cpu", stats=stats),
    )
    tokens = [RecordedToken(1, time_s, spent=step) for time_s, step in zip(times_s, steps, strict=True)]
    return message, Recording(tokens=tokens, pieces={1: b" a\x1b[2J\n"}, pauses=pauses)


SECONDS = st.floats(0.0, 2.0)
STEPS = st.lists(
    st.builds(StepParts, SECONDS, SECONDS, SECONDS, SECONDS, SECONDS, st.sampled_from(("", "trace"))),
    max_size=6,
)


@settings(max_examples=sized(20, 2000), deadline=None)
@given(STEPS, st.lists(st.builds(Pause, st.integers(0, 5), st.floats(0.1, 60.0)), max_size=3))
def test_a_trace_follows_the_specification_and_slices_lie_inside_each_other(
    steps: list[StepParts], pauses: list[Pause]
) -> None:
    inside = tuple(each for each in sorted(pauses, key=lambda each: each.at) if each.at < len(steps))
    message, recording = reply(steps, pauses=inside)
    text = chrome_trace(CONVERSATION, [message], {message.id: recording})
    document = msgspec.json.decode(text, type=JsonObjectFormat)
    events = [each for each in document.trace_events if isinstance(each, CompleteEvent)]
    assert "\x1b" not in text
    assert {each.pid for each in document.trace_events} == {message.id}
    open_until: list[float] = []
    for event in events:
        while open_until and event.ts >= open_until[-1] - 0.01:
            open_until.pop()
        assert event.dur >= 0.0
        assert all(event.ts + event.dur <= end + 0.01 for end in open_until), event
        open_until.append(event.ts + event.dur)
    whole, *others = events
    assert whole.dur == pytest.approx(max((each.ts + each.dur for each in others), default=0.0), rel=1e-6)
    phases = sum(each.dur for each in events if each.cat == "phase")
    assert phases == pytest.approx(whole.dur, rel=0.02)


def test_replies_without_a_timeline_and_questions_are_left_out() -> None:
    message, recording = reply([])
    question = msgspec.structs.replace(message, id=6, role="user", reply=None)
    record = ReplyRecord(model="old", engine="cpu", stats=GenerationStats(total_s=2.0))
    old = msgspec.structs.replace(message, id=8, reply=record)
    trace = msgspec.json.decode(
        chrome_trace(CONVERSATION, [question, message, old], {message.id: recording}), type=JsonObjectFormat
    )
    assert {each.pid for each in trace.trace_events} == {message.id}
    assert (
        msgspec.json.decode(chrome_trace(CONVERSATION, [question]), type=JsonObjectFormat).trace_events == []
    )


def test_the_csv_has_a_line_for_each_slice_and_nothing_that_a_terminal_obeys() -> None:
    message, recording = reply([StepParts(sample_s=0.25), StepParts(0.125, 0.25, 0.25, 0.125)])
    text = timeline_csv(CONVERSATION, [message], {message.id: recording})
    rows = list(csv.DictReader(io.StringIO(text)))
    assert "\x1b" not in text
    assert list(rows[0]) == list(COLUMNS)
    found = {row["name"]: (float(row["start_ms"]), float(row["duration_ms"])) for row in rows}
    assert found["wait"] == (0.0, 1500.0)
    assert found["prefill"] == (1750.0, 500.0)
    assert found["token 1"] == (2500.0, 750.0)
    assert found["end"] == (3250.0, 125.0)
    assert found["screen"] == (3406.25, 62.5)
    assert [row["token"] for row in rows if row["name"].startswith("token ")] == ["0", "1"]


def test_without_a_recording_decoding_is_one_slice() -> None:
    message, _ = reply([StepParts(forward_s=0.25)] * 5)
    rows = list(csv.DictReader(io.StringIO(timeline_csv(CONVERSATION, [message]))))
    assert [row["name"] for row in rows][-6:] == [
        "first token",
        "first step",
        "decode",
        "end",
        "pipe",
        "screen",
    ]
    starts = {row["name"]: float(row["start_ms"]) + float(row["duration_ms"]) for row in rows}
    assert starts["reply"] == pytest.approx(starts["screen"])
