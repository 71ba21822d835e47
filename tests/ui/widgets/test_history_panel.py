"""The list of conversations: grouped by day, filtered, rebuilt only on changes; requests are messages."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len
from textual.app import App
from textual.pilot import Pilot
from textual.style import Style

from tests.ui.shell_app import ShellApp, screen_text
from ttchat_tui.domain.conversation import ListedConversation
from ttchat_tui.domain.tags import tags_in
from ttchat_tui.ui.widgets.cells import cut_to_cells, pad_to_cells
from ttchat_tui.ui.widgets.history.groups import GroupRow, age_of, matching, rows_of
from ttchat_tui.ui.widgets.history.panel import FilterInput, HistoryPanel
from ttchat_tui.ui.widgets.history.row_line import RowState, row_line

NOW = datetime(2026, 3, 18, 15, 0).timestamp()
HOUR, DAY = 3600, 86_400

ITEMS = (
    ListedConversation(1, "Mesh devices", NOW - 120),
    ListedConversation(2, "Clock repair", NOW - HOUR),
    ListedConversation(3, "Rust lifetimes and how the borrow checker sees them", NOW - DAY),
    ListedConversation(4, "Grocery [b]haiku[/b]", NOW - 3 * DAY),
    ListedConversation(5, "An old one", NOW - 40 * DAY),
)

Act = Callable[[Pilot[None], HistoryPanel], Awaitable[None]]


async def with_panel(
    act: Act,
    items: tuple[ListedConversation, ...] = ITEMS,
    current: int | None = 1,
    size: tuple[int, int] = (40, 24),
) -> ShellApp:
    panel = HistoryPanel(clock=lambda: NOW)
    app = ShellApp(panel)
    async with app.run_test(size=size) as pilot:
        panel.show(items, current)
        panel.conversations.focus()
        await pilot.pause()
        await act(pilot, panel)
        await pilot.pause()
    return app


def lines(app: App[None]) -> list[str]:
    return [line.strip("│ ") for line in screen_text(app)]


async def test_the_list_is_drawn_again_when_an_age_a_day_or_a_conversation_is_another() -> None:
    times = [NOW]
    panel = HistoryPanel(clock=lambda: times[-1])
    app = ShellApp(panel)
    async with app.run_test(size=(40, 24)) as pilot:
        panel.show(ITEMS, 1)
        await pilot.pause()
        drawn: list[float] = []
        panel.conversations.show_rows = lambda *_: drawn.append(times[-1])  # type: ignore[method-assign]
        for later in (1, 59, 61, 62, 9 * HOUR, 9 * HOUR + 1):
            times.append(NOW + later)
            panel.follow(ITEMS)
        assert drawn == [NOW + 61, NOW + 9 * HOUR]
        panel.follow(ITEMS[1:])
        assert len(drawn) == 3


# --- groups and ages


def test_conversations_are_grouped_by_calendar_day_newest_first() -> None:
    rows = rows_of(ITEMS, NOW)
    assert [row.title if isinstance(row, GroupRow) else row.id for row in rows] == [
        "Today", 1, 2, "Yesterday", 3, "This week", 4, "Older", 5,
    ]  # fmt: skip


def test_yesterday_begins_at_midnight_not_24_hours_ago() -> None:
    just_after_midnight = datetime(2026, 3, 18, 0, 5).timestamp()
    rows = rows_of([ListedConversation(1, "late", just_after_midnight - 600)], just_after_midnight)
    assert rows[0] == GroupRow("Yesterday")


@pytest.mark.parametrize(
    ("seconds", "age"),
    [
        (-5, "now"), (59, "now"), (60, "1m"), (3599, "59m"), (3600, "1h"), (DAY - 1, "23h"), (DAY, "1d"),
        (13 * DAY, "13d"), (14 * DAY, "2w"), (364 * DAY, "52w"), (800 * DAY, "2y"),
    ],
)  # fmt: skip
def test_ages_are_short_words(seconds: float, age: str) -> None:
    assert age_of(NOW - seconds, NOW) == age


@given(st.floats(min_value=0, max_value=3e9))
def test_no_age_is_longer_than_four_characters(seconds: float) -> None:
    assert len(age_of(0, seconds)) <= 4


def test_the_filter_wants_every_word_in_any_order_and_case() -> None:
    assert [item.id for item in matching(ITEMS, "BORROW rust")] == [3]
    assert matching(ITEMS, "  ") == list(ITEMS)
    assert matching(ITEMS, "rust haiku") == []


@pytest.mark.parametrize(
    "typed", ["tag:straße", "TAG:#Straße", "tag:\u00fcber", "tag:u\u0308ber", "tag:str tag:\u00fcb"]
)
def test_the_filter_reads_a_tag_as_it_was_given(typed: str) -> None:
    tagged = ListedConversation(1, "One", 0.0, tags=tags_in("Straße u\u0308ber"))
    assert matching([tagged], typed) == [tagged]
    assert matching([tagged], f"{typed}x") == []


@given(st.text(max_size=30), st.integers(0, 40))
def test_a_cut_title_fills_its_cells_exactly(text: str, width: int) -> None:
    assert cell_len(cut_to_cells(text, width)) <= width
    assert cell_len(pad_to_cells(cut_to_cells(text, width), width)) == width


# --- what is shown


async def test_titles_are_plain_text_with_ages_at_the_right_and_long_ones_cut() -> None:
    async def act(pilot: Pilot[None], panel: HistoryPanel) -> None:
        shown = lines(pilot.app)
        assert shown[shown.index("Today") + 1].split() == ["▌", "Mesh", "devices", "2m"]
        assert any("Grocery [b]hai" in line for line in shown)
        cut = next(line for line in shown if line.startswith("Rust"))
        assert cut.endswith("1d")
        assert "…" in cut

    await with_panel(act)


async def test_only_the_open_conversation_is_marked() -> None:
    async def act(pilot: Pilot[None], panel: HistoryPanel) -> None:
        assert [line[2:].split("  ")[0] for line in lines(pilot.app) if line.startswith("▌")] == [
            "Clock repair"
        ]

    await with_panel(act, current=2)


async def test_control_characters_in_a_title_are_shown_not_obeyed() -> None:
    async def act(pilot: Pilot[None], panel: HistoryPanel) -> None:
        text = "\n".join(screen_text(pilot.app))
        assert "\x1b" not in text
        assert "␛]0;owned" in text

    await with_panel(act, (ListedConversation(1, "\x1b]0;owned\x07 two\nlines", NOW),))


async def test_an_empty_list_and_a_filter_without_matches_have_their_own_texts() -> None:
    async def act(pilot: Pilot[None], panel: HistoryPanel) -> None:
        assert any("No conversations yet" in line for line in lines(pilot.app))
        panel.show(ITEMS, None)
        panel.filter_input.value = "no such title"
        await pilot.pause()
        assert any("No title matches" in line for line in lines(pilot.app))

    await with_panel(act, ())


async def test_highlight_and_scroll_stay_when_the_list_changes() -> None:
    many = tuple(
        ListedConversation(number, f"Conversation {number}", NOW - number) for number in range(1, 200)
    )

    async def act(pilot: Pilot[None], panel: HistoryPanel) -> None:
        await pilot.press(*["pagedown"] * 3, "down")
        chosen, scroll = panel.conversations.highlighted_id, panel.conversations.scroll_y
        panel.show((*many, ListedConversation(500, "At the end", NOW - 1000)), 1)
        await pilot.pause()
        assert (panel.conversations.highlighted_id, panel.conversations.scroll_y) == (chosen, scroll)
        assert scroll > 0
        assert chosen is not None

    await with_panel(act, many)


async def test_a_conversation_that_is_opened_is_highlighted_and_one_that_stays_open_is_not() -> None:
    async def act(pilot: Pilot[None], panel: HistoryPanel) -> None:
        panel.show(ITEMS, 3)
        assert panel.conversations.highlighted_id == 3
        await pilot.press("down")
        panel.show(ITEMS[:4], 3)
        assert panel.conversations.highlighted_id == 4

    await with_panel(act)


def test_tags_that_have_no_room_are_counted() -> None:
    tagged = ListedConversation(1, "A title that needs all of the room", NOW, tags=("animals", "plants"))
    state = RowState(False, False, False, False, "")
    style = Style()
    shown = {
        width: "".join(text for text, _ in row_line(tagged, state, NOW, width, lambda *_: style))
        for width in (22, 38, 60)
    }
    assert [("#2" in line, "#animals" in line, "#plants" in line) for line in shown.values()] == [
        (True, False, False),
        (False, True, False),
        (False, True, True),
    ]
    assert {width: cell_len(line) for width, line in shown.items()} == {22: 22, 38: 38, 60: 60}


async def test_when_the_highlighted_one_goes_its_neighbour_is_highlighted() -> None:
    async def act(pilot: Pilot[None], panel: HistoryPanel) -> None:
        await pilot.press("down", "down")
        assert panel.conversations.highlighted_id == 3
        panel.show(tuple(item for item in ITEMS if item.id != 3), 1)
        await pilot.pause()
        assert panel.conversations.highlighted_id in {2, 4}

    await with_panel(act)


async def test_two_thousand_conversations_are_rows_and_no_widgets() -> None:
    many = tuple(
        ListedConversation(number, f"Conversation number {number}", NOW - 60 * number)
        for number in range(2_000)
    )

    async def act(pilot: Pilot[None], panel: HistoryPanel) -> None:
        widgets = len(panel.query("*"))
        panel.show(many, 7)
        await pilot.pause()
        panel.filter_input.value = "number 19"
        await pilot.pause()
        assert len(panel.query("*")) == widgets
        assert len(panel.conversations.rows) > 100

    await with_panel(act, ())


# --- keys and mouse


@pytest.mark.parametrize(
    ("keys", "kind", "id"),
    [
        (["enter"], HistoryPanel.ConversationChosen, 1),
        (["down", "enter"], HistoryPanel.ConversationChosen, 2),
        (["up", "enter"], HistoryPanel.ConversationChosen, 5),
        (["pagedown", "pageup", "enter"], HistoryPanel.ConversationChosen, 1),
        (["end", "home", "enter"], HistoryPanel.ConversationChosen, 1),
        (["down", "down", "f2"], HistoryPanel.RenameRequested, 3),
        (["f2"], HistoryPanel.RenameRequested, 1),
    ],
)
async def test_keys_in_the_list_ask_for_the_highlighted_conversation(
    keys: list[str], kind: type, id: int
) -> None:
    async def act(pilot: Pilot[None], panel: HistoryPanel) -> None:
        await pilot.press(*keys)

    assert [message.id for message in (await with_panel(act)).of(kind)] == [id]


@pytest.mark.parametrize(
    ("keys", "ids"),
    [
        (["delete", "delete"], (1,)),
        (["delete", "down", "delete", "delete"], (2,)),
        (["space", "space", "delete", "delete"], (1, 2)),
        (["space", "down", "space", "delete", "delete"], (1, 3)),
        (["space", "up", "space", "delete", "delete"], (2,)),  # chosen, and no longer
        (["shift+down", "shift+down", "delete", "delete"], (1, 2, 3)),
        (["end", "shift+up", "delete", "delete"], (4, 5)),
        (["shift+up", "delete", "delete"], (1,)),
        (["asterisk", "delete", "delete"], (1, 2, 3, 4, 5)),
        (["asterisk", "asterisk", "delete", "delete"], (1,)),
        (["space", "escape", "delete", "delete"], (2,)),
    ],
)
async def test_delete_is_for_the_chosen_conversations_or_the_highlighted_one(
    keys: list[str], ids: tuple[int, ...]
) -> None:
    async def act(pilot: Pilot[None], panel: HistoryPanel) -> None:
        await pilot.press(*keys)

    assert [message.ids for message in (await with_panel(act)).of(HistoryPanel.DeleteRequested)] == [ids]


async def test_what_the_filter_hides_is_no_longer_chosen() -> None:
    async def act(pilot: Pilot[None], panel: HistoryPanel) -> None:
        await pilot.press("asterisk")
        assert panel.border_subtitle == "5 chosen"
        panel.filter_input.value = "r"
        await pilot.pause()
        assert panel.border_subtitle == "3 chosen"
        assert sum(line.startswith("◆") for line in lines(pilot.app)) == 3
        await pilot.press("delete")
        assert panel.border_subtitle == "again deletes 3"
        await pilot.press("down")
        assert panel.border_subtitle == "3 chosen"

    await with_panel(act)


@pytest.mark.parametrize(
    "keys", [["delete"], ["delete", "down", "delete"], ["delete", "x", "delete"], [*"Idrn/ added"]]
)
async def test_neither_a_letter_nor_one_press_of_delete_does_anything(keys: list[str]) -> None:
    async def act(pilot: Pilot[None], panel: HistoryPanel) -> None:
        await pilot.press(*keys)

    app = await with_panel(act)
    for kind in (HistoryPanel.DeleteRequested, HistoryPanel.RenameRequested, HistoryPanel.NewRequested):
        assert app.of(kind) == []


async def test_the_first_press_of_delete_asks_and_another_key_cancels() -> None:
    async def act(pilot: Pilot[None], panel: HistoryPanel) -> None:
        await pilot.press("delete")
        assert panel.border_subtitle == "press delete again"
        await pilot.press("down")
        assert panel.border_subtitle == ""

    await with_panel(act)


async def test_a_filter_that_would_hide_the_opened_conversation_is_cleared() -> None:
    async def act(pilot: Pilot[None], panel: HistoryPanel) -> None:
        panel.filter_input.value = "haiku"
        await pilot.pause()
        panel.show(ITEMS, 4)
        assert panel.filter_input.value == "haiku"
        panel.show(ITEMS, 1)
        assert panel.filter_input.value == ""

    await with_panel(act)


async def test_a_click_on_the_plus_asks_for_a_new_conversation() -> None:
    async def act(pilot: Pilot[None], panel: HistoryPanel) -> None:
        await pilot.click("NewButton")

    assert len((await with_panel(act)).of(HistoryPanel.NewRequested)) == 1


async def test_a_click_opens_a_conversation_and_a_header_cannot_be_chosen() -> None:
    async def act(pilot: Pilot[None], panel: HistoryPanel) -> None:
        await pilot.click("ConversationList", offset=(5, 0))
        await pilot.click("ConversationList", offset=(5, 2))

    assert [message.id for message in (await with_panel(act)).of(HistoryPanel.ConversationChosen)] == [2]


async def test_the_filter_filters_enter_opens_the_hit_and_escape_empties_it() -> None:
    async def act(pilot: Pilot[None], panel: HistoryPanel) -> None:
        panel.focus_filter()
        await pilot.press(*"haiku")
        assert len(panel.conversations.rows) == 2
        await pilot.press("enter", "escape")
        assert panel.filter_input.value == ""
        assert len(panel.conversations.rows) == 9
        await pilot.press("down")
        assert pilot.app.focused is panel.conversations

    app = await with_panel(act)
    assert [message.id for message in app.of(HistoryPanel.ConversationChosen)] == [4]
    assert len(app.of(HistoryPanel.FilterClosed)) == 1


async def test_letters_in_the_filter_are_text_and_no_commands() -> None:
    async def act(pilot: Pilot[None], panel: HistoryPanel) -> None:
        panel.focus_filter()
        await pilot.press("n", "d", "r")
        assert panel.query_one(FilterInput).value == "ndr"

    app = await with_panel(act)
    assert app.of(HistoryPanel.NewRequested) + app.of(HistoryPanel.DeleteRequested) == []


async def test_keys_on_an_empty_list_ask_for_nothing() -> None:
    async def act(pilot: Pilot[None], panel: HistoryPanel) -> None:
        panel.show((), None)
        await pilot.pause()
        panel.conversations.action_delete()

    assert (await with_panel(act)).of(HistoryPanel.DeleteRequested) == []


async def test_the_open_conversation_is_highlighted_while_the_keys_go_elsewhere() -> None:
    panel = HistoryPanel(clock=lambda: NOW)
    async with ShellApp(panel).run_test(size=(40, 24)) as pilot:
        panel.show(ITEMS[1:], 2)
        await pilot.pause()
        panel.app.set_focus(None)
        panel.show(ITEMS, 1)
        assert panel.conversations.highlighted_id == 1
        panel.show(ITEMS, 3)
        assert panel.conversations.highlighted_id == 3


async def test_enter_in_the_filter_opens_the_newest_that_fits() -> None:
    async def act(pilot: Pilot[None], panel: HistoryPanel) -> None:
        panel.focus_filter()
        await pilot.press("e")
        assert panel.conversations.highlighted_id == 1
        await pilot.press("r")
        assert panel.conversations.highlighted_id == 3

    await with_panel(act, current=5)
