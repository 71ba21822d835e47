"""The sampler's preview below the sliders."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest
from textual.pilot import Pilot
from textual.widgets import Input, TextArea
from textual.widgets._collapsible import CollapsibleTitle

from tests.fakes import Gate, Script
from tests.ui.chat_app import ChatApp, reply_ended, running, until
from tests.ui.test_inspector import on_screen, shows
from ttchat_tui.config.ui_state import UiState
from ttchat_tui.domain.model_spec import Capabilities
from ttchat_tui.ui.screens.help import PREVIEW, SAMPLING
from ttchat_tui.ui.screens.inspector import InspectorScreen
from ttchat_tui.ui.widgets.key_line import KeyLine
from ttchat_tui.ui.widgets.sampling.folded_rows import FoldedRows
from ttchat_tui.ui.widgets.sampling.preview_rows import PreviewRows

KNOWN = Script(replies=("One two three four",), logprobs=True)


def row(chat: ChatApp, name: str) -> list[str]:
    """The words of the preview's row with this name."""
    rows = (line.split("│")[-2].strip("▸ ") for line in on_screen(chat).splitlines() if "%" in line)
    return next(each.split()[1:] for each in rows if each.startswith(f"{name} "))


async def command(pilot: Pilot[None], text: str) -> None:
    await pilot.press(*text, "escape", "enter")
    await pilot.pause()


async def test_sliders_redraw_the_last_token_and_nothing_is_generated(tmp_path: Path) -> None:
    gate = Gate()
    chat = ChatApp(tmp_path, Script(replies=KNOWN.replies, logprobs=True, stepped=True), gate)
    async with running(chat, (120, 40)) as pilot:
        assert not chat.session.preview.is_open
        await command(pilot, "/preview")
        await shows(pilot, chat, "The last token of the next")
        assert chat.kept[-1].show_preview
        assert "TTFT" in on_screen(chat), "both keep what matters"
        await pilot.press("ctrl+l", *"count", "enter")
        gate.release(2)
        await shows(pilot, chat, "␣two · token 2")
        await shows(pilot, chat, "kept 3 of 65,536 · 96.9 %")  # temperature 0.6, top-p 0.95
        assert row(chat, "␣two")[-2:] == ["71.0", "%"]
        assert row(chat, "␣other5")[-1] == "top-p"
        await pilot.press("f5", "home")
        await shows(pilot, chat, "kept 1 of 65,536")
        assert row(chat, "␣other0")[-2:] == ["%", "greedy"]
        await pilot.press("d")
        await shows(pilot, chat, "20/20")
        assert "greedy" not in on_screen(chat)
        assert "20 draws · d draws again" in on_screen(chat)
        assert not chat.screen.prompt.text, "d was not typed"
        await pilot.press("right")
        await until(pilot, lambda: "20/20" not in on_screen(chat))
        assert chat.engine.calls.count("generate") == 1
        gate.open()
        await reply_ended(pilot, chat)
        await shows(pilot, chat, "␣four · token 4")
        await pilot.press("f6")
        await shows(pilot, chat, "with the settings of now")
        await shows(pilot, chat, "One · token 1")
        await shows(pilot, chat, "kept 1 of 20 recorded")
        await pilot.press("right", "s")
        await shows(pilot, chat, "␣two · token 2")
        assert isinstance(chat.app.focused, PreviewRows)
        await pilot.press("f4")
        assert not chat.session.preview.is_open, "hidden: the engine sends nothing"
        await pilot.press("f4", "ctrl+l")
        await command(pilot, "/preview")
        assert isinstance(chat.app.focused, PreviewRows), "it is open: the command goes there"
        await pilot.resize_terminal(60, 20)
        await pilot.pause()
        assert isinstance(chat.app.focused, PreviewRows), "the panel floats where it no longer fits"
        assert "d draw  ← fold" in on_screen(chat)
        await pilot.press("d")
        assert not chat.screen.prompt.text
        await pilot.resize_terminal(120, 40)
        await pilot.press("enter")
        await until(pilot, lambda: not chat.session.preview.is_open)
        assert not chat.kept[-1].show_preview
        await pilot.press("enter")
        await until(pilot, lambda: chat.session.preview.is_open)
        await pilot.press("enter")
        await until(pilot, lambda: not chat.session.preview.is_open)
        chat.screen.action_preview()
        await pilot.pause()
        chat.screen.action_preview()
        assert not chat.session.preview.is_open, "where it has the focus, the command folds it"


async def test_an_ended_reply_is_previewed_from_its_recording_over_the_chat_where_it_is_narrow(
    tmp_path: Path,
) -> None:
    chat = ChatApp(tmp_path, KNOWN, ui_state=UiState(show_preview=True))
    async with running(chat, (80, 24)) as pilot:
        await pilot.press(*"count", "enter")
        await reply_ended(pilot, chat)
        assert not chat.session.preview.is_open
        chat.screen.action_preview()
        await shows(pilot, chat, "␣four · token 4")
        await shows(pilot, chat, "of 20 recorded ·")
        await pilot.press("d")
        await shows(pilot, chat, "/20")


@pytest.mark.parametrize("width", [60, 80, 120, 200])
async def test_the_metrics_keep_rates_and_ttft_beside_the_preview_at_every_height(
    tmp_path: Path, width: int
) -> None:
    chat = ChatApp(tmp_path, KNOWN, ui_state=UiState(show_preview=True))
    async with running(chat, (width, 40)) as pilot:
        await pilot.press("f5")
        for height in (20, 24, 31, 40, 48, 55, 56, 64):
            await pilot.resize_terminal(width, height)
            await pilot.pause()
            seen = on_screen(chat)
            assert all(label in seen for label in ("decode ", "mean ", "TTFT ")), (height, seen)
            assert "▾ preview" in seen, (height, seen)
            side = chat.screen.query_one("#side")
            inside = [child.region.height for child in side.children]
            assert sum(inside) == side.size.height, "no row is lost between the two"


async def test_a_constraint_that_begins_with_the_next_reply_is_told_apart(tmp_path: Path) -> None:
    able = Capabilities().sampling | {"constraint"}
    script = Script(replies=KNOWN.replies, logprobs=True, honours=able)
    chat = ChatApp(tmp_path, script, ui_state=UiState(show_preview=True))
    async with running(chat, (120, 40)) as pilot:
        await pilot.press(*"count", "enter")
        await reply_ended(pilot, chat)
        await shows(pilot, chat, "token 4")
        assert "unconstrained" not in on_screen(chat)
        chat.screen.command_constrain("regex [a-z ]+")
        await shows(pilot, chat, "token 4 · unconstrained")
        await pilot.press(*"again", "enter")
        await reply_ended(pilot, chat)
        await until(pilot, lambda: "unconstrained" not in on_screen(chat))
        chat.screen.command_constrain("off")
        await shows(pilot, chat, "token 4 · under regex")


@pytest.mark.parametrize("place", [0, 1])
async def test_right_unfolds_rows_of_the_panel_and_left_folds_them_from_title_or_within(
    tmp_path: Path, place: int
) -> None:
    chat = ChatApp(tmp_path, KNOWN)
    async with running(chat, (120, 40)) as pilot:
        panel = chat.screen.sampling_panel
        assert panel is not None
        fold = [*panel.query(FoldedRows)][place]
        title = fold.query_one(CollapsibleTitle)
        title.focus()
        for key, is_folded in (
            ("left", True),
            ("right", False),
            ("right", False),
            ("left", True),
            ("right", False),
        ):
            await pilot.press(key)
            assert fold.collapsed == is_folded
            assert chat.app.focused is title
        await pilot.press("down")
        assert chat.app.focused is not title
        assert fold in chat.app.focused.ancestors  # type: ignore[union-attr]
        await pilot.press("right")
        assert not fold.collapsed
        if isinstance(chat.app.focused, PreviewRows):  # a slider moves
            await pilot.press("left")
            assert fold.collapsed
            assert chat.app.focused is title
            await pilot.press("enter", "down", "enter")
            assert fold.collapsed, "as enter does"


async def test_the_footer_names_keys_of_each_row_of_the_panel_and_the_help_explains_them(
    tmp_path: Path,
) -> None:
    chat = ChatApp(tmp_path, KNOWN, ui_state=UiState(show_preview=True))
    explained = " ".join(keys.replace(",", "") for keys, _ in (*SAMPLING, *PREVIEW)).split()
    explained += [f"{a} {b}" for a, b in pairwise(explained)]
    async with running(chat, (120, 40)) as pilot:
        panel = chat.screen.sampling_panel
        assert panel is not None
        line, words = chat.screen.query_one(KeyLine), list[str]()
        for row in [each for each in chat.screen.focus_chain if panel in each.ancestors]:
            row.focus()
            await pilot.pause()
            own = [key for key in line._shown() if key.is_own]
            if not isinstance(row, TextArea | Input):  # there one types
                assert {key.description for key in own} - {"row"}, row
                assert [key.label for key in own if key.label not in explained] == []
            words += [key.description for key in own]
        assert {"change", "type", "reset", "choose", "open", "draw", "fold", "unfold", "row"} <= {*words}


async def test_an_engine_without_scores_says_why(tmp_path: Path) -> None:
    chat = ChatApp(tmp_path, ui_state=UiState(show_preview=True))
    async with running(chat, (120, 40)) as pilot:
        await shows(pilot, chat, "The card draws the tokens")


async def test_the_inspector_stays_as_it_opened_when_the_preview_appears_behind_it(tmp_path: Path) -> None:
    """A resize shows the sidebar with the preview, and so does the key that leaves for it while a reply streams."""
    gate = Gate()
    script = Script(replies=KNOWN.replies, logprobs=True, stepped=True)
    chat = ChatApp(tmp_path, script, gate, ui_state=UiState(show_preview=True))
    async with running(chat, (60, 20)) as pilot:
        await pilot.press(*"count", "enter")
        gate.release(2)
        await shows(pilot, chat, "One two")
        assert not chat.session.preview.is_open
        await pilot.press("f6")
        await shows(pilot, chat, "␣two   token 2 of 2")
        inspector = chat.app.screen
        assert isinstance(inspector, InspectorScreen)
        await pilot.resize_terminal(150, 45)
        await until(pilot, lambda: chat.session.preview.is_open)
        await pilot.press("left")
        await shows(pilot, chat, "One   token 1 of 2")
        assert not inspector.query(PreviewRows)
        late = inspector._preview  # its timer ends later than it closes
        await pilot.press("s")
        await until(pilot, lambda: chat.app.screen is chat.screen)
        await shows(pilot, chat, "One · token 1")
        late()
        gate.release(1)
        await shows(pilot, chat, "␣three · token 3")
        gate.open()
        await reply_ended(pilot, chat)
