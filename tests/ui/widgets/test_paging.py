"""Keys that scroll move by exact numbers of lines, whatever is mounted and removed meanwhile."""

from __future__ import annotations

import asyncio
import random

import pytest
from rich.console import RenderableType
from textual.pilot import Pilot
from textual.screen import Screen

from tests.size import sized
from tests.ui.chat_app import until
from tests.ui.widgets.test_transcript import TranscriptApp, reply, talk, user
from ttchat_tui.ui.widgets.transcript import window as windows
from ttchat_tui.ui.widgets.transcript.message import MessageWidget
from ttchat_tui.ui.widgets.transcript.message_data import MessageView
from ttchat_tui.ui.widgets.transcript.paging import NEAR

WIDTH, HEIGHT = 60, 20
KEYS = {"pageup": -(HEIGHT - 1), "pagedown": HEIGHT - 1, "up": -1, "down": 1, "home": -(10**6), "end": 10**6}
"""Lines that a key scrolls. The transcript has one row of padding."""


def uneven(chance: random.Random, count: int) -> list[MessageView]:
    """Messages of one line to several screens, each line of its own."""

    def text(key: int) -> str:
        words = " ".join(f"m{key}w{word}" for word in range(chance.choice([1, 3, 30, 30, 200])))
        code = "\n".join(f"m{key} = {line}" for line in range(chance.choice([1, 5, 40])))
        return f"{words}\n\n```python\n{code}\n```\n\nEnd of {key}." if chance.random() < 0.3 else words

    return [user(key, text(key)) if key % 2 else reply(key, text(key)) for key in range(count)]


async def whole_text(views: list[MessageView], patch: pytest.MonkeyPatch) -> list[str]:
    """All lines, with all messages mounted."""
    app = TranscriptApp()
    with patch.context() as limits:
        limits.setattr(windows, "MOST_MESSAGES", len(views))
        limits.setattr(windows, "MOST_LINES", 10**6)
        async with app.run_test(size=(WIDTH, 3000)) as pilot:
            app.transcript.show(views)
            await until(
                pilot, lambda: all(each.is_laid_out for each in app.query(MessageWidget)) and app.lines()[1]
            )
            assert len(app.query(MessageWidget)) == len(views)
            lines = app.lines()[1:]
            return lines[: app.query(MessageWidget).last().virtual_region.bottom + 1]  # and its margin


async def press(pilot: Pilot[None], key: str, chance: random.Random) -> None:
    """A key of a burst: the next one comes at once, soon, or when all is drawn."""
    transcript = pilot.app.query_one("Transcript")
    await transcript.run_action({"pageup": "page_up", "pagedown": "page_down"}.get(key, f"scroll_{key}"))
    pause = chance.choice(["none", "none", "soon", "drawn"])
    if pause == "soon":
        await asyncio.sleep(0)
    elif pause == "drawn":
        await pilot.pause()


async def test_each_key_scrolls_by_its_lines_whatever_is_mounted(monkeypatch: pytest.MonkeyPatch) -> None:
    chance = random.Random(7)
    views = uneven(chance, sized(60, 120))
    text = await whole_text(views, monkeypatch)
    for name, few in (("MOST_MESSAGES", 9), ("MOST_LINES", 150), ("STEP", 3)):
        monkeypatch.setattr(windows, name, few)
    app = TranscriptApp()
    async with app.run_test(size=(WIDTH, HEIGHT)) as pilot:
        app.transcript.show(views)
        await until(pilot, lambda: app.transcript.scroll_y > 0)
        end = len(text) - (HEIGHT - 1)
        y, done = end, ["show"]
        while len(done) < sized(120, 3000):
            favoured = chance.choice(["pageup", "pagedown"])
            keys = chance.choices([favoured, *KEYS], [12, 3, 3, 3, 3, 0.2, 0.2], k=chance.choice([1, 8, 15]))
            for key in keys:
                done.append(key)
                y = max(0, min(end, y + KEYS[key]))
                if KEYS[key] > 0 and y >= end - NEAR:
                    y = end
                await press(pilot, key, chance)
            if (
                not app.transcript._moves and app.transcript.scroll_y >= 3
            ):  # the scrollbar, while more is mounted
                done.append("bar")
                y -= 3
                app.transcript.scroll_relative(y=-3)
            await until(pilot, lambda: not app.transcript._moves)
            await pilot.pause()
            assert app.lines()[1:] == text[y : y + HEIGHT - 1], done


class DrawnApp(TranscriptApp):
    """Keeps every frame that it draws."""

    def __init__(self) -> None:
        super().__init__()
        self.frames: list[list[str]] = []

    def _display(self, screen: Screen[object], renderable: RenderableType | None) -> None:
        if not self._batch_count:
            self.frames.append(self.lines())
        super()._display(screen, renderable)


async def test_no_frame_is_blank_when_other_messages_are_shown() -> None:
    app = DrawnApp()
    async with app.run_test(size=(WIDTH, HEIGHT)) as pilot:
        app.transcript.show(talk(2))
        await until(pilot, lambda: "question 1" in app.lines())
        app.frames.clear()
        app.transcript.show([reply(1000 + key, f"other {key} " * 40) for key in range(300)])
        await until(pilot, lambda: any("other 299" in line for line in app.lines()))
        app.transcript.action_scroll_home()
        await until(pilot, lambda: any("other 0" in line for line in app.lines()))
        assert all(any(line.strip() for line in frame) for frame in app.frames)
        assert len(app.frames) > 1
