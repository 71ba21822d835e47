"""Pilot's pauses end when the app is at rest, however busy the machine is; a style sheet is parsed once for all apps."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any, Final

import pytest
from textual.css.model import RuleSet
from textual.css.stylesheet import Stylesheet
from textual.css.types import CSSLocation

SOON_S: Final = 0.02
"""A timer that is due within so long belongs to what was begun: Textual draws at 60 Hz."""
PASSES: Final = 3
"""Of the event loop with nothing to do, one after the other."""
MOST_PASSES: Final = 300
"""Limit of a pause while something always moves."""
MOST_THREAD_LOOKS: Final = 1000
"""Limit of a pause while a thread works, looked at every 5 ms."""


def is_thread_at_work(loop: Any) -> bool:
    """Whether a call by `asyncio.to_thread` has not returned."""
    pool = loop._default_executor
    return pool is not None and (
        pool._work_queue.qsize() > 0 or pool._idle_semaphore._value < len(pool._threads)
    )


async def until_at_rest(_min_sleep: float = 0.0, _max_sleep: float = 0.0) -> None:
    """Return when no callback is ready, no timer is due soon, and no thread works for the app.

    In place of Textual's `wait_for_idle`, which takes a process for idle that used no CPU time for 20 ms: on a busy
    machine that is also one that waits for its turn, and on an idle one it is 40 ms for each key.
    """
    loop: Any = asyncio.get_running_loop()
    quiet = thread_looks = 0
    for _ in range(MOST_PASSES):
        while is_thread_at_work(loop) and thread_looks < MOST_THREAD_LOOKS:
            thread_looks += 1
            await asyncio.sleep(0.005)
        now = loop.time()
        due = [handle.when() for handle in loop._scheduled if not handle.cancelled()]
        due_s = min(due, default=now + 1.0) - now
        await asyncio.sleep(max(0.0, due_s) if due_s < SOON_S else 0.0)
        quiet = 0 if loop._ready or due_s < SOON_S else quiet + 1
        if quiet == PASSES:
            return


@pytest.fixture(autouse=True)
def pauses_until_at_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("textual.pilot.wait_for_idle", until_at_rest)
    monkeypatch.setattr("textual.app.wait_for_idle", until_at_rest)


@pytest.fixture
def keys_while_a_thread_works(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let Pilot's pauses end while a thread works: for a test in which it waits for the test."""
    monkeypatch.setitem(globals(), "MOST_THREAD_LOOKS", 1)


_parse_rules = Stylesheet._parse_rules
_parsed: dict[tuple[object, ...], list[RuleSet]] = {}


def parse_once(
    sheet: Stylesheet,
    css: str,
    read_from: CSSLocation,
    is_default_rules: bool = False,
    tie_breaker: int = 0,
    scope: str = "",
) -> list[RuleSet]:
    """`Stylesheet._parse_rules`, with the rules of every app so far: parsing them is half the start of an app."""
    source = (css, read_from, is_default_rules, tie_breaker, scope)
    if source not in sheet._parse_cache:
        key = (*source, *sheet._variables.items())
        if key not in _parsed:
            _parsed[key] = _parse_rules(sheet, *source)
        sheet._parse_cache[source] = _parsed[key]
    return sheet._parse_cache[source]


@pytest.fixture(autouse=True, scope="session")
def sheets_are_parsed_once() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Stylesheet, "_parse_rules", parse_once)
        yield
