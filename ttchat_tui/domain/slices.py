"""The timeline of a reply as slices of time, one inside the other: the reply, its phases and tokens, the parts of a token."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

from ttchat_tui.domain.anatomy import MEANINGS, TimelinePart, last_run, parts_of, whole_s
from ttchat_tui.domain.generation import GenerationStats
from ttchat_tui.domain.recording import RecordedToken, Recording
from ttchat_tui.domain.text import visible
from ttchat_tui.domain.timeline import Timeline

REPLY, PHASE, PART = "reply", "phase", "part"
"""What a slice is. A part lies in a phase, a phase in the reply."""

_BEFORE: Final = ("wait", "template", "tokenise", "prepare", "request", "first byte")
_AFTER: Final = ("end", "pipe", "screen")
_FORWARDS: Final = ("first step", "decode", "stream", "sampling", "detokenise", "send", "loop")


class Slice(NamedTuple):
    kind: str
    name: str
    start_s: float
    """Since the request. Pauses by the user are slices too, so that the time is that of a clock on the wall."""
    seconds: float
    token: int | None = None
    """Number of the token in the reply, from 0."""
    text: str = ""
    """Of the token, with nothing that a terminal would obey."""
    note: str = ""


class _Facts(NamedTuple):
    stats: GenerationStats
    timeline: Timeline
    parts: dict[str, TimelinePart]
    recording: Recording


def slices_of(stats: GenerationStats, recording: Recording) -> Iterator[Slice]:
    """In order of their start; none without a timeline. Without a recorded token, decoding is one slice."""
    if stats.timeline is None:
        return
    facts = _Facts(stats, stats.timeline, {part.name: part for part in parts_of(stats)}, recording)
    whole = whole_s(stats) or sum(part.seconds for part in facts.parts.values())
    yield Slice(REPLY, "reply", 0.0, whole + stats.paused_s)
    at_s = 0.0
    for section in (_before, _reading, _decoding, _after):
        for found in section(facts, at_s):
            yield found
            at_s = max(at_s, found.start_s + found.seconds)


def _before(facts: _Facts, at_s: float) -> Iterator[Slice]:
    return _following(facts, _BEFORE, at_s)


def _after(facts: _Facts, at_s: float) -> Iterator[Slice]:
    return _following(facts, _AFTER, at_s)


def _following(facts: _Facts, names: Sequence[str], at_s: float) -> Iterator[Slice]:
    for part in (facts.parts[name] for name in names if name in facts.parts):
        yield Slice(PHASE, part.name, at_s, part.seconds, note=MEANINGS[part.name])
        at_s += part.seconds


def _reading(facts: _Facts, at_s: float) -> Iterator[Slice]:
    """Prefill by chunk."""
    stats = facts.stats
    unread_s = sum(facts.parts[name].seconds for name in ("prefill", "compile") if name in facts.parts)
    for chunk in facts.timeline.chunks:
        cached = f"{stats.cached_tokens} of {stats.prompt_tokens} prompt tokens cached"
        note = f"{chunk.tokens} tokens; {cached}" + (f"; {chunk.work}" if chunk.work else "")
        yield Slice(PHASE, "prefill", at_s, chunk.seconds, note=note)
        at_s += chunk.seconds
        unread_s -= chunk.seconds
    if stats.ttft_s is None and unread_s > 0.0:
        yield Slice(PHASE, "prefill", at_s, unread_s, note="not complete")


def _decoding(facts: _Facts, at_s: float) -> Iterator[Slice]:
    tokens = last_run(facts.stats, facts.recording)
    if not tokens:
        yield from _without_tokens(facts.stats, facts.parts, at_s)
        return
    first = facts.recording.first + len(facts.recording.written) - len(tokens)
    wait_s, paused_s = facts.timeline.wait_s or 0.0, 0.0
    pauses = defaultdict[int, float](float)
    for pause in facts.recording.pauses:
        pauses[pause.at] += pause.seconds
    for number, token in enumerate(tokens, start=first):
        if seconds := pauses[number]:
            yield Slice(PHASE, "pause", at_s, seconds)
            paused_s += seconds
            at_s += seconds
        end_s = max(at_s, wait_s + token.time_s + paused_s)
        text = visible(facts.recording.piece_of(token.token_id).decode("utf-8", "replace"))
        note = "drafted" if token.is_drafted else ""
        yield Slice(PHASE, f"token {number}", at_s, end_s - at_s, number, text, note)
        yield from _parts(token, number, at_s, end_s)
        at_s = end_s
    if seconds := pauses[first + len(tokens)]:
        yield Slice(PHASE, "pause", at_s, seconds)


def _parts(token: RecordedToken, number: int, begun_s: float, end_s: float) -> Iterator[Slice]:
    """Sent and computed at its beginning, sampled and decoded at its end; what lies between is the loop."""
    spent = token.spent
    if spent is None:
        return
    forward_s = begun_s + spent.send_s
    sample_s = end_s - spent.detokenise_s - spent.sample_s
    for name, start_s, seconds, note in (
        ("send", begun_s, spent.send_s, "the token before"),
        ("decode", forward_s, spent.forward_s, spent.work),
        ("sampling", sample_s, spent.sample_s, ""),
        ("detokenise", end_s - spent.detokenise_s, spent.detokenise_s, ""),
    ):
        # The end of a part that was rounded up must not be outside of its token.
        seconds = min(seconds, end_s - start_s)
        if seconds > 0.0:
            yield Slice(PART, name, start_s, seconds, number, note=note)


def _without_tokens(stats: GenerationStats, parts: dict[str, TimelinePart], at_s: float) -> Iterator[Slice]:
    for name in ("first token", "first step"):
        if name in parts:
            yield Slice(PHASE, name, at_s, parts[name].seconds)
            at_s += parts[name].seconds
    decoding_s = sum(parts[name].seconds for name in _FORWARDS[1:] if name in parts)
    if decoding_s:
        note = f"{stats.completion_tokens} tokens"
        yield Slice(PHASE, "decode", at_s, decoding_s + stats.paused_s, note=note)
