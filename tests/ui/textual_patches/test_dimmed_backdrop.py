"""The chat behind a dialog: it looks as Textual dims it, and is rendered only where it has changed."""

from __future__ import annotations

from textual._compositor import Compositor
from textual.app import App, ComposeResult
from textual.containers import VerticalScroll
from textual.renderables.background_screen import BackgroundScreen
from textual.strip import Strip
from textual.style import Style
from textual.visual import RenderOptions, RichVisual
from textual.widgets import Label, Static

from tests.ui.textual_patches.test_dirty_span_compositor import COLUMNS, ROWS, Layers
from ttchat_tui.ui.textual_patches.dimmed_backdrop import DimmingScreen
from ttchat_tui.ui.textual_patches.dirty_span_compositor import DirtySpanScreen


class Front(DimmingScreen[None]):
    CSS = "Front { align: center middle; background: black 60%; } #box { width: 10; height: 3; background: red; }"

    def compose(self) -> ComposeResult:
        yield Static("box", id="box")


def cells(strips: list[Strip]) -> list[Strip]:
    return [strip.simplify() for strip in strips]


def as_textual_dims(app: App[None], width: int, height: int) -> list[Strip]:
    """The screen at the bottom, rendered anew and dimmed by Textual's own classes."""
    base, front = app.screen_stack[0], app.screen
    whole = Compositor()
    whole.__dict__.update(base._compositor.__dict__)
    own, base._compositor = base._compositor, whole  # type: ignore[assignment]
    try:
        visual = RichVisual(front, BackgroundScreen(base, front.styles.background))
        return visual.render_strips(width, height, front.visual_style, RenderOptions(lambda _: Style(), {}))
    finally:
        base._compositor = own


async def test_the_screen_behind_a_dialog_looks_as_textual_dims_it_whatever_changes_there() -> None:
    app = Layers()
    app.get_default_screen = DirtySpanScreen  # type: ignore[method-assign]
    async with app.run_test(size=(COLUMNS, ROWS)) as pilot:
        await pilot.pause()
        base = app.screen

        def seen() -> list[Strip]:
            return [app.screen.render_line(y) for y in range(app.size.height)]

        async def looks_right() -> None:
            for _ in range(50):
                await pilot.pause(0.01)
                if cells(seen()) == cells(as_textual_dims(app, *app.size)):
                    return
            raise AssertionError("it never looks as Textual dims it")

        app.push_screen(Front())
        await looks_right()
        base.query(Static).last().update("漢字 other")
        await looks_right()
        base.query_one("#right", VerticalScroll).scroll_to(y=9, animate=False)
        await looks_right()
        base.query_one("#over").display = False
        base.query_one("#left Label", Label).update("short")
        await looks_right()
        await pilot.resize_terminal(COLUMNS - 7, ROWS + 3)
        await looks_right()
        app.pop_screen()
        await pilot.pause()
        base.query_one("#over").display = True
        await pilot.pause()
        app.push_screen(Front())
        await looks_right()


async def test_a_change_in_a_dialog_renders_nothing_behind_it_and_a_change_behind_it_only_its_lines() -> None:
    app = Layers()
    app.get_default_screen = DirtySpanScreen  # type: ignore[method-assign]
    async with app.run_test(size=(COLUMNS, ROWS)) as pilot:
        await pilot.pause()
        base = app.screen
        app.push_screen(Front())
        await pilot.pause()
        compositor = base._compositor
        rendered: list[int] = []
        render = compositor._render_spans  # type: ignore[attr-defined]

        def note(spans: list[tuple[int, int, int]]) -> object:
            rendered.extend(y for y, _, _ in spans)
            return render(spans)

        compositor._render_spans = note  # type: ignore[attr-defined]
        app.screen.query_one("#box", Static).update("other")
        app.screen.refresh()
        await pilot.pause()
        assert rendered == []
        over = base.query_one("#over", Static)
        over.update("words")
        await pilot.pause()
        assert set(rendered) == set(over.region.line_range)
