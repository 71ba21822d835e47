"""The figures of a reply or a batch, from the times of its tokens. Engines and the session use it.

It has no clock of its own: all times are arguments, in seconds since the engine received the request. The fields of
`GenerationStats` define the figures.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Sequence
from itertools import chain
from typing import Final

from ttchat_tui.domain.events import (
    GenerationEvent,
    GenerationFinished,
    GenerationStarted,
    PrefillProgress,
    RequestAdapted,
    Retrying,
    RowFinished,
    StepScores,
    TokenEvent,
)
from ttchat_tui.domain.generation import GenerationStats
from ttchat_tui.domain.timeline import NO_TIMELINE, StepParts, TimelineMeter, percentile

HONEST_S: Final = 0.1
"""The shortest time for a rate. Five chunks that a network delivered together measured 83,167 tok/s."""
HONEST_FORWARDS: Final = 2
"""The smallest number of steady decode steps for a mean rate."""


class Meter:
    """Measures one reply, through the four calls or through `observe`. `stats` and `now_tps` work at any time.

    A token takes O(log n) comparisons and `stats` constant time, so both may be called at any rate.
    """

    def __init__(self) -> None:
        self._prompt_tokens = 0
        self._cached_tokens = 0
        self._context_length = 0
        self._dropped_messages = 0
        self._is_chunked = False
        self._prefill_began_s: float | None = None
        self._prefill_s: float | None = None
        self._times_s: list[float] = []
        """Of the tokens of all rows, in ascending order."""
        self._arrivals: list[int] = []
        """Indices into `_times_s` of each forward's first token: all but the drafted ones."""
        self._rows: dict[int, _RowTimes] = {}
        self._second_s: float | None = None
        """The earliest second arrival of any row: the beginning of steady decoding."""
        self._steady_tokens = 0
        """Tokens of all rows from the third arrival on."""
        self._latencies_s: list[float] = []
        """Between arrivals of a row, without the first step, in ascending order: a percentile is a look-up."""
        self._total_s: float | None = None
        self._final: GenerationStats | None = None
        self.timeline = TimelineMeter()
        """Of row 0."""

    @classmethod
    def of_batch(cls, rows: Sequence[Meter]) -> Meter:
        """The figures of a batch, from the meters of its rows. Each of those has the whole prompt and one row's tokens.

        For the end of a batch: it takes O(n log n) of all tokens.
        """
        batch, first = cls(), rows[0]
        batch._prompt_tokens = first._prompt_tokens
        batch._cached_tokens = first._cached_tokens
        batch._context_length = first._context_length
        batch._dropped_messages = first._dropped_messages
        batch._prefill_s = first._prefill_s
        batch._times_s = sorted(chain.from_iterable(row._times_s for row in rows))
        batch._second_s = min((row._second_s for row in rows if row._second_s is not None), default=None)
        batch._steady_tokens = sum(row._steady_tokens for row in rows)
        batch._rows = {number: row._rows[0] for number, row in enumerate(rows) if row._rows}
        batch._latencies_s = sorted(chain.from_iterable(row._latencies_s for row in rows))
        return batch

    def started(
        self,
        *,
        prompt_tokens: int,
        cached_tokens: int,
        context_length: int,
        dropped_messages: int = 0,
        time_s: float | None = None,
    ) -> None:
        """The prompt is built, and prefill begins at `time_s`."""
        self._prompt_tokens = prompt_tokens
        self._cached_tokens = cached_tokens
        self._context_length = context_length
        self._dropped_messages = dropped_messages
        self._prefill_began_s = time_s
        self.timeline.started(cached_tokens, time_s)

    def prefilled(self, time_s: float) -> None:
        """The prompt is in the KV cache and the first logits are computed."""
        if self._prefill_began_s is not None:
            self._prefill_s = time_s - self._prefill_began_s

    def token(
        self, time_s: float, row: int = 0, *, is_drafted: bool = False, parts: StepParts | None = None
    ) -> None:
        """One more token of a row. The times of a row must not decrease; rows may come one after the other. `is_drafted`:
        speculation drafted it, so it came from the same forward as the row's last token. `parts`: where its time went."""
        state = self._rows.setdefault(row, _RowTimes())
        if not is_drafted:
            if state.arrivals >= 2:
                insort(self._latencies_s, time_s - state.last_s)
            elif state.arrivals == 1:
                self._second_s = time_s if self._second_s is None else min(self._second_s, time_s)
            state.arrivals += 1
            state.last_s = time_s
            self._arrivals.append(len(self._times_s))
        if state.arrivals > 2:
            self._steady_tokens += 1
        state.tokens += 1
        if not self._times_s or time_s >= self._times_s[-1]:
            self._times_s.append(time_s)
        else:  # of another row
            insort(self._times_s, time_s)
        if row == 0:
            self.timeline.token(time_s, parts, state.arrivals, is_drafted=is_drafted)

    def withdraw(self, row: int = 0) -> None:
        """The row's last token, which was the last of all, is no longer part of the reply. Latencies keep its step."""
        self._times_s.pop()
        if self._arrivals and self._arrivals[-1] == len(self._times_s):
            self._arrivals.pop()
        self._rows[row].tokens -= 1
        if row == 0 and not self._rows[row].tokens:
            self.timeline.forget_tokens()

    def paused(self, seconds: float, row: int = 0) -> None:
        """The user paused a row for this long. No time of a token includes it."""
        if seconds:
            self._rows.setdefault(row, _RowTimes()).paused_s += seconds

    def finished(self, time_s: float) -> None:
        """The reply has ended."""
        self._total_s = time_s

    def observe(self, event: GenerationEvent) -> None:
        """Measure an event. After `GenerationFinished` `stats` are the engine's own; if it died and has none, those that were
        measured so far."""
        match event:
            case GenerationStarted():
                self.started(
                    prompt_tokens=event.prompt_tokens,
                    cached_tokens=event.cached_tokens,
                    context_length=event.context_length,
                    dropped_messages=event.dropped_messages,
                    time_s=event.time_s,
                )
                self._is_chunked = event.is_chunked
                self.timeline.note(
                    template_s=event.template_s, tokenise_s=event.tokenise_s, is_first=event.is_first
                )
            case PrefillProgress():
                if event.time_s is not None:
                    self.timeline.prefilled(event.done, event.time_s, event.work)
                if event.done >= event.total and event.time_s is not None:
                    self.prefilled(event.time_s)
            case TokenEvent() if event.replaces is not None:
                if not event.times_s:
                    self.withdraw(event.row)
            case TokenEvent():
                self.paused(sum(each.seconds for each in event.pauses), event.row)
                for index, time_s in enumerate(event.times_s):
                    is_drafted = bool(event.drafted) and event.drafted[index]
                    parts = event.spent[index] if event.spent else None
                    self.token(time_s, event.row, is_drafted=is_drafted, parts=parts)
            case Retrying() | RequestAdapted():
                pass  # TTFT includes the time of retries
            case StepScores():
                pass  # it comes beside its token
            case RowFinished():
                pass  # included in the batch's figures
            case GenerationFinished():
                self._final = event.stats if event.stats != GenerationStats() else None

    @property
    def completion_tokens(self) -> int:
        """Tokens of the reply so far; of a batch, those of all rows."""
        return len(self._times_s)

    @property
    def context_used(self) -> int:
        """Tokens of prompt and reply so far; of a batch, those of its longest row."""
        longest = 0
        for row in self._rows.values():  # no generator: each token of a reply asks
            longest = max(longest, row.tokens)
        return self._prompt_tokens + longest

    def stats(self) -> GenerationStats:
        """The figures so far. For a reply in chunks they are estimates until the end."""
        if self._final is not None:
            return self._final
        times, second_s = self._times_s, self._second_s
        timeline = self.timeline.timeline()
        return GenerationStats(
            prompt_tokens=self._prompt_tokens,
            cached_tokens=self._cached_tokens,
            completion_tokens=len(times),
            context_length=self._context_length,
            ttft_s=times[0] if times else None,
            prefill_s=self._prefill_s,
            prefill_tps=_rate(self._prompt_tokens - self._cached_tokens, self._prefill_s),
            decode_tps=None
            if second_s is None or len(self._latencies_s) < HONEST_FORWARDS
            else _rate(self._steady_tokens, times[-1] - second_s, HONEST_S),
            first_step_s=None if second_s is None else second_s - times[0],
            itl_p50_s=percentile(self._latencies_s, 0.50),
            itl_p95_s=percentile(self._latencies_s, 0.95),
            itl_p99_s=percentile(self._latencies_s, 0.99),
            total_s=self._total_s,
            # Rows pause together, and the one that ran longest has all pauses.
            paused_s=max((row.paused_s for row in self._rows.values()), default=0.0),
            dropped_messages=self._dropped_messages,
            chunks=len(self._arrivals) if self._is_chunked else None,
            is_estimate=self._is_chunked,
            timeline=timeline if timeline != NO_TIMELINE else None,
        )

    @property
    def latencies_s(self) -> Sequence[float]:
        """The inter-token latencies that the percentiles are of, in ascending order."""
        return self._latencies_s

    def now_tps(self, window_s: float, now_s: float | None = None) -> float | None:
        """Tokens per second in the `window_s` before the last token, and at least over the last two arrivals.

        With `now_s` (on the same clock) the window ends there, so that the rate falls while an engine stalls. None before
        the second arrival and over less than `HONEST_S`.
        """
        times, arrivals = self._times_s, self._arrivals
        if len(arrivals) < 2:
            return None
        end_s = times[-1] if now_s is None else max(now_s, times[-1])
        first = min(bisect_left(arrivals, end_s - window_s, key=times.__getitem__), len(arrivals) - 2)
        return _rate(len(times) - arrivals[first + 1], end_s - times[arrivals[first]], HONEST_S)


class _RowTimes:
    """What the meter keeps of one row."""

    def __init__(self) -> None:
        self.tokens = 0
        self.arrivals = 0
        """Forwards that produced tokens."""
        self.last_s = 0.0
        """The time of the last one."""
        self.paused_s = 0.0


def _rate(count: int, seconds: float | None, least_s: float = 0.0) -> float | None:
    return count / seconds if seconds is not None and seconds > 0.0 and seconds >= least_s and count else None
