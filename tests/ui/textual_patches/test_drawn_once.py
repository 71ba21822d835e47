"""What opens, closes, or is mounted is styled, laid out and drawn once."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import pytest
from rich.segment import Segment
from textual._compositor import Compositor
from textual.app import ComposeResult
from textual.containers import VerticalScroll
from textual.css.stylesheet import Stylesheet
from textual.dom import DOMNode
from textual.screen import Screen
from textual.strip import Strip
from textual.widgets import Button, Input, Label

from ttchat_tui.ui.textual_patches.app import PatchedApp
from ttchat_tui.ui.textual_patches.dimmed_backdrop import DimmingScreen
from ttchat_tui.ui.textual_patches.dirty_span_compositor import (
    Chops,
    DirtySpanCompositor,
    DirtySpanScreen,
    Span,
)
from ttchat_tui.ui.textual_patches.no_second_layout import NoSecondLayout


class Lines(NoSecondLayout, VerticalScroll):
    DEFAULT_CSS = "Lines Label { width: 1fr; }"


class Below(DirtySpanScreen[None]):
    def compose(self) -> ComposeResult:
        with Lines():
            yield from (Label(f"line {number}") for number in range(60))


class FieldsInFront(DimmingScreen[None]):
    DEFAULT_CSS = "FieldsInFront { background: black 60%; }"

    def compose(self) -> ComposeResult:
        yield Input("words", compact=True)
        yield Button("Do it", variant="primary", compact=True)


class TwoScreens(PatchedApp):
    def get_default_screen(self) -> Screen[None]:
        return Below()

    def on_mount(self) -> None:
        self.open_key_gate()


class Calls:
    """How often methods are called, by name."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self._patch = patch
        self.count: dict[str, int] = {}

    def of(self, cls: type[object], name: str) -> None:
        method = getattr(cls, name)

        def noted(*args: object, **options: object) -> object:
            self.count[name] += 1
            return method(*args, **options)

        self.count[name] = 0
        self._patch.setattr(cls, name, noted)

    def reset(self) -> None:
        self.count = dict.fromkeys(self.count, 0)


async def test_a_dialog_and_what_is_below_it_are_drawn_whole_once_when_it_opens_and_once_when_it_closes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    app, calls = TwoScreens(), Calls(monkeypatch)
    async with app.run_test(size=(60, 20)) as pilot:
        await pilot.pause()
        calls.of(DirtySpanCompositor, "render_full_update")
        calls.of(DirtySpanCompositor, "reflow")
        app.push_screen(FieldsInFront())
        await pilot.pause()
        assert isinstance(app.focused, Input)
        assert calls.count["render_full_update"] == 1
        assert (
            calls.count["reflow"] <= 2
        )  # the screen's own, and one for what is mounted while it is laid out
        calls.reset()
        app.pop_screen()
        await pilot.pause()
        assert calls.count == {"render_full_update": 1, "reflow": 0}


async def test_a_widget_is_not_styled_before_it_is_mounted(monkeypatch: pytest.MonkeyPatch) -> None:
    app = TwoScreens()
    async with app.run_test(size=(60, 20)) as pilot:
        await pilot.pause()
        styled: list[DOMNode] = []
        apply = Stylesheet.apply

        def noted(self: Stylesheet, node: DOMNode, **options: object) -> None:
            styled.append(node)
            apply(self, node, **options)  # type: ignore[arg-type]

        monkeypatch.setattr(Stylesheet, "apply", noted)
        app.push_screen(FieldsInFront())
        await pilot.pause()
        button = app.screen.query_one(Button)
        assert styled.count(button) == 1
        assert button.styles.border_top[0] == ""  # compact: a class of its constructor


async def test_a_layout_after_a_scroll_arranges_everything_once(monkeypatch: pytest.MonkeyPatch) -> None:
    app, calls = TwoScreens(), Calls(monkeypatch)
    async with app.run_test(size=(60, 20)) as pilot:
        await pilot.pause()
        area = app.screen.query_one(Lines)
        area.scroll_to(y=30, animate=False, immediate=True)
        await pilot.pause()
        calls.of(Compositor, "_arrange_root")
        calls.of(DirtySpanCompositor, "reflow")
        area.query(Label)[35].update("a line\nof two")
        await pilot.pause()
        assert area.query(Label)[35].virtual_region.height == 2
        assert calls.count["_arrange_root"] == calls.count["reflow"] >= 1


def test_a_strip_has_no_caches_before_it_is_cut() -> None:
    strip = Strip([Segment("one"), Segment("two")])
    assert not any(name.endswith("_cache") for name in filled_slots(strip))
    first, second = strip.divide([2, 6])
    assert (first.text, second.text) == ("on", "etwo")
    assert strip.divide([2, 6]) is strip.divide([2, 6])
    assert strip.crop(1, 4) is strip.crop(1, 4)


def filled_slots(strip: Strip) -> list[str]:
    filled: list[str] = []
    for name in Strip.__slots__:
        try:
            value = object.__getattribute__(strip, name)
        except AttributeError:
            continue
        if value is not None:
            filled.append(name)
    return filled


async def test_what_is_below_a_dialog_is_rendered_again_only_where_it_has_changed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    app = TwoScreens()
    async with app.run_test(size=(60, 20)) as pilot:
        await pilot.pause()
        below = app.screen
        compositor = below._compositor
        assert isinstance(compositor, DirtySpanCompositor)
        rendered: list[int] = []
        render = compositor._render_spans

        def note(spans: Iterable[Span]) -> list[Chops]:
            spans = list(spans)
            rendered.extend(y for y, _, _ in spans)
            return render(spans)

        monkeypatch.setattr(compositor, "_render_spans", note)

        async def opens(*changes: Callable[[], object]) -> str:
            """What is seen below a dialog that opens at once after `changes`."""
            rendered.clear()
            for change in changes:
                change()
            app.push_screen(FieldsInFront())
            await pilot.pause()
            await pilot.pause()
            return "\n".join(app.screen.render_line(y).text for y in range(8, 20))

        async def closes() -> None:
            app.pop_screen()
            await pilot.pause()

        assert "line 9" in await opens()
        assert rendered == [], "it was drawn whole at the start"
        await closes()
        line = below.query(Label)[10]
        line.update("something else")
        await pilot.pause()
        assert "something else" in await opens()
        assert set(rendered) == {10}
        await closes()
        assert "and now this" in await opens(lambda: line.update("and now this"))
        assert set(rendered) == {10}, "also what has changed as it opens"
        await closes()
