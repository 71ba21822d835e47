"""Notifications: the conversation's name and the reply's first words, in the terminal's own way, and nothing else."""

from __future__ import annotations

import base64
import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from textual.events import AppBlur

from tests.fakes import Script
from tests.size import sized
from tests.ui.chat_app import ChatApp, reply_ended, running
from ttchat_tui.config.schema import Config, NoticeWay, UiSettings
from ttchat_tui.domain.text import one_line, visible_line
from ttchat_tui.ui.screens import elsewhere
from ttchat_tui.ui.terminal_notice import BELL, TEXT_LENGTH, TITLE_LENGTH, notice

FORMS: dict[NoticeWay, str] = {
    "osc9": r"\x1b]9;ttchat: (?P<title>[^\x00-\x1f\x7f-\x9f]*?): (?P<text>[^\x00-\x1f\x7f-\x9f]*)\x07",
    "osc777": r"\x1b]777;notify;(?P<title>[^\x00-\x1f\x7f-\x9f;]*);(?P<text>[^\x00-\x1f\x7f-\x9f;]*)\x07",
    "osc99": r"\x1b]99;i=ttchat:e=1:d=0;(?P<title>[\w+/=]*)\x1b\\\x1b]99;i=ttchat:e=1:p=body;(?P<text>[\w+/=]*)\x1b\\",
}
HOSTILE = st.text(max_size=300) | st.sampled_from(
    [
        "\x1b]0;owned\x07",
        "a\tb",
        "a;b;c",
        "4;3",
        "x\x9c\x07y",
        "\u202eevil",
        "\ud800",
        "漢字" * 200,
        "two\nlines",
    ]
)


@pytest.mark.parametrize("way", FORMS)
@settings(max_examples=sized(20, 2000), deadline=None)
@given(title=HOSTILE, text=HOSTILE)
def test_any_text_becomes_one_short_line_of_one_sequence(way: NoticeWay, title: str, text: str) -> None:
    found = re.fullmatch(FORMS[way], notice(title, text, way, {}))
    assert found is not None
    said = found["text"]
    if way == "osc99":
        said = base64.b64decode(said).decode()
        assert said == visible_line(said)
    assert len(said) <= TEXT_LENGTH
    start = one_line(text[:20]).replace(";", ",")[:10].rstrip()
    assert way == "osc9" or said.startswith(start)
    assert len(base64.b64decode(found["title"])) <= 4 * TITLE_LENGTH if way == "osc99" else True


@pytest.mark.parametrize(
    ("environment", "start"),
    [
        ({"TERM": "xterm-256color"}, BELL),
        ({"TERM": "xterm-kitty"}, "\x1b]99;"),
        ({"TERM": "foot"}, "\x1b]777;"),
        ({"TERM": "xterm-256color", "TERM_PROGRAM": "iTerm.app"}, "\x1b]9;"),
        ({"TERM": "xterm-256color", "LC_TERMINAL": "iTerm2"}, "\x1b]9;"),
        ({"TERM": "xterm-256color", "TERM_PROGRAM": "WezTerm"}, "\x1b]777;"),
        ({"TERM": "tmux-256color", "TERM_PROGRAM": "tmux", "TMUX": "1", "LC_TERMINAL": "iTerm2"}, BELL),
        ({}, BELL),
    ],
)
def test_a_terminal_that_is_not_known_gets_the_bell(environment: dict[str, str], start: str) -> None:
    assert notice("a", "b", "auto", environment).startswith(start)
    assert notice("a", "b", "bell", environment) == BELL


def test_what_config_names_goes_through_tmux() -> None:
    assert notice("a", "b", "osc777", {"TMUX": "1"}) == "\x1bPtmux;\x1b\x1b]777;notify;a;b\x07\x1b\\"


async def test_only_without_focus_the_first_words_of_a_reply_are_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: list[str] = []
    monkeypatch.setattr(elsewhere, "write_to_terminal", lambda app, data: sent.append(data))
    config = Config(ui=UiSettings(notify_with="osc777"))
    chat = ChatApp(tmp_path, Script(replies=("<think>\nHm.\n</think>\n\n**Tick.** Tock.",)), config=config)
    async with running(chat) as pilot:
        await pilot.press(*"hi", "enter")
        await reply_ended(pilot, chat)
        assert sent == []
        chat.app.post_message(AppBlur())
        await pilot.pause()
        chat.screen.action_regenerate()
        await reply_ended(pilot, chat)
        assert sent == ["\x1b]777;notify;“hi”;Tick. Tock.\x07"]
