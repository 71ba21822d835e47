"""Toasts: equal messages once, few at a time, and never over the prompt."""

from __future__ import annotations

from pathlib import Path

import pytest
from msgspec import structs
from textual.widgets._toast import Toast, ToastHolder

from tests.fakes import Script
from tests.ui.chat_app import ChatApp, running
from ttchat_tui.domain.errors import ErrorInfo
from ttchat_tui.models.catalog import catalog
from ttchat_tui.models.fetch import _offline
from ttchat_tui.ui.screens.prompt_actions import faulty

PATH = "Saved to /home/someone/.local/share/ttchat-tui/exports/a-title-of-some-length.md"


@pytest.mark.parametrize("size", [(60, 20), (80, 24), (120, 40)])
async def test_several_leave_the_prompt_and_most_of_the_screen_free(
    tmp_path: Path, size: tuple[int, int]
) -> None:
    chat = ChatApp(tmp_path, Script())
    async with running(chat, size, toasts=True) as pilot:
        for words in (PATH, "Deleted. /undo brings it back.", PATH, "There is no reply to copy yet."):
            chat.screen.notify(words, markup=False)
        await pilot.pause()
        await pilot.pause()
        regions = [toast.region for toast in chat.app.query(Toast)]
        assert 1 < len(regions) <= 3
        assert max(region.bottom for region in regions) <= size[1] // 2 - 2
        assert all(region.x >= 0 and region.right <= size[0] for region in regions)
        assert chat.screen.prompt.region.y >= max(region.bottom for region in regions)


@pytest.mark.parametrize("width", [120, 200])
async def test_the_values_beside_the_chat_stay_visible(tmp_path: Path, width: int) -> None:
    chat = ChatApp(tmp_path)
    async with running(chat, (width, 40), toasts=True) as pilot:
        for severity in ("information", "error"):
            chat.screen.notify(f"{severity} {PATH * 2}", severity=severity, markup=False)
        await pilot.pause()
        await pilot.pause()
        side = chat.screen.query_one("#side").region
        toasts = [toast.region for toast in chat.app.query(Toast)]
        assert len(toasts) == 2
        assert not any(toast.overlaps(side) for toast in toasts)


async def test_a_toast_is_on_the_screen_on_top_only_beside_the_list_and_escape_removes_it(
    tmp_path: Path,
) -> None:
    chat = ChatApp(tmp_path)
    async with running(chat, (80, 24), toasts=True) as pilot:
        chat.screen.show_error(ErrorInfo(kind="busy", message=f"A disk is full. {PATH}"))
        await pilot.pause()
        await pilot.pause()
        assert shown_on(chat) == [chat.screen]
        history = chat.screen.history_panel
        assert history is not None
        assert not any(toast.region.overlaps(history.region) for toast in chat.screen.query(Toast))
        await pilot.press("f1")
        await pilot.pause()
        assert shown_on(chat) == [chat.app.screen] != [chat.screen]
        await pilot.press("escape")
        await pilot.pause()
        assert shown_on(chat) == [chat.screen]
        chat.screen.show_error(ErrorInfo(kind="system", message="A card is hot."))
        await pilot.pause()
        chat.screen.drop_busy_toast()
        assert chat.toasts() == ["A card is hot."]
        await pilot.press("escape")
        await pilot.pause()
        assert (chat.toasts(), shown_on(chat)) == ([], [])


def shown_on(chat: ChatApp) -> list[object]:
    return [
        screen
        for screen in chat.app.screen_stack
        if any(toast in screen._compositor.visible_widgets for toast in screen.query(Toast))
    ]


def test_one_sentence_names_the_first_of_the_prompt_files_that_cannot_be_used() -> None:
    assert faulty(["a.md"], ["/template"]) == "a.md cannot be used: /template shows why."
    both = faulty(["a\n.md", "b.md", "c.toml"], ["/template", "/preset"])
    assert both == "a .md and 2 more cannot be used: /template and /preset show why."


async def test_enter_removes_stale_toasts_and_leaves_errors(tmp_path: Path) -> None:
    chat = ChatApp(tmp_path)
    async with running(chat, toasts=True) as pilot:
        chat.screen.notify("a note", markup=False)
        chat.screen.notify("a warning", severity="warning", markup=False)
        chat.screen.notify("a disk is full", severity="error", timeout=30, markup=False)
        await pilot.press(*"/nonsense", "enter")
        await pilot.pause()
        assert [said.partition(".")[0] for said in chat.toasts()] == [
            "a disk is full", "There is no command /nonsense"
        ]  # fmt: skip


async def test_equal_messages_replace_each_other(tmp_path: Path) -> None:
    chat = ChatApp(tmp_path)
    async with running(chat, toasts=True) as pilot:
        for _ in range(3):
            await pilot.press("f9")
            await pilot.pause()
        assert len(chat.toasts()) == 1
        assert len(chat.app.query(ToastHolder)) == 1


async def test_an_error_outlives_later_toasts(tmp_path: Path) -> None:
    chat = ChatApp(tmp_path)
    async with running(chat, (80, 24)) as pilot:
        chat.screen.notify("a disk is full", severity="error", timeout=8, markup=False)
        for number in range(3):
            chat.screen.notify(f"saved {number}", markup=False)
        await pilot.pause()
        assert chat.toasts() == ["a disk is full", "saved 2"]


async def test_a_toast_fits_its_text_and_lasts_long_enough_to_read(tmp_path: Path) -> None:
    chat = ChatApp(tmp_path)
    async with running(chat, toasts=True) as pilot:
        chat.screen.notify("short", markup=False)
        chat.screen.notify("a sentence with so many words that it takes longer", markup=False)
        await pilot.pause()
        await pilot.pause()
        short, long = chat.app.query(Toast)
        assert short.size.width == len("short")
        assert short._timeout < 3 < long._timeout < 5


@pytest.mark.parametrize("size", [(60, 20), (120, 40)])
async def test_the_cure_for_a_missing_network_is_shown_in_full(tmp_path: Path, size: tuple[int, int]) -> None:
    chat = ChatApp(tmp_path)
    entry = catalog().find("smollm2-1.7b-instruct")
    assert entry is not None
    error = _offline(entry, Path("/home/someone/.cache/ttchat-tui/models")).info
    async with running(chat, size, toasts=True) as pilot:
        chat.screen.show_error(
            structs.replace(error, message=f"{error.message} smollm2-135m-instruct stays loaded.")
        )
        await pilot.pause()
        await pilot.pause()
        shown = "\n".join(strip.text for strip in chat.screen._compositor.render_strips())
        assert "/path/to/model" in shown
