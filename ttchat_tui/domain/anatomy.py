"""The parts of a reply and of one decode step, from its figures. The parts of a reply follow each other and add up to the
whole; `other` is what no part explains."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Literal, NamedTuple, TypeAlias

from ttchat_tui.domain.generation import GenerationStats
from ttchat_tui.domain.meter import Meter
from ttchat_tui.domain.recording import NOT_RECORDED, RecordedToken, Recording
from ttchat_tui.domain.timeline import NO_TIMELINE, StepParts, Timeline

PartName: TypeAlias = Literal[
    "wait",
    "template",
    "tokenise",
    "prepare",
    "request",
    "first byte",
    "prefill",
    "compile",
    "first token",
    "first step",
    "decode",
    "sampling",
    "detokenise",
    "send",
    "loop",
    "stream",
    "end",
    "pipe",
    "screen",
    "other",
]

MEANINGS: Final[dict[PartName, str]] = {
    "wait": "for the engine: a load, a reply before it",
    "template": "the chat template",
    "tokenise": "text to token ids",
    "prepare": "the rest of the prompt's preparation",
    "request": "until the request is sent to the server",
    "first byte": "until the server answers",
    "prefill": "the model reads the prompt",
    "compile": "prefill that compiles programs or records a trace",
    "first token": "from the prompt's end to the first token",
    "first step": "the second token, apart: it may compile or fill caches",
    "decode": "the model's forwards",
    "sampling": "the sampler draws",
    "detokenise": "token ids to text",
    "send": "each token into the pipe to the app",
    "loop": "the decode loop itself, and other rows of a batch",
    "stream": "tokens as the network brings them",
    "end": "after the last token",
    "pipe": "the end arrives in the app",
    "screen": "the end is drawn",
    "other": "not explained",
}


class TimelinePart(NamedTuple):
    name: PartName
    seconds: float


def parts_of(stats: GenerationStats) -> list[TimelinePart]:
    """In order, without those that were not measured or did not happen. Empty without a timeline."""
    timeline = stats.timeline
    if timeline is None:
        return []
    found: list[tuple[PartName, float | None]] = [
        ("wait", timeline.wait_s),
        *_until_the_first_token(stats, timeline),
        ("first step", stats.first_step_s if stats.chunks is None else None),
        *_of_decoding(stats, timeline),
        ("end", _difference(stats.total_s, timeline.last_token_s)),
        ("pipe", timeline.pipe and timeline.pipe.last_s),
        ("screen", timeline.screen and timeline.screen.last_s),
    ]
    parts = [TimelinePart(name, seconds) for name, seconds in found if seconds]
    whole = whole_s(stats)
    rest = whole - sum(part.seconds for part in parts) if whole is not None else 0.0
    return [*parts, TimelinePart("other", rest)] if rest > 1e-6 else parts


def whole_s(stats: GenerationStats) -> float | None:
    """From the request until the end is on the screen, as far as that was measured; without pauses. None: the reply has no
    end."""
    timeline = stats.timeline or NO_TIMELINE
    if stats.total_s is None:
        return None
    lags = (timeline.pipe, timeline.screen)
    return (timeline.wait_s or 0.0) + stats.total_s + sum(lag.last_s for lag in lags if lag is not None)


def step_parts_of(stats: GenerationStats) -> list[TimelinePart]:
    """Of the mean decode step after the first two tokens. A step is a forward; with speculation it may give several tokens."""
    timeline = stats.timeline
    if timeline is None or timeline.steady is None or not timeline.steady_steps:
        return []
    return [
        TimelinePart(name, seconds / timeline.steady_steps)
        for name, seconds in _named(timeline.steady)
        if seconds
    ]


def latencies_of(stats: GenerationStats, recording: Recording) -> Sequence[float]:
    """The inter-token latencies of a reply's last run in ascending order, as `Meter` defines them; in seconds."""
    meter = Meter()
    for token in last_run(stats, recording):
        meter.token(token.time_s, is_drafted=token.is_drafted)
    return meter.latencies_s


def last_run(stats: GenerationStats, recording: Recording) -> Sequence[RecordedToken]:
    """The tokens that `stats` is of: those since the reply was last continued or forked. Each run has a clock of its own, and a
    server's count of tokens may exceed that of its chunks, so times that go back end the run too."""
    tokens = recording.written
    first = max(0, len(tokens) - stats.completion_tokens) if stats.completion_tokens else 0
    at = len(tokens)
    while at > first and tokens[at - 1].token_id != NOT_RECORDED:
        if at < len(tokens) and tokens[at - 1].time_s > tokens[at].time_s:
            break
        at -= 1
    return tokens[at:]


def is_cold(timeline: Timeline) -> bool:
    """It has times of things that happen once: the first reply after a load, a compilation, the recording of a trace."""
    works = (*(chunk.work for chunk in timeline.chunks), timeline.first_step and timeline.first_step.work)
    return timeline.is_first or any(works)


def _until_the_first_token(stats: GenerationStats, timeline: Timeline) -> list[tuple[PartName, float | None]]:
    known_s = (timeline.template_s or 0.0) + (timeline.tokenise_s or 0.0)
    read_s = sum(chunk.seconds for chunk in timeline.chunks)
    begun_s = timeline.answered_s if timeline.started_s is None else timeline.started_s + read_s
    unfinished_s = _difference(stats.total_s, begun_s) if stats.ttft_s is None else None
    return [
        ("template", timeline.template_s),
        ("tokenise", timeline.tokenise_s),
        ("prepare", _difference(timeline.started_s, known_s)),
        ("request", timeline.sent_s),
        ("first byte", _difference(timeline.answered_s, timeline.sent_s)),
        (
            "prefill",
            sum(chunk.seconds for chunk in timeline.chunks if not chunk.work) + (unfinished_s or 0.0),
        ),
        ("compile", sum(chunk.seconds for chunk in timeline.chunks if chunk.work)),
        ("first token", _difference(stats.ttft_s, begun_s)),
    ]


def _of_decoding(stats: GenerationStats, timeline: Timeline) -> list[tuple[PartName, float | None]]:
    """After the first step."""
    if timeline.steady is not None:
        return _named(timeline.steady)
    if stats.chunks is not None:
        return [("stream", _difference(timeline.last_token_s, stats.ttft_s))]
    begun_s = None if stats.ttft_s is None else stats.ttft_s + (stats.first_step_s or 0.0)
    return [("decode", _difference(timeline.last_token_s, begun_s))]


def _named(step: StepParts) -> list[tuple[PartName, float | None]]:
    return [
        ("decode", step.forward_s),
        ("sampling", step.sample_s),
        ("detokenise", step.detokenise_s),
        ("send", step.send_s),
        ("loop", step.loop_s),
    ]


def _difference(later_s: float | None, earlier_s: float | None) -> float | None:
    return None if later_s is None or earlier_s is None else max(0.0, later_s - earlier_s)
