"""The one way from the engine thread to the screen: drain, merge, apply, show, and wait as long as showing cost."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Callable, Sequence

import msgspec

from ttchat_tui.domain.events import EngineEvent, TokenEvent
from ttchat_tui.domain.updates import Update
from ttchat_tui.session import CHECKPOINT_S, ChatSession

SHORTEST_PAUSE_S = 0.08
"""Twelve flushes a second: three or four tokens each at 50 tokens/s. Eight more would cost a third of the screen's CPU."""
LONGEST_PAUSE_S = 0.25
PAUSE_PER_CPU = 10.0
"""The pause after a flush is ten times its CPU time, within the two bounds: flushes take at most an eleventh of a core
however long a reply gets, and the screen is never behind by more than a quarter second."""


def next_pause_s(flush_cpu_s: float) -> float:
    return min(max(PAUSE_PER_CPU * flush_cpu_s, SHORTEST_PAUSE_S), LONGEST_PAUSE_S)


def merge_tokens(events: Sequence[EngineEvent]) -> list[EngineEvent]:
    """Neighbouring token events of one row of one request as one; the order of everything else stays."""
    merged: list[EngineEvent] = []
    run: list[TokenEvent] = []

    def close_run() -> None:
        if not run:
            return
        merged.append(
            msgspec.structs.replace(
                run[0],
                token_ids=tuple(token for event in run for token in event.token_ids),
                text="".join(event.text for event in run),
                times_s=tuple(time for event in run for time in event.times_s),
                # Of a token that a device drew there is none: a list with gaps would be about other tokens.
                logprobs=tuple(value for event in run for value in event.logprobs)
                if all(event.logprobs for event in run)
                else (),
                drafted=tuple(
                    value for event in run for value in event.drafted or (False,) * len(event.times_s)
                )
                if any(event.drafted for event in run)
                else (),
                ends_thought=any(event.ends_thought for event in run),
            )
        )
        run.clear()

    for event in events:
        if isinstance(event, TokenEvent):
            if run and (run[0].request_id, run[0].row) != (event.request_id, event.row):
                close_run()
            run.append(event)
        else:
            close_run()
            merged.append(event)
    close_run()
    return merged


class EnginePump:
    """Runs on the UI's event loop for as long as the app does; asleep, without a timer, while nothing happens."""

    def __init__(
        self,
        session: ChatSession,
        show: Callable[[Sequence[Update]], None],
        flush: Callable[[], float],
        is_mounted: Callable[[], bool] = lambda: True,
    ) -> None:
        """`show` takes updates in order; `flush` paints what streamed in and returns the CPU seconds it took. While
        `is_mounted` returns False there is nothing to draw on: the app is leaving, and events stay in their queue."""
        self._session = session
        self._show = show
        self._flush = flush
        self._is_mounted = is_mounted
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
        """Until there is an event; while something is to be written, at most until that is due."""
        try:
            await asyncio.wait_for(self._wake.wait(), CHECKPOINT_S if self._session.has_work else None)
        except asyncio.TimeoutError:
            pass

    def pump_once(self) -> float:
        """Take what there is, now; returns the CPU seconds the flush took. Tests call it by hand."""
        updates: list[Update] = []
        for event in merge_tokens(self._session.events()):
            updates.extend(self._session.apply(event))
        updates.extend(self._session.tick())
        if updates:
            self._show(updates)
        cpu_s = self._flush()
        self._tune_gc()
        return cpu_s

    def _tune_gc(self) -> None:
        """No collection while a reply streams (each costs a stall of 100 ms and more in a grown app), one after."""
        if self._session.is_busy and gc.isenabled():
            gc.disable()
        elif not self._session.is_busy and not gc.isenabled():
            gc.enable()
            gc.collect()
