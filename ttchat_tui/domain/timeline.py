"""The timeline of a reply: where its time went, from the request to the last text on the screen.

Engines time what happens in them, the session what happens in the app; `TimelineMeter` adds it up. All durations are in
seconds. Standard library and msgspec only.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Final, Literal, TypeAlias

import msgspec

MOST_CHUNKS: Final = 64
"""Chunks of prefill in a timeline; of a longer prompt, neighbours are joined."""

ColdWork: TypeAlias = Literal["", "compile", "trace"]
"""What a prefill or a step did once, beside its computing: it compiled programs, or recorded a trace of its commands."""


class StepParts(msgspec.Struct, frozen=True, array_like=True):
    """Where the time between a token and the one before it in its row went; of the first token, since the prompt was read. In
    this order, but for `loop_s`."""

    send_s: float = 0.0
    """After the token before: its event is made, encoded and written into the pipe to the app."""
    forward_s: float = 0.0
    """The model computes logits, or a card draws. Of a batch: for all rows. Not in the first token: prefill gave its
    logits."""
    sample_s: float = 0.0
    """The sampler draws, and looks up what is recorded of the distribution."""
    detokenise_s: float = 0.0
    loop_s: float = 0.0
    """The rest: the loop itself, and other rows of a batch that are sampled and sent. Before the first token: the KV cache is
    shared out to the rows."""
    work: ColdWork = ""
    """Of the forward."""

    @property
    def total_s(self) -> float:
        return sum(self.numbers)

    @property
    def numbers(self) -> tuple[float, float, float, float, float]:
        """The durations in the order of the fields."""
        return self.send_s, self.forward_s, self.sample_s, self.detokenise_s, self.loop_s

    @classmethod
    def of(cls, numbers: Iterable[float], work: ColdWork) -> StepParts:
        """The reverse of `numbers`."""
        send_s, forward_s, sample_s, detokenise_s, loop_s = numbers
        return cls(send_s, forward_s, sample_s, detokenise_s, loop_s, work)

    def plus(self, other: StepParts) -> StepParts:
        return StepParts(
            self.send_s + other.send_s,
            self.forward_s + other.forward_s,
            self.sample_s + other.sample_s,
            self.detokenise_s + other.detokenise_s,
            self.loop_s + other.loop_s,
            self.work or other.work,
        )

    def rounded(self) -> StepParts:
        """To microseconds, as it is stored."""
        return StepParts.of((round(each, 6) for each in self.numbers), self.work)


class PrefillChunk(msgspec.Struct, frozen=True, array_like=True):
    tokens: int
    """Prompt tokens that were computed; cached ones are in no chunk."""
    seconds: float
    work: ColdWork = ""

    def joined(self, following: PrefillChunk) -> PrefillChunk:
        return PrefillChunk(
            self.tokens + following.tokens, self.seconds + following.seconds, self.work or following.work
        )


class Lag(msgspec.Struct, frozen=True, array_like=True):
    """How late something was: percentiles over the tokens of a reply, and of the last text, which the whole waits for."""

    last_s: float
    p50_s: float | None = None
    p95_s: float | None = None


class Timeline(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Of one reply; a continued one has that of its last run. None: it was not measured, or did not happen.

    Together with `GenerationStats.ttft_s`, `first_step_s` and `total_s`, which it does not repeat, it gives the parts of
    `anatomy.parts_of`. Pauses by the user are in no part.
    """

    wait_s: float | None = None
    """From the request until the engine has it: a load, a reply before it, the way to the engine's process."""
    template_s: float | None = None
    tokenise_s: float | None = None
    started_s: float | None = None
    """When prefill began, since the engine received the request: template, tokenisation, and the choice of messages that
    fit."""
    is_first: bool = False
    """The first reply since the model was loaded: caches of the processor and of the system are cold."""
    chunks: tuple[PrefillChunk, ...] = ()
    first_token: StepParts | None = None
    first_step: StepParts | None = None
    """Of the second token."""
    steady: StepParts | None = None
    """Sums over all later tokens."""
    steady_steps: int = 0
    """Number of forwards in `steady`."""
    last_token_s: float | None = None
    """When the last token came, since the engine received the request."""
    sent_s: float | None = None
    """When the request to a server had been sent, since the engine received it, the last one if there were retries."""
    answered_s: float | None = None
    """When the first byte of the server's answer came."""
    pipe: Lag | None = None
    """From the token in the engine's process to the app's process: the way back, where tokens gather to be read together."""
    screen: Lag | None = None
    """From there until the screen has drawn it."""


NO_TIMELINE = Timeline()


class TimelineMeter:
    """Adds up the timeline of one row. All calls take constant time."""

    def __init__(self) -> None:
        self._known = NO_TIMELINE
        self._chunks: list[PrefillChunk] = []
        self._prefilled = 0
        self._at_s = 0.0
        """When the prefill began, or its latest chunk ended."""
        self._first_token: StepParts | None = None
        self._first_step: StepParts | None = None
        self._steady: StepParts | None = None
        self._steady_steps = 0
        self._last_token_s: float | None = None

    def note(self, **known: float | bool | None) -> None:
        """Set fields of the timeline that are measured once."""
        rounded = {name: _rounded(value) for name, value in known.items()}
        self._known = msgspec.structs.replace(self._known, **rounded)

    def started(self, cached_tokens: int, time_s: float | None) -> None:
        """Prefill begins."""
        self._chunks.clear()
        self._prefilled = cached_tokens
        self._at_s = time_s or 0.0
        self.note(started_s=time_s)

    def prefilled(self, done: int, time_s: float, work: ColdWork) -> None:
        """The KV cache holds `done` prompt tokens."""
        self._chunks.append(PrefillChunk(done - self._prefilled, time_s - self._at_s, work))
        self._prefilled, self._at_s = done, time_s
        if len(self._chunks) > MOST_CHUNKS:
            pairs = list(pairwise(self._chunks))[::2]
            self._chunks = [first.joined(second) for first, second in pairs] + self._chunks[-1:]

    def token(self, time_s: float, parts: StepParts | None, forwards: int, *, is_drafted: bool) -> None:
        """A token. `forwards`: how many gave tokens of this row, this one included, prefill among them."""
        self._last_token_s = time_s
        if forwards > 2 and not is_drafted:
            self._steady_steps += 1
        if parts is None:
            return
        if forwards <= 1 and not is_drafted:
            self._first_token = parts
        elif forwards == 2 and not is_drafted:
            self._first_step = parts
        else:
            self._steady = parts if self._steady is None else self._steady.plus(parts)

    def forget_tokens(self) -> None:
        """The only token was withdrawn."""
        self._first_token = self._last_token_s = None

    def timeline(self) -> Timeline:
        """So far."""
        first, step, steady = (
            None if each is None else each.rounded()
            for each in (self._first_token, self._first_step, self._steady)
        )
        return msgspec.structs.replace(
            self._known,
            chunks=tuple(
                msgspec.structs.replace(each, seconds=_rounded(each.seconds)) for each in self._chunks
            ),
            first_token=first,
            first_step=step,
            steady=steady,
            steady_steps=self._steady_steps,
            last_token_s=_rounded(self._last_token_s),
        )


class LagMeter:
    """Collects how late tokens were."""

    def __init__(self) -> None:
        self._lags_s: list[float] = []

    def add(self, lags_s: Sequence[float]) -> None:
        self._lags_s += lags_s

    def lag(self, last_s: float) -> Lag:
        """`last_s`: of the last text."""
        ascending = sorted(self._lags_s)
        p50, p95 = (percentile(ascending, share) for share in (0.50, 0.95))
        return Lag(round(last_s, 6), p50, p95)


def _rounded(value: float | None) -> float | None:
    """To microseconds, as it is stored."""
    return value if value is None or isinstance(value, bool) else round(value, 6)


def percentile(ascending: Sequence[float], share: float) -> float | None:
    """By nearest rank: the smallest measured value that at least `share` of all values do not exceed."""
    return ascending[math.ceil(share * len(ascending)) - 1] if ascending else None
