"""What the app looks like: pictures that a person has looked at. `pytest tests/ui/test_snapshots.py --snapshot-update`
takes them anew; look at each before it is committed.

Nothing in them depends on the clock or the machine: the scripted engine has a clock of its own, and the hours, the
memory of a process and the rate's samples are fixed or left out.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import pytest
from pytest_textual_snapshot import SVGImageExtension
from syrupy.assertion import SnapshotAssertion
from textual.pilot import Pilot
from textual.widgets import Input, TextArea

from tests.fakes import Script
from tests.ui.chat_app import ChatApp, reply_ended, running, settle, until
from ttchat_tui.config.ui_state import UiState
from ttchat_tui.engine.runtime.host import EngineHost
from ttchat_tui.models.library import ModelRow
from ttchat_tui.ui.screens import timeline
from ttchat_tui.ui.screens.model_picker import ModelPicker
from ttchat_tui.ui.widgets.candidates.lane_view import LaneView
from ttchat_tui.ui.widgets.inspector.token_text import TokenText
from ttchat_tui.ui.widgets.transcript import message_format

REPLY = """## Meshes

A mesh **shards** the weight along one axis; `ttnn` does the rest:

```python
def open_mesh(rows: int = 2) -> Mesh:
    # two chips
    return ttnn.open_mesh_device(rows, "wormhole")
```

| chips | tok/s |
|------:|------:|
| 1     |  94.2 |
| 8     | 610.0 |
"""

MODELS = [
    ModelRow(name="smollm2-135m-instruct", size_bytes=98_000_000, path=Path("model.gguf")),
    ModelRow(name="qwen3-0.6b", size_bytes=1_200_000_000),
    ModelRow(name="llama-3.1-8b-instruct", size_bytes=16_100_000_000, is_gated=True),
]


class Picture(SVGImageExtension):
    """In tests/snapshots, as SVG."""

    @classmethod
    def dirname(cls, *, test_location: Any) -> str:
        return str(Path(test_location.filepath).parents[1] / "snapshots")


@pytest.fixture
def picture(snapshot: SnapshotAssertion, monkeypatch: pytest.MonkeyPatch) -> SnapshotAssertion:
    monkeypatch.setattr(message_format, "clock_time", lambda _: "14:02")
    monkeypatch.setattr(EngineHost, "memory_bytes", lambda _: 512_000_000)
    monkeypatch.delenv("NO_COLOR", raising=False)
    return snapshot.use_extension(Picture)


class Look(NamedTuple):
    theme: str
    size: tuple[int, int]
    has_colors: bool = True


LOOKS = {
    "dark-60x20": Look("tenstorrent-dark", (60, 20)),
    "light-100x30": Look("tenstorrent-light", (100, 30)),
    "no-color-150x45": Look("tenstorrent-dark", (150, 45), has_colors=False),
}


@pytest.fixture(params=LOOKS.values(), ids=[*LOOKS])
def look(request: pytest.FixtureRequest, picture: SnapshotAssertion, monkeypatch: pytest.MonkeyPatch) -> Look:
    """After `picture`, which has removed NO_COLOR."""
    if not request.param.has_colors:
        monkeypatch.setenv("NO_COLOR", "1")
    return request.param


def app_in(folder: Path, theme: str = "tenstorrent-dark") -> ChatApp:
    return ChatApp(folder, Script(replies=(REPLY,)), ui_state=UiState(theme=theme))


async def taken(pilot: Pilot[None], chat: ChatApp) -> str:
    """The screen as SVG, without what moves by itself."""
    for field in [*chat.app.screen.query(TextArea), *chat.app.screen.query(Input)]:
        field.cursor_blink = False
    chat.screen.metrics.forget_rates()
    chat.screen.count()
    await settle(pilot, chat)
    await settle(pilot, chat)
    return chat.app.export_screenshot(title="ttchat")


async def ask(pilot: Pilot[None], chat: ChatApp) -> None:
    await pilot.press(*"how", "enter")
    await reply_ended(pilot, chat)


async def test_an_empty_chat_at_80x24(picture: SnapshotAssertion, tmp_path: Path) -> None:
    chat = app_in(tmp_path)
    async with running(chat, (80, 24)) as pilot:
        assert await taken(pilot, chat) == picture


@pytest.mark.parametrize(
    ("theme", "size"),
    [("tenstorrent-dark", (120, 40)), ("tenstorrent-light", (120, 40)), ("tenstorrent-dark", (60, 20))],
    ids=["dark-120x40", "light-120x40", "dark-60x20"],
)
async def test_a_finished_reply_with_code_and_a_table(
    picture: SnapshotAssertion, tmp_path: Path, theme: str, size: tuple[int, int]
) -> None:
    chat = app_in(tmp_path, theme)
    async with running(chat, size) as pilot:
        await ask(pilot, chat)
        assert await taken(pilot, chat) == picture


async def test_a_selected_message_at_80x24(picture: SnapshotAssertion, tmp_path: Path) -> None:
    chat = app_in(tmp_path)
    async with running(chat, (80, 24)) as pilot:
        await ask(pilot, chat)
        await pilot.press("ctrl+up", "ctrl+up")
        assert await taken(pilot, chat) == picture


async def test_the_help_screen_at_80x24(picture: SnapshotAssertion, tmp_path: Path) -> None:
    chat = app_in(tmp_path)
    async with running(chat, (80, 24)) as pilot:
        await pilot.press("f1")
        assert await taken(pilot, chat) == picture


@pytest.mark.parametrize("theme", ["tenstorrent-dark", "tenstorrent-light"])
async def test_the_model_picker_at_80x24(picture: SnapshotAssertion, tmp_path: Path, theme: str) -> None:
    chat = app_in(tmp_path, theme)
    async with running(chat, (80, 24)) as pilot:
        chat.app.push_screen(ModelPicker(MODELS, "smollm2-135m-instruct"))
        await pilot.pause()
        assert await taken(pilot, chat) == picture


async def test_the_inspector_with_a_tint(picture: SnapshotAssertion, look: Look, tmp_path: Path) -> None:
    chat = ChatApp(tmp_path, Script(replies=(REPLY,), logprobs=True), ui_state=UiState(theme=look.theme))
    async with running(chat, look.size) as pilot:
        await ask(pilot, chat)
        await pilot.press("f6")
        await until(pilot, lambda: bool(chat.app.screen.query(TokenText)))
        await until(pilot, lambda: chat.app.screen.query_one(TokenText).shown > 0)
        await pilot.press("t", "n", "enter")
        assert await taken(pilot, chat) == picture


async def test_the_samplers_preview(picture: SnapshotAssertion, look: Look, tmp_path: Path) -> None:
    state = UiState(theme=look.theme, show_preview=True)
    chat = ChatApp(tmp_path, Script(replies=(REPLY,), logprobs=True), ui_state=state)
    async with running(chat, look.size) as pilot:
        await ask(pilot, chat)
        await pilot.press("f5", "right", "right")
        await until(pilot, lambda: chat.session.preview.token is not None)
        assert await taken(pilot, chat) == picture


async def test_the_timeline_of_two_replies(
    picture: SnapshotAssertion, look: Look, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(timeline, "clock_time", lambda _: "14:02")
    replies = ("One two three four five six.", "Seven eight nine ten.")
    chat = ChatApp(tmp_path, Script(replies=replies, logprobs=True), ui_state=UiState(theme=look.theme))
    async with running(chat, look.size) as pilot:
        await ask(pilot, chat)
        await ask(pilot, chat)
        await pilot.press(*"/timeline", "enter")
        await until(pilot, lambda: isinstance(chat.app.screen, timeline.TimelineScreen))
        screen = chat.app.screen
        assert isinstance(screen, timeline.TimelineScreen)
        await until(pilot, lambda: bool(screen._latencies))
        assert await taken(pilot, chat) == picture


async def test_candidates_with_their_differences(
    picture: SnapshotAssertion, look: Look, tmp_path: Path
) -> None:
    chat = ChatApp(tmp_path, Script(replies=(REPLY,), batch_sizes=(4,)), ui_state=UiState(theme=look.theme))
    async with running(chat, look.size) as pilot:
        await pilot.press(*"/candidates 4 seed=41 how", "enter")
        await until(pilot, lambda: not chat.session.candidates.is_running)
        await settle(pilot, chat)
        await pilot.press("2", "d")
        await until(pilot, lambda: any(view._marks for view in chat.app.screen.query(LaneView)))
        assert await taken(pilot, chat) == picture
