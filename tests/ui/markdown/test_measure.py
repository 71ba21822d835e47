"""On a wide terminal a line of text has at most 100 columns, centred, and the prompt is aligned with it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.ui.chat_app import ChatApp, reply_ended, running, until
from ttchat_tui.config.schema import Config, UiSettings
from ttchat_tui.config.ui_state import UiState
from ttchat_tui.ui.widgets.transcript.message import MessageWidget

SIZES = [(60, 20), (80, 24), (120, 40), (180, 50), (200, 50), (201, 50), (300, 60)]
ALONE = UiState(show_conversations=False, show_controls=False)


@pytest.mark.parametrize("state", [UiState(), ALONE], ids=["sidebars", "alone"])
async def test_a_line_is_no_longer_than_one_reads_and_the_prompt_is_under_it(
    tmp_path: Path, state: UiState
) -> None:
    chat = ChatApp(tmp_path, ui_state=state)
    async with running(chat) as pilot:
        chat.screen.prompt.set_draft("word " * 80)
        await pilot.press("enter")
        await reply_ended(pilot, chat)
        for size in SIZES:
            await pilot.resize_terminal(*size)
            await pilot.pause()
            area, written = chat.screen.transcript.region, chat.screen.prompt.content_region
            for message in chat.screen.query(MessageWidget):
                text = message.content_region
                assert text.width <= 100, size
                assert text.x == written.x, size
                assert abs((text.x - area.x) - (area.right - text.right)) <= 3, size  # bar and scrollbar
            assert written.width <= 101, size


async def test_full_width_removes_the_measure(tmp_path: Path) -> None:
    chat = ChatApp(tmp_path, config=Config(ui=UiSettings(full_width=True)), ui_state=ALONE)
    async with running(chat, (200, 50)) as pilot:
        await pilot.press("a", "enter")
        await reply_ended(pilot, chat)
        assert chat.screen.query(MessageWidget).first().content_region.width > 190
        assert chat.screen.prompt.region.width == 200


async def test_spare_width_goes_to_the_sidebars(tmp_path: Path) -> None:
    chat = ChatApp(tmp_path)

    def widths() -> tuple[int, int]:
        return tuple(chat.screen.query_one(name).region.width for name in ("HistoryPanel", "#side"))  # type: ignore[return-value]

    async with running(chat) as pilot:
        for columns, wanted in (
            (120, (30, 36)),
            (179, (30, 36)),
            (180, (30, 48)),
            (190, (40, 48)),
            (200, (40, 48)),
        ):
            await pilot.resize_terminal(columns, 50)
            await pilot.pause()
            await until(pilot, lambda wanted=wanted: widths() == wanted)
