"""The compositor of the chat: it sends what Textual's own sends, and renders less for it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyte
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyte import modes
from textual._compositor import ChopsUpdate, Compositor
from textual._styles_cache import StylesCache
from textual.app import App, ComposeResult
from textual.containers import Horizontal, VerticalScroll
from textual.geometry import Region
from textual.strip import Strip
from textual.widget import Widget
from textual.widgets import Label, Static, TextArea

from tests.size import sized
from tests.ui.chat_app import ChatApp, running
from tests.ui.widgets.test_transcript import TranscriptApp, reply, stream, talk
from ttchat_tui.ui.textual_patches.dirty_span_compositor import DirtySpanCompositor, DirtySpanScreen

COLUMNS, ROWS = 40, 12


class Layers(App[None]):
    """Borders, a scrolled container, wide characters, and a widget that floats over the others."""

    CSS = """
    Screen { layers: base over; }
    #left { width: 13; border: round green; }
    #right { width: 1fr; padding: 0 1; background: blue; }
    #over { layer: over; offset: 8 3; width: 11; height: 5; border: solid red; }
    """

    def compose(self) -> ComposeResult:
        with Horizontal():
            with VerticalScroll(id="left"):
                yield Label("\n".join(f"left {row} 漢字" for row in range(30)))
            with VerticalScroll(id="right"):
                for row in range(9):
                    yield Static(f"message {row} 漢字 " * 4)
        yield Static("over 漢字", id="over")

    def on_mount(self) -> None:
        self.query_one("#right").scroll_to(y=5, animate=False)


def drawn(app: App[None], update: ChopsUpdate | None) -> list[str]:
    """What a terminal full of dots shows after `update`."""
    screen = pyte.Screen(COLUMNS, ROWS)
    screen.set_mode(modes.LNM)
    terminal = pyte.Stream(screen)
    terminal.feed(("." * COLUMNS) * ROWS)
    if update is not None:
        terminal.feed(update.render_segments(app.console))
    return [
        " ".join(f"{cell.data}/{cell.fg}/{cell.bg}" for cell in (screen.buffer[y][x] for x in range(COLUMNS)))
        for y in range(ROWS)
    ]


region = st.builds(
    Region, st.integers(-3, COLUMNS), st.integers(-3, ROWS), st.integers(0, COLUMNS), st.integers(0, ROWS)
)


async def test_any_partial_update_draws_what_textuals_own_draws() -> None:
    app = Layers()
    async with app.run_test(size=(COLUMNS, ROWS)) as pilot:
        await pilot.pause()
        own = app.screen._compositor
        frugal = DirtySpanCompositor()
        frugal.__dict__.update(own.__dict__)

        @settings(max_examples=sized(50, 1500), deadline=None)
        @given(st.sets(region, max_size=4))
        def draws_the_same(dirty: set[Region]) -> None:
            visible = {each.intersection(own.size.region) for each in dirty}
            own._dirty_regions = {each for each in visible if each}
            frugal._dirty_regions = set(dirty)
            expected = Compositor.render_partial_update(own)
            assert drawn(app, frugal.render_partial_update()) == drawn(app, expected)

        draws_the_same()


@pytest.fixture
def rendered(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The types of the widgets that are asked for lines, from now on."""
    found: list[str] = []
    render = StylesCache.render_widget

    def note(cache: StylesCache, widget: Widget, crop: Region) -> list[Strip]:
        found.append(type(widget).__name__)
        return render(cache, widget, crop)

    monkeypatch.setattr(StylesCache, "render_widget", note)
    return found


async def test_a_word_that_streams_in_renders_its_own_chunk_and_nothing_else(rendered: list[str]) -> None:
    app = TranscriptApp()
    app.get_default_screen = DirtySpanScreen  # type: ignore[method-assign]
    async with app.run_test(size=(80, 24)) as pilot:
        app.transcript.show(talk(6))
        app.transcript.begin(reply(99, ""))
        await stream(app, pilot, ["some words"])
        while rendered:  # the scroll bar may come a frame later
            rendered.clear()
            await pilot.pause()
        await stream(app, pilot, [" more"])
        assert rendered == ["MessageChunk"]


async def test_a_reply_that_grows_by_a_line_is_laid_out_once(monkeypatch: pytest.MonkeyPatch) -> None:
    app = TranscriptApp()
    async with app.run_test(size=(80, 24)) as pilot:
        app.transcript.show(talk(6))
        app.transcript.begin(reply(99, ""))
        await stream(app, pilot, ["some words"])
        reflows = 0
        reflow = Compositor.reflow

        def count(*args: Any) -> Any:
            nonlocal reflows
            reflows += 1
            return reflow(*args)

        monkeypatch.setattr(Compositor, "reflow", count)
        await stream(app, pilot, [" more" * 20])
        await pilot.pause()
        assert reflows == 1


async def test_the_chat_screen_has_it(tmp_path: Path) -> None:
    chat = ChatApp(tmp_path)
    async with running(chat):
        assert isinstance(chat.screen._compositor, DirtySpanCompositor)


class OneArea(App[None]):
    def get_default_screen(self) -> DirtySpanScreen[None]:
        return DirtySpanScreen()

    def compose(self) -> ComposeResult:
        yield TextArea("text")


async def test_a_widget_that_was_removed_is_blank_until_the_next_layout() -> None:
    app = OneArea()
    async with app.run_test(size=(COLUMNS, ROWS)) as pilot:
        await pilot.pause()
        area, compositor = app.query_one(TextArea), app.screen._compositor
        await area.remove()
        assert area in compositor.visible_widgets
        update = compositor.render_full_update()
        assert "text" not in "".join(strip.text for line in update.strips for strip in line)


async def test_a_widget_is_drawn_that_changes_together_with_what_is_behind_its_dialog(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Front(DirtySpanScreen[None]):
        def compose(self) -> ComposeResult:
            yield Static("before")

    app = App[None]()
    async with app.run_test() as pilot:
        front = Front()
        await app.push_screen(front)
        await pilot.pause()
        static = front.query_one(Static)
        sent: list[tuple[int, int, int]] = []
        monkeypatch.setattr(app, "_display", lambda _, update: sent.extend(getattr(update, "spans", ())))
        static.update("after", layout=False)
        front._dirty_widgets.add(static)
        front.refresh(Region(0, 9, 3, 1))
        front._on_timer_update()
        assert {static.region.y, 9} <= {y for y, _, _ in sent}
