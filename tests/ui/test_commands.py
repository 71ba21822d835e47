"""One table of actions: bindings, palette, slash commands, help and docs agree, and bad keys are found before the start."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from textual.app import App
from textual.binding import BindingsMap
from textual.command import CommandPalette
from textual.containers import VerticalScroll
from textual.content import Content
from textual.pilot import Pilot
from textual.screen import Screen
from textual.widgets import Footer, OptionList, Static

from tests.ui.chat_app import until
from tests.ui.shell_app import screen_text
from ttchat_tui.config.schema import UiSettings
from ttchat_tui.domain.conversation import joined
from ttchat_tui.domain.tags import tags_in
from ttchat_tui.ui import style_sheets
from ttchat_tui.ui.commands import BY_NAME, TABLE, bindings, grouped, keys_of
from ttchat_tui.ui.editing_keys import TAKEN, with_moved_keys
from ttchat_tui.ui.key_check import check_keys
from ttchat_tui.ui.keys import canonical_key, editing_keys, is_known, key_label
from ttchat_tui.ui.palette import ActionProvider
from ttchat_tui.ui.screens.chat import ChatScreen
from ttchat_tui.ui.screens.help import KEY_WIDTH, HelpScreen, two_columns
from ttchat_tui.ui.slash import (
    PlainText,
    SlashCommand,
    SlashError,
    as_typed,
    parse_below,
    parse_submission,
)
from ttchat_tui.ui.widgets.prompt.prompt import Prompt

EXAMPLE = Path(__file__).parents[2] / "config.example.toml"

# --- the table


def test_names_and_slash_commands_are_unique_and_well_formed() -> None:
    slashes = [action.slash for action in TABLE if action.slash]
    assert len(BY_NAME) == len(TABLE)
    assert len(set(slashes)) == len(slashes)
    assert all(re.fullmatch(r"/[a-z][a-z-]*", slash) for slash in slashes)
    assert all(action.name.isidentifier() for action in TABLE)


def test_every_action_of_the_screen_can_be_reached_by_key_or_slash_command() -> None:
    assert [action.name for action in TABLE if not action.keys and not action.slash] == []


def test_the_screen_has_a_method_for_every_action_and_one_for_every_argument() -> None:
    names = {action.name for action in TABLE if action.scope != "prompt"}
    assert {name for name in names if not hasattr(ChatScreen, f"action_{name}")} == set()
    with_argument = {action.name for action in TABLE if action.argument}
    assert {
        name.removeprefix("command_") for name in dir(ChatScreen) if name.startswith("command_")
    } == with_argument


def test_the_help_of_every_command_that_takes_tags_says_what_separates_them() -> None:
    takes_tags = [action for action in TABLE if action.argument == "tags"]
    assert {action.slash for action in takes_tags} == {"/tag", "/untag"}
    assert all("with blanks or commas between" in action.help for action in takes_tags)
    assert tags_in("work, deep sea") == ("work", "deep", "sea")


def test_the_default_keys_have_no_conflicts_and_are_left_to_us_by_terminals_and_editor() -> None:
    assert check_keys({}) == []
    assert check_keys({action.name: action.keys for action in TABLE if action.scope != "prompt"}) == []


def test_no_default_key_of_the_screen_edits_text_or_is_tmuxs_or_screens_prefix() -> None:
    taken = editing_keys() | {"ctrl+b", "ctrl+a", "f10", "f11"}
    used = {key for action in TABLE if action.scope == "screen" for key in keys_of(action, {})}
    assert used & taken == set()


def test_the_keys_the_issue_names_are_the_defaults() -> None:
    wanted = {"stop": "escape", "new": "ctrl+n", "regenerate": "ctrl+r", "save": "ctrl+s", "quit": "ctrl+q"}
    wanted |= {"help": "f1", "palette": "ctrl+p", "send": "enter"}
    assert {name: keys_of(BY_NAME[name], {})[0] for name in wanted} == wanted


def test_groups_hold_every_action_once() -> None:
    assert sorted(action.name for _, actions in grouped(TABLE) for action in actions) == sorted(BY_NAME)


# --- keys from config


def test_an_override_replaces_the_defaults_and_none_takes_the_key_away() -> None:
    made = BindingsMap(bindings(TABLE, {"new": "Ctrl-Y, F7", "help": "none"})).key_to_bindings
    assert {"ctrl+y", "f7"} <= set(made)
    assert not {"ctrl+n", "f1"} & set(made)


def test_only_help_and_quit_work_in_dialogs() -> None:
    of_app = [(binding.action, binding.priority) for binding in bindings(TABLE, {}, "app")]
    assert of_app == [("help", True), ("quit", True)]
    assert not any(binding.priority for binding in bindings(TABLE, {}))


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        ({"newx": "ctrl+n"}, "keys.newx: unknown action; did you mean 'new'?"),
        (
            {"new_conversation": "ctrl+n"},
            "keys.new_conversation: unknown action; did you mean 'new'?",
        ),
        ({"next-conversaton": "f6"}, "did you mean 'next_conversation'?"),
        ({"explode": "f6"}, "unknown action; known actions: send, newline, stop, "),
        ({"new": "ctrl+r"}, "keys: ctrl+r is bound to regenerate and new"),
        ({"new": "x"}, "keys.new: x would be typed"),
        ({"new": "shift+?"}, "would be typed"),
        ({"new": "ctrl+i"}, "keys.new: ctrl+i is the same as tab"),
        ({"new": "ctrl+w"}, "keys.new: ctrl+w edits the prompt's text"),
        ({"new": "ctrl+c"}, "keys.new: ctrl+c copies the selection"),
        ({"new": "ctrl+nn"}, "keys.new: ctrl+nn is not a key"),
        ({"new": "hyper+n"}, "keys.new: hyper+n is not a key"),
        ({"new": "enter"}, "keys: enter is bound to send and new"),
        ({"send": "ctrl+y"}, "write ui.submit_keys"),
    ],
)
def test_a_bad_key_is_one_line_with_the_cure(overrides: dict[str, str], said: str) -> None:
    faults = check_keys(overrides)
    assert any(said in fault for fault in faults), faults
    assert not any("\n" in fault for fault in faults)


def test_the_prompts_own_keys_take_part_in_the_conflict_check() -> None:
    assert check_keys({}, {"ui.submit_keys": ["ctrl+n"]}) == [
        "keys: ctrl+n is bound to the prompt and new; change one of them"
    ]
    assert check_keys({"new": "enter"}, {"ui.submit_keys": ["enter"]}) != []


@pytest.mark.parametrize("setting", ["ui.submit_keys", "ui.newline_keys"])
@pytest.mark.parametrize(
    ("key", "said"),
    [
        *((each, f"{each} would be typed into the prompt; add ctrl or alt") for each in "azA0?/"),
        ("shift+a", "shift+a would be typed into the prompt; add ctrl or alt"),
        ("space", "space would be typed into the prompt; add ctrl or alt"),
        ("left", "← edits the prompt's text; choose another"),
        ("backspace", "backspace edits the prompt's text; choose another"),
        ("ctrl+m", "ctrl+m is the same as enter in most terminals; choose another"),
        ("tab", "tab moves the focus; choose another"),
        ("entr", "entr is not a key; write for example ctrl+n, alt+up or f5"),
    ],
)
def test_a_key_that_the_prompt_cannot_use_is_refused(setting: str, key: str, said: str) -> None:
    fault, *_ = check_keys({}, {setting: ["enter", key]})
    assert fault.lower() == f"{setting}: {said}".lower()


def test_the_prompts_default_keys_are_valid_in_every_way_of_editing() -> None:
    ui = UiSettings()
    for style, taken in TAKEN.items():
        keys = {"ui.submit_keys": ui.submit_keys, "ui.newline_keys": ui.newline_keys}
        assert check_keys(with_moved_keys({}, style), keys, taken) == []


def test_swapping_two_keys_is_no_conflict() -> None:
    assert check_keys({"new": "ctrl+r", "regenerate": "ctrl+n"}) == []


@pytest.mark.parametrize(
    ("spelled", "key"),
    [("Ctrl+N", "ctrl+n"), ("ctrl-shift-a", "ctrl+shift+a"), ("shift+alt+up", "alt+shift+up"), ("Esc", "escape"),
     ("PgUp", "pageup"), ("F5", "f5"), ("ctrl+/", "ctrl+slash"), ("option+down", "alt+down")],
)  # fmt: skip
def test_keys_may_be_spelled_as_people_do(spelled: str, key: str) -> None:
    assert canonical_key(spelled) == key
    assert is_known(key)


@given(st.text(max_size=12))
def test_the_spelling_of_a_key_settles_at_once(spelled: str) -> None:
    assert canonical_key(canonical_key(spelled)) == canonical_key(spelled)


def test_labels_are_what_people_read_on_their_keyboards() -> None:
    labels = [key_label(key) for key in ("escape", "f1", "alt+down", "ctrl+n")]
    assert labels == ["esc", "F1", "alt+↓", "ctrl+n"]


# --- slash commands


@pytest.mark.parametrize(
    ("typed", "name", "argument"),
    [
        ("/new", "new", ""),
        (" /NEW ", "new", ""),
        ("/save my notes.md", "save", "my notes.md"),
        ("/code 2", "copy_code", "2"),
    ],
)
def test_a_slash_command_is_an_action_and_its_argument(typed: str, name: str, argument: str) -> None:
    assert parse_submission(typed) == SlashCommand(BY_NAME[name], argument)


@pytest.mark.parametrize(
    "text",
    [
        "hello",
        "/usr/bin/env is what?",
        "/ alone",
        "/save a\nb",
        "see /new",
        "/5 of them",
        "// so it is",
        "//new\nint b;",
    ],
)
def test_text_that_only_looks_like_a_command_is_sent_as_it_is(text: str) -> None:
    assert parse_submission(text) == PlainText(text)


def test_two_slashes_send_one() -> None:
    assert parse_submission("//new is a command") == PlainText("/new is a command")


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ("/newx", "Did you mean /new?"),
        ("/sett", "Did you mean /set?"),
        ("/conti", "Did you mean /continue?"),
        ("/temperqture", "Did you mean /set temperature=VALUE?"),
        ("/top-p 0.9", "Did you mean /set top-p=VALUE?"),
        ("/bogus", "F1 lists"),
        ("/clear", "F1 lists"),
        ("/xyzzy", "F1 lists"),
        ("/undo it", "takes no argument"),
    ],
)
def test_the_error_for_an_unknown_command_explains_how_to_send_it(typed: str, said: str) -> None:
    result = parse_submission(typed)
    assert isinstance(result, SlashError)
    assert said in result.sentence
    assert "//" in result.sentence


@given(st.text())
def test_no_text_is_lost_or_changed_but_for_the_escape(text: str) -> None:
    result = parse_submission(text)
    if isinstance(result, PlainText):
        assert result.text == text or "/" + result.text.lstrip() == text.lstrip()


MESSAGES = st.text() | st.from_regex(r" ?/{0,3} ?(new|undo it|clear|usr/bin|x)?(\nb)?", fullmatch=True)


@given(MESSAGES)
def test_every_message_can_be_typed_again(text: str) -> None:
    assert parse_submission(as_typed(text)) == PlainText(text)


@given(MESSAGES, MESSAGES.filter(str.strip))
def test_what_is_typed_below_a_returned_message_is_parsed_as_it_is_alone(returned: str, typed: str) -> None:
    alone, below = parse_submission(typed), parse_below(as_typed(returned), typed)
    if isinstance(alone, PlainText):
        assert below == PlainText(joined(returned, alone.text))
    else:
        assert below == alone


# --- palette, footer and help on a screen


class ScreenOfCommands(Screen[None]):
    BINDINGS = bindings(TABLE, {})
    key_overrides = {"new": "ctrl+y"}

    def __init__(self) -> None:
        super().__init__()
        self.done: list[str] = []

    def compose(self):  # type: ignore[no-untyped-def]
        yield Prompt()
        yield Footer(show_command_palette=False)

    def action_new(self) -> None:
        self.done.append("new")

    def action_quit(self) -> None:
        self.done.append("quit")

    def action_regenerate(self) -> None:
        self.done.append("regenerate")

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        return None if action == "regenerate" else True


class AppOfCommands(App[object]):
    COMMANDS = {ActionProvider}
    CSS_PATH = [*style_sheets.FIRST, *style_sheets.LATER]

    def get_default_screen(self) -> ScreenOfCommands:
        return ScreenOfCommands()


async def palette_titles(app: App[object], pilot: Pilot[object], typed: str) -> list[str]:
    app.action_command_palette()
    await pilot.pause()
    await pilot.press(*typed)
    await app.workers.wait_for_complete()
    await pilot.pause()
    return [str(option.hit.text) for option in app.screen.query_one(OptionList).options]  # type: ignore[attr-defined]


async def test_the_palette_offers_what_the_screen_can_do_now_and_shows_its_keys() -> None:
    app = AppOfCommands()
    async with app.run_test(size=(80, 24)) as pilot:
        assert await palette_titles(app, pilot, "") == ["New conversation", "Quit"]
        assert any("New conversation  ctrl+y" in line for line in screen_text(app))


async def test_the_palette_searches_titles_slash_commands_and_names_and_runs_the_hit() -> None:
    app = AppOfCommands()
    async with app.run_test(size=(80, 24)) as pilot:
        chat = app.screen
        assert (await palette_titles(app, pilot, "conversa"))[0] == "New conversation"
        await pilot.press("down", "enter")
        await pilot.pause()
        assert isinstance(chat, ScreenOfCommands)
        assert not CommandPalette.is_open(app)
        assert chat.done == ["new"]


async def test_the_footer_shows_the_prompts_keys_and_the_screens() -> None:
    app = AppOfCommands()
    async with app.run_test(size=(100, 24)) as pilot:
        app.screen.query_one(Prompt).focus()
        await pilot.pause()
        footer = screen_text(app)[-1]
        assert re.search(r"enter +send +ctrl\+j +newline +esc +stop +ctrl\+n +new", footer)


async def test_the_help_lists_every_action_with_its_keys_and_closes() -> None:
    app = AppOfCommands()
    async with app.run_test(size=(84, 140)) as pilot:
        app.push_screen(HelpScreen({"help": "f12"}))
        await pilot.pause()
        shown = "\n".join(screen_text(app))
        assert [action.title for action in TABLE if action.title not in shown] == []
        assert re.search(r"F12, /help +Help", shown)
        await pilot.press("escape")
        assert isinstance(app.screen, ScreenOfCommands)


async def test_the_help_begins_with_the_place_of_the_focus() -> None:
    app = AppOfCommands()
    async with app.run_test(size=(84, 30)) as pilot:
        app.push_screen(HelpScreen({}, place="In the sampling panel"))
        await pilot.pause()
        shown = "\n".join(screen_text(app))
        assert -1 < shown.index("In the sampling panel") < shown.index("Send the message")


async def test_the_help_scrolls_on_a_small_screen() -> None:
    app = AppOfCommands()
    async with app.run_test(size=(60, 20)) as pilot:
        app.push_screen(HelpScreen({}))
        await pilot.pause()
        assert not any("Filter by title" in line for line in screen_text(app))
        text = app.screen.query_one("VerticalScroll Static", Static)
        assert isinstance(text.content, Content)
        assert text.size.height == text.content.plain.count("\n") + 1, "no row is wrapped once more"
        scroll = text.parent
        assert isinstance(scroll, VerticalScroll)
        app.screen.action_scroll_page(2)  # type: ignore[attr-defined]
        app.screen.action_scroll_page(1)  # type: ignore[attr-defined]
        assert scroll.scroll_y == 3 * scroll.size.height, "also before the next frame"
        await pilot.press(*["pagedown"] * 20)
        await until(pilot, lambda: any("What is kept, and its share" in line for line in screen_text(app)))
        await pilot.press(*"filter title")
        await pilot.pause()
        shown = "\n".join(screen_text(app))
        assert "Filter by title" in shown
        assert "In the sampling panel" not in shown


@given(st.sampled_from([(action.usage, action.title) for action in TABLE]), st.integers(50, 90))
def test_the_help_has_two_columns_at_every_width(line: tuple[str, str], width: int) -> None:
    rows = two_columns(*line, width).plain.split("\n")
    assert all(row[KEY_WIDTH:].startswith(" ") or row.rstrip() == line[0] for row in rows)
    assert " ".join("".join(row[KEY_WIDTH:] for row in rows if row.rstrip() != line[0]).split()) == line[1]


def test_the_example_config_names_every_action_and_shows_a_valid_key() -> None:
    about, _, example = EXAMPLE.read_text(encoding="utf-8").partition("[keys]\n")
    reported = about.rpartition("Their names are\n")[2].replace("#", "")
    assert [name.strip(" .\n") for name in reported.split(",")] == [
        action.name for action in TABLE if action.scope != "prompt"
    ]
    name, _, keys = example.splitlines()[0].removeprefix("# ").partition(" = ")
    assert check_keys({name: keys.strip('"')}) == []


def test_a_way_of_editing_takes_keys_and_gives_the_actions_others() -> None:
    for style in ("emacs", "vi"):
        keys = with_moved_keys({}, style)
        assert check_keys(keys, taken=TAKEN[style]) == []
        bound = {key for action in TABLE for key in keys_of(action, keys)}
        assert not bound & TAKEN[style], "no key of the prompt is an action's"
    chosen = with_moved_keys({"new": "ctrl+f"}, "emacs")
    assert chosen["new"] == "ctrl+f"
    assert check_keys(chosen, taken=TAKEN["emacs"]) == [
        "keys.new: ctrl+f edits the prompt's text; choose another"
    ]
