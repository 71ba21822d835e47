"""The row under the cursor is legible in every list and every theme, and reversed without colours."""

from __future__ import annotations

from pathlib import Path

import rich.color
from rich.color import ColorType
from rich.segment import Segment
from textual.color import Color
from textual.pilot import Pilot
from textual.theme import Theme
from textual.widget import Widget
from textual.widgets import OptionList

from tests.fakes import Gate, Script
from tests.ui.chat_app import ChatApp, reply_ended, running, settle
from tests.ui.contrast import XTERM, ratio
from ttchat_tui.ui.no_color import without_colours
from ttchat_tui.ui.screens.tree_list import TreeList
from ttchat_tui.ui.themes import load_themes
from ttchat_tui.ui.widgets.history.conversation_list import ConversationList
from ttchat_tui.ui.widgets.history.panel import FilterInput
from ttchat_tui.ui.widgets.ledger_rows import LedgerRows
from ttchat_tui.ui.widgets.prompt.completion_list import CompletionList
from ttchat_tui.ui.widgets.prompt_search import PromptSearch
from ttchat_tui.ui.widgets.queue_panel import QueuePanel

ENOUGH = 4.5


async def test_the_row_under_the_cursor_is_legible_in_every_list_and_theme(tmp_path: Path) -> None:
    gate = Gate()
    chat = ChatApp(tmp_path, Script(replies=("an answer",), stepped=True), gate)
    poor: dict[tuple[str, str, str], float | str] = {}
    async with running(chat, (80, 24)) as pilot:
        await chat.screen.query("#side, Transcript > *").remove()  # each theme styles every widget
        lists = await open_every_list(pilot, chat, gate)
        for theme in load_themes([])[0]:
            chat.app.theme = theme.name
            await pilot.pause()
            ground = Color.parse(theme.background or "") if not theme.ansi else paper_of(theme)
            for focused, shown in lists:
                if chat.screen is shown.screen:  # which has several
                    focused.focus()
                    await pilot.pause()
                for text, style, _ in cursor_row(shown):
                    assert style is not None
                    where = (theme.name, type(shown).__name__, text.strip())
                    contrast = ratio(seen(style.color, ink_of(theme)), seen(style.bgcolor, ground))
                    if contrast < ENOUGH:
                        poor[where] = round(contrast, 2)
                    if not without_colours(style, ground).reverse:
                        poor[where] = "not reversed without colours"
    assert poor == {}


async def open_every_list(pilot: Pilot[None], chat: ChatApp, gate: Gate) -> list[tuple[Widget, Widget]]:
    """Every list with a cursor, on screens on top of each other, after what has the focus beside it. Lists of dialogs look
    as the one of the models does."""
    gate.open()
    await pilot.press(*"first", "enter")
    await reply_ended(pilot, chat)
    gate.shut()
    await pilot.press(*"second", "enter", *"waits", "enter", "alt+r")
    await settle(pilot, chat)
    screen = chat.screen
    earlier = screen.query_one(PromptSearch).query_one(OptionList)
    screen.prompt.focus()
    await pilot.press("slash")
    await settle(pilot, chat)
    names, queue = screen.query_one(ConversationList), screen.query_one(QueuePanel)
    lists: list[tuple[Widget, Widget]] = [
        (screen.prompt, earlier),
        (names, names),
        (screen.query_one(FilterInput), names),
        (queue, queue),
        (screen.prompt, screen.query_one(CompletionList)),
    ]
    for action, kind in (("tree", TreeList), ("context", LedgerRows), ("model", OptionList)):
        await screen.run_action(action)
        await settle(pilot, chat)
        shown = chat.app.screen.query_one(kind)
        lists.append((shown, shown))
    return lists


def cursor_row(shown: Widget) -> list[Segment]:
    """The segments of the row under the cursor that have words."""
    if isinstance(shown, OptionList):
        shown.highlighted = shown.highlighted or 0
    place = shown._cursor if isinstance(shown, LedgerRows) else getattr(shown, "highlighted", 0)
    return [each for each in shown.render_line(place - round(shown.scroll_y)) if each.text.strip()]


def paper_of(theme: Theme) -> Color:
    """The background of a terminal for which a theme of its own colours is made."""
    return Color.parse("#000000" if theme.dark else "#ffffff")


def ink_of(theme: Theme) -> Color:
    return Color.parse("#e5e5e5" if theme.dark else "#000000")


def seen(color: rich.color.Color | None, default: Color) -> Color:
    if color is None or color.type is ColorType.DEFAULT:
        return default
    return Color(*color.triplet) if color.triplet else Color.parse(XTERM[color.number or 0])
