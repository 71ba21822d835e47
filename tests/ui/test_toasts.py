"""Toasts: equal messages once, few at a time, and never over the prompt."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, cast

import pytest
from msgspec import structs
from textual.geometry import Region
from textual.notifications import Notification
from textual.widgets._toast import Toast, ToastHolder

from tests.fakes import Gate, Script
from tests.size import sized
from tests.ui.chat_app import ChatApp, reply_ended, running, settle, until
from ttchat_tui.domain.errors import ErrorInfo
from ttchat_tui.models.catalog import catalog
from ttchat_tui.models.fetch import _offline
from ttchat_tui.session.context import BEING_WRITTEN
from ttchat_tui.session.notices import (
    ANSWERED_BY_OTHER,
    NO_MODEL,
    OLDEST,
    SENT_WITH_ITS_SETTINGS,
    STILL_LOADING,
    STOP_IT_THERE,
    answered_elsewhere,
    is_over,
    runs_elsewhere,
    still_running,
)
from ttchat_tui.ui.screens.prompt_actions import faulty
from ttchat_tui.ui.toasts import rows_of
from ttchat_tui.ui.widgets.find_bar import FindBar
from ttchat_tui.ui.widgets.history.panel import HistoryPanel
from ttchat_tui.ui.widgets.key_line import KeyLine
from ttchat_tui.ui.widgets.metrics.panel import MetricsPanel
from ttchat_tui.ui.widgets.prompt.completion_list import CompletionList
from ttchat_tui.ui.widgets.prompt.prompt import Prompt
from ttchat_tui.ui.widgets.queue_panel import QueuePanel
from ttchat_tui.ui.widgets.sampling.panel import SamplingPanel
from ttchat_tui.ui.widgets.status_line import StatusLine
from ttchat_tui.ui.widgets.transcript.message import MessageWidget

if TYPE_CHECKING:
    from ttchat_tui.session import ChatSession

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
        chat.screen.show_updates([])
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


async def test_why_a_command_was_refused_goes_when_the_next_one_runs(tmp_path: Path) -> None:
    chat = ChatApp(tmp_path)
    async with running(chat, toasts=True) as pilot:
        chat.screen.notify("a disk is full", severity="error", timeout=30, markup=False)
        for command in ("/nonsense", "/set bogus=3", "/set temperature=0.5"):
            chat.screen.prompt.clear_draft()
            chat.screen.prompt.text = command
            await pilot.press("enter")
            await pilot.pause()
        assert chat.toasts() == ["a disk is full", "Temperature 0.5."]


async def test_what_a_toast_says_of_now_goes_when_it_is_over(tmp_path: Path) -> None:
    gate = Gate()
    chat = ChatApp(tmp_path, Script(replies=("one two",), stepped=True, stepped_load=True), gate)
    gate.release(len(Script().load_steps))
    async with running(chat, toasts=True) as pilot:
        show, session = chat.screen.show_error, chat.session
        show(ErrorInfo(kind="system", message="A disk is full."))
        chat.screen.show_updates(session.load("scripted"))
        await until(pilot, lambda: chat.host.is_loading)
        show(STILL_LOADING)
        chat.screen.show_updates(session.submit("count"))
        show(still_running("Press Esc."))
        show(answered_elsewhere("“Clocks”", "Wait."))
        show(runs_elsewhere("“Clocks”"))
        await pilot.pause()
        assert len(chat.toasts()) == 3, "few at a time"
        gate.open()
        await until(pilot, lambda: chat.toasts() == ["A disk is full."])


@pytest.mark.parametrize("is_now", [False, True])
def test_each_notice_of_a_state_is_over_with_it(is_now: bool) -> None:
    states = SimpleNamespace(
        is_busy=is_now,
        is_answering=is_now,
        has_model=not is_now,
        engine_state="loading" if is_now else "ready",
        context=SimpleNamespace(is_summarising=is_now),
        other_windows=SimpleNamespace(is_answering=is_now),
    )
    of_states = [
        STILL_LOADING, STOP_IT_THERE, ANSWERED_BY_OTHER, NO_MODEL, BEING_WRITTEN, SENT_WITH_ITS_SETTINGS,
        still_running("Wait."), answered_elsewhere("“A”", "Wait."), runs_elsewhere("“A”"),
    ]  # fmt: skip
    assert [is_over(each, cast("ChatSession", states)) for each in of_states] == [not is_now] * len(of_states)
    lasting = ErrorInfo(kind="disk_full", message="A disk is full.")
    assert not any(is_over(each, cast("ChatSession", states)) for each in (lasting, OLDEST))


def texts_and_toasts(chat: ChatApp) -> tuple[list[Region], list[Region]]:
    texts = [each.region for each in chat.screen.transcript.query(MessageWidget)]
    return texts, [each.region for each in chat.screen.query(Toast)]


@pytest.mark.parametrize("size", [(60, 24), (80, 24), (120, 40), (200, 50)])
async def test_toasts_cover_no_text_where_there_is_room_below_it(
    tmp_path: Path, size: tuple[int, int]
) -> None:
    chat = ChatApp(tmp_path, Script(replies=("Hi.", "word " * 900), context_length=4096))
    async with running(chat, size, toasts=True) as pilot:
        await pilot.press(*"hello", "enter")
        await reply_ended(pilot, chat)
        chat.screen.show_error(ErrorInfo(kind="system", message="A card is hot.", cure=PATH))
        await pilot.pause()
        await pilot.pause()
        texts, (toast,) = texts_and_toasts(chat)
        assert not any(each.overlaps(toast) for each in texts)
        assert toast.bottom <= chat.screen.prompt.region.y
        await pilot.resize_terminal(size[0] - 4, 16)
        await pilot.pause()
        await pilot.pause()
        _, (toast,) = texts_and_toasts(chat)
        assert 0 < toast.bottom <= chat.screen.prompt.region.y, "also where there is less room now"
        await pilot.resize_terminal(*size)
        await pilot.press(*"more", "enter")
        await reply_ended(pilot, chat)
        chat.screen.show_error(ErrorInfo(kind="system", message="A card is cold.", cure=PATH))
        await pilot.pause()
        await pilot.pause()
        _, toasts = texts_and_toasts(chat)
        seen = chat.screen.transcript.region
        assert not any(each.overlaps(seen) for each in toasts), "the text makes room"


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


async def test_a_toast_moves_as_text_prompt_and_terminal_change(tmp_path: Path) -> None:
    chat = ChatApp(tmp_path, Script(replies=("Hi.", "word " * 90)))
    async with running(chat, (100, 24), toasts=True) as pilot:
        await pilot.press(*"hello", "enter")
        await reply_ended(pilot, chat)
        height = chat.screen.transcript.size.height
        chat.screen.notify("Saved.", markup=False, timeout=600)
        await until(pilot, lambda: len(chat.app.query(Toast)) == 1 and not covered(chat))
        low = chat.app.query_one(Toast).region.y
        await pilot.press(*["ctrl+j"] * 6)
        await until(pilot, lambda: chat.app.query_one(Toast).region.y < low and not covered(chat))
        chat.screen.prompt.set_draft("")
        await until(pilot, lambda: chat.app.query_one(Toast).region.y == low)
        await pilot.resize_terminal(60, 12)
        await until(pilot, lambda: chat.app.query_one(Toast).region.y < low and not covered(chat))
        await pilot.resize_terminal(100, 24)
        await until(pilot, lambda: chat.app.query_one(Toast).region.y == low)
        chat.session.submit("more")
        await until(pilot, lambda: chat.screen.transcript.size.height < height and not covered(chat))
        chat.app.remove_toast(chat.app.shown_toasts()[0])
        await until(pilot, lambda: chat.screen.transcript.size.height == height)


def covered(chat: ChatApp) -> list[object]:
    """What is read or operated, and lies under a toast."""
    screen = chat.app.screen
    things = {
        each: each.region for kind in ("DialogBox", "CommandPalette > *") for each in screen.query(kind)
    }
    if screen is chat.screen:
        chat_only = (
            StatusLine,
            KeyLine,
            Prompt,
            CompletionList,
            HistoryPanel,
            SamplingPanel,
            MetricsPanel,
            QueuePanel,
            FindBar,
        )
        things |= {each: each.region for kind in chat_only for each in screen.query(kind) if each.display}
        seen = chat.screen.transcript.region
        texts = list(screen.query(MessageWidget))
        things |= {each: each.region.intersection(seen) for each in texts}
        greeting = chat.screen.transcript._placeholder
        things |= {greeting: greeting.content_region.intersection(seen)} if greeting.display else {}
    seen_widgets = screen._compositor.visible_widgets
    toasts = [
        Region.intersection(*seen_widgets[each]) for each in screen.query(Toast) if each in seen_widgets
    ]
    if not any(each.area for each in toasts):
        return ["the toasts themselves, which are not seen"]
    return [
        (thing, region)
        for thing, region in things.items()
        if region.area and any(toast.overlaps(region) for toast in toasts)
    ]


PLACES: dict[str, str] = {
    "the greeting": "",
    "a short chat": "h i enter",
    "a chat that fills the screen": "l o n g enter",
    "a chat that is read above its end": "l o n g enter alt+k",
    "the values": "f5",
    "the list": "f3",
    "completions": "/ c",
    "a long draft": "a ctrl+j a ctrl+j a ctrl+j a ctrl+j a ctrl+j a",
    "the help": "f1",
    "a dialog": "h i enter f2",
    "the inspector": "h i enter f6",
    "the ledger": "h i enter alt+c",
    "the tree": "h i enter alt+t",
    "the timeline": "h i enter f8",
    "the log": "/ l o g escape enter",
    "the palette": "ctrl+p",
    "the palette with words": "ctrl+p a",
    "the search": "h i enter alt+s",
    "the words to find": "h i enter alt+slash",
    "the models": "ctrl+o",
    "saving": "h i enter ctrl+s",
    "the themes": "/ t h e m e escape enter",
}


@pytest.mark.parametrize("size", sized([(60, 20), (120, 40)], [(60, 20), (80, 24), (120, 40), (200, 50)]))
@pytest.mark.parametrize("place", PLACES)
async def test_toasts_cover_nothing_that_is_read_or_operated(
    tmp_path: Path, place: str, size: tuple[int, int]
) -> None:
    long = " ".join(f"word{number}" for number in range(900))
    script = Script(replies=("Hi.",), logprobs=True, batch_sizes=(1, 4), context_length=8192)
    chat = ChatApp(tmp_path, script)
    chat.engine.script = structs.replace(script, replies=(long,)) if "l o n g" in PLACES[place] else script
    async with running(chat, size, toasts=True) as pilot:
        for key in PLACES[place].split():
            await pilot.press(key)
            if key == "enter":
                await reply_ended(pilot, chat)
        await until(pilot, lambda: not chat.session.is_busy)
        await settle(pilot, chat)
        chat.app.drop_stale_toasts(with_errors=True)
        before = chat.screen.transcript.size
        for number in range(1, 5):
            words = f"Card {number} is hot. {PATH if number % 2 else ''}"
            chat.screen.notify(words, severity="error", timeout=600, markup=False)
            await until(pilot, lambda: chat.app.screen.query(Toast) and not covered(chat))
            await settle(pilot, chat)
            assert not covered(chat), "it stays so"
        chat.app.drop_stale_toasts(with_errors=True)
        await until(pilot, lambda: chat.screen.transcript.size == before)


@pytest.mark.parametrize("cells", [-3, 0, 1])
def test_the_rows_of_toasts_are_known_on_a_screen_without_width(cells: int) -> None:
    assert rows_of([Notification("Saved.")], cells) >= 2


@pytest.mark.parametrize("size", [(120, 40), (200, 50)])
@pytest.mark.parametrize("command", ["/import", "/rename", "/tag"])
async def test_a_toast_stays_where_it_is_while_a_small_dialog_opens(
    tmp_path: Path, command: str, size: tuple[int, int]
) -> None:
    chat = ChatApp(tmp_path, Script(replies=("Hi.",)))
    async with running(chat, size, toasts=True) as pilot:
        await pilot.press(*"hello", "enter")
        await reply_ended(pilot, chat)
        chat.screen.notify(f"Card 1 is hot. {PATH}", severity="error", timeout=600, markup=False)
        await until(pilot, lambda: len(chat.screen.query(Toast)) == 1 and not covered(chat))
        place, prompt = chat.app.query_one(Toast).region, chat.screen.prompt.region
        chat.screen.prompt.set_draft(command)
        chat.screen.prompt.action_send()
        await until(pilot, lambda: chat.app.screen is not chat.screen and shown_on(chat) == [chat.app.screen])
        await settle(pilot, chat)
        toast = chat.app.screen.query_one(Toast).region
        assert toast == place
        assert not toast.overlaps(prompt)
        assert not covered(chat)
