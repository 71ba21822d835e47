"""The event pump from the engine thread to the screen: drain, merge, apply, show, pause."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Callable, Sequence
from itertools import accumulate
from typing import Any

import msgspec

from ttchat_tui.domain.events import EngineEvent, TokenEvent
from ttchat_tui.domain.updates import Update
from ttchat_tui.session import CHECKPOINT_S, ChatSession

SHORTEST_PAUSE_S = 0.08
"""12 flushes a second: 3 or 4 tokens each at 50 tokens/s. 20 a second would cost a third more of the screen's CPU time."""
LONGEST_PAUSE_S = 0.25
PAUSE_PER_CPU = 10.0
"""The pause after a flush is ten times its CPU time, within the two bounds. Flushes take at most 1/11 of a core however
long a reply gets, and the screen lags by a quarter second at most."""


def next_pause_s(flush_cpu_s: float) -> float:
    return min(max(PAUSE_PER_CPU * flush_cpu_s, SHORTEST_PAUSE_S), LONGEST_PAUSE_S)


def merge_tokens(events: Sequence[EngineEvent]) -> list[EngineEvent]:
    """Merge the token events of each row of a request that no other event is between. The order of events stays, but for
    tokens of different rows: those of a batch come in turn."""
    merged: list[EngineEvent] = []
    runs: dict[tuple[int, int], list[TokenEvent]] = {}

    def close_runs() -> None:
        merged.extend(map(_merged, runs.values()))
        runs.clear()

    for event in events:
        if isinstance(event, TokenEvent) and event.replaces is None:
            runs.setdefault((event.request_id, event.row), []).append(event)
        else:
            close_runs()
            merged.append(event)
    close_runs()
    return merged


def _merged(run: Sequence[TokenEvent]) -> TokenEvent:
    """One event for all of these, of one row."""
    return msgspec.structs.replace(
        run[0],
        token_ids=tuple(token for event in run for token in event.token_ids),
        text="".join(event.text for event in run),
        times_s=tuple(time for event in run for time in event.times_s),
        logprobs=_aligned(run, "logprobs", None),
        drafted=_aligned(run, "drafted", False),
        forced=_aligned(run, "forced", False),
        ends_thought=any(event.ends_thought for event in run),
        distributions=_aligned(run, "distributions", None),
        pieces={token_id: piece for event in run for token_id, piece in event.pieces.items()},
        controls={token_id: text for event in run for token_id, text in event.controls.items()},
        sampling_changes=_placed(run, "sampling_changes"),
        pauses=_placed(run, "pauses"),
        batches=_placed(run, "batches"),
        spent=_aligned(run, "spent", None),
        end=run[-1].end,
        arrived_s=_aligned(run, "arrived_s", None),
    )


def _aligned(run: Sequence[TokenEvent], field: str, missing: object) -> tuple[Any, ...]:
    """That field of all events, with a value for each time: `missing` for an event without. Empty if no event has it."""
    if not any(getattr(event, field) for event in run):
        return ()
    return tuple(value for event in run for value in getattr(event, field) or (missing,) * len(event.times_s))


def _placed(run: Sequence[TokenEvent], field: str) -> tuple[Any, ...]:
    """What that field of all events has, each with its place `at` among the tokens of the run."""
    before = accumulate((len(event.times_s) for event in run), initial=0)
    return tuple(
        msgspec.structs.replace(each, at=at + each.at)
        for at, event in zip(before, run, strict=False)
        for each in getattr(event, field)
    )


class EnginePump:
    """Runs on the UI's event loop as long as the app. While nothing happens it sleeps without a timer."""

    def __init__(
        self,
        session: ChatSession,
        show: Callable[[Sequence[Update]], None],
        flush: Callable[[], float],
        is_mounted: Callable[[], bool] = lambda: True,
        after_paint: Callable[[Callable[[], object]], object] = lambda callback: callback(),
    ) -> None:
        """`show` draws updates in order; `flush` draws streamed text and returns the CPU seconds that it took. While
        `is_mounted` returns False there is nothing to draw on: the app is leaving, and events stay in their queue.
        `after_paint` calls a function once what was drawn is painted."""
        self._session = session
        self._show = show
        self._flush = flush
        self._is_mounted = is_mounted
        self._after_paint = after_paint
        self._wake = asyncio.Event()

    async def run(self) -> None:
        loop = asyncio.get_running_loop()

        def wake() -> None:
            loop.call_soon_threadsafe(self._wake.set)

        self._session.set_waker(wake)
        self._wake.set()
        try:
            while True:
                await self._wait()
                if not self._is_mounted():
                    await asyncio.sleep(LONGEST_PAUSE_S)
                    continue
                self._wake.clear()
                await asyncio.sleep(next_pause_s(self.pump_once()))
        finally:
            self._session.set_waker(None)

    async def _wait(self) -> None:
        """Wait for an event, or until the next checkpoint is due."""
        try:
            await asyncio.wait_for(self._wake.wait(), CHECKPOINT_S if self._session.has_work else None)
        except asyncio.TimeoutError:
            pass

    def pump_once(self) -> float:
        """Process all pending events. Returns the CPU seconds of the flush."""
        updates: list[Update] = []
        events = self._session.events()
        for event in merge_tokens(events):
            updates.extend(self._session.apply(event))
        updates.extend(self._session.tick())
        if updates:
            self._show(updates)
        cpu_s = self._flush()
        if events:
            self._after_paint(self._session.recordings.drawn)
        self._tune_gc()
        return cpu_s

    def _tune_gc(self) -> None:
        """No garbage collection while a reply streams: each stalls a large app for 100 ms or more. Collect once afterwards."""
        if self._session.is_busy and gc.isenabled():
            gc.disable()
        elif not self._session.is_busy and not gc.isenabled():
            gc.enable()
            gc.collect()
