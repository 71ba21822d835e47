"""Pilot's pauses end when the app is at rest, however busy the machine is; a style sheet is parsed once for all apps."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any, Final

import pytest
from textual.app import App
from textual.css.model import RuleSet
from textual.css.styles import RulesMap
from textual.css.stylesheet import Stylesheet
from textual.css.types import CSSLocation
from textual.dom import DOMNode
from textual.pilot import Pilot
from textual.widget import Widget

SOON_S: Final = 0.034
"""A timer that is due within so long belongs to what was begun: Textual draws at 60 Hz, and after a tick that it skipped,
on a busy machine, up to two intervals later."""
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


async def wait_for_screen(_pilot: Pilot[Any], _timeout: float = 30.0) -> bool:
    """In place of `Pilot._wait_for_screen`, which sends a message to each of a hundred widgets and waits for all of them: half of
    what a key costs. At rest no widget has a message left."""
    await until_at_rest()
    return True


@pytest.fixture(autouse=True)
def pauses_until_at_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("textual.pilot.wait_for_idle", until_at_rest)
    monkeypatch.setattr("textual.app.wait_for_idle", until_at_rest)
    monkeypatch.setattr("textual.pilot.Pilot._wait_for_screen", wait_for_screen)


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


_apply = Stylesheet.apply
_matched: dict[tuple[int, ...], dict[object, tuple[RulesMap, list[bool]]]] = {}
_STATES: Final = ("_reactive_mouse_hover", "_reactive_has_focus", "_reactive_disabled")
_FLAGS: Final = ("_has_hover_style", "_has_focus_within", "_has_order_style", "_has_odd_or_even")


def look_of(node: DOMNode) -> tuple[object, ...]:
    """What a selector may ask of a node, but for its siblings and children, where Textual caches nothing."""
    if isinstance(node, App):
        return (type(node), node.classes, *(check(node) for check in node._PSEUDO_CLASSES.values()))
    can_focus = isinstance(node, Widget) and node.allow_focus()
    return (type(node), node._id, frozenset(node._classes), can_focus, *map(node.__dict__.get, _STATES))


def known_by(sheet: Stylesheet) -> dict[object, tuple[RulesMap, list[bool]]]:
    """What matched in apps with the same rules, by look."""
    rules, known = sheet.__dict__.get("_matched", (None, {}))
    if rules is not sheet.rules:
        known = _matched.setdefault(tuple(map(id, sheet.rules)), {})
        sheet.__dict__["_matched"] = (sheet.rules, known)
    return known


def match_once(sheet: Stylesheet, node: DOMNode, *, animate: bool = False, cache: object = None) -> None:
    """`Stylesheet.apply`, with the rules that matched such a node in an app before: a sixth of the start of an app."""
    known = known_by(sheet)
    look = tuple(map(look_of, node.css_path_nodes))
    if look in known:
        found, flags = known[look]
        for name, flag in zip(_FLAGS, flags, strict=True):
            setattr(node, name, flag)
        sheet.replace_rules(node, found, animate=animate)
        sheet._process_component_classes(node)
    else:
        own_cache: dict[tuple[Any, ...], RulesMap] = {}
        _apply(sheet, node, animate=animate, cache=own_cache)
        for found in own_cache.values():
            known[look] = (found, [getattr(node, flag) for flag in _FLAGS])


def match_components_once(sheet: Stylesheet, node: DOMNode) -> None:
    """`Stylesheet._process_component_classes`, with the rules as they were before: of four styled nodes, three are such."""
    names = node._get_component_classes()
    if not names:
        return
    known, look = known_by(sheet), tuple(map(look_of, node.css_path_nodes))
    before = node._component_styles.copy()
    node._component_styles.clear()
    for name in sorted(names):
        part = DOMNode(classes=name)
        part._attach(node)
        if (key := (look, name)) in known:
            part.styles.base.merge_rules(known[key][0])
        else:
            own_cache: dict[tuple[Any, ...], RulesMap] = {}
            _apply(sheet, part, cache=own_cache)
            if own_cache:
                known[key] = (part.styles.base.get_rules(), [])
        node._component_styles[name] = part.styles
    if node._component_styles != before:
        node.refresh()


@pytest.fixture(autouse=True, scope="session")
def sheets_are_parsed_and_matched_once() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Stylesheet, "_parse_rules", parse_once)
        patch.setattr(Stylesheet, "apply", match_once)
        patch.setattr(Stylesheet, "_process_component_classes", match_components_once)
        yield
