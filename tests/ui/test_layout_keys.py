"""Commands work on every keyboard layout, and alt with a letter is never text."""

from __future__ import annotations

from pathlib import Path

import pytest
from textual import events
from textual.drivers import linux_driver

from tests.ui.chat_app import ChatApp, running
from ttchat_tui.ui import layout_keys
from ttchat_tui.ui.paste_parser import PasteSafeParser


def keys(data: str) -> list[tuple[str, str | None]]:
    return [(e.key, e.character) for e in PasteSafeParser().feed(data) if isinstance(e, events.Key)]


@pytest.mark.parametrize(
    ("sequence", "key"),
    [
        ("\x1b[1090::110;5u", "ctrl+n"),  # Cyrillic т
        ("\x1b[1089:1057:99;6u", "ctrl+shift+c"),
        ("\x1b[957::110;5u", "ctrl+n"),  # Greek ν
        ("\x1b[1502::110;5u", "ctrl+n"),  # Hebrew מ
        ("\x1b[1083::107;3u", "alt+k"),
        ("\x1b[97::113;5u", "ctrl+a"),  # AZERTY: the letter, not the place
        ("\x1b[110;5u", "ctrl+n"),
    ],
)
def test_a_command_is_read_by_its_place_where_the_script_is_not_latin(sequence: str, key: str) -> None:
    assert keys(sequence) == [(key, None)]


@pytest.mark.parametrize(
    ("sequence", "text"),
    [("\x1b[1090::110;1;1090u", "т"), ("\x1b[1090:1058:110;2;1058u", "Т"), ("\x1b[97:65;2;65u", "A")],
)
def test_text_stays_text(sequence: str, text: str) -> None:
    assert [character for _, character in keys(sequence)] == [text]


def test_the_terminal_is_asked_for_the_alternate_codes() -> None:
    layout_keys.install()
    assert linux_driver.KITTY_DISAMBIGUATE_ESCAPE_CODES & linux_driver.KITTY_REPORT_ALTERNATE_KEYS


@pytest.mark.parametrize("character", [*"xaXk.19-=<! ", "ы", "ß", "é"])
def test_alt_and_a_character_is_no_text(character: str) -> None:
    ((key, text), *rest) = keys(f"\x1b{character}yes")
    assert key.startswith("alt+")
    assert text is None
    assert [text for _, text in rest] == [*"yes"]


WORDS = [
    ("\x1bb", "one Xtwo"), ("\x1b[98;3u", "one Xtwo"), ("\x1b[1;3D", "one Xtwo"), ("\x1b[1;5D", "one Xtwo"),
    ("\x1b\x7f", "one X"), ("\x1b[127;3u", "one X"), ("\x1b[127;5u", "one X"),
    ("\x1bb\x1bd", "one X"), ("\x1bb\x1b[3;5~", "one X"), ("\x1bb\x1b[100;3u", "one X"), ("\x1b[1;3D\x1b[3;3~", "one X"),
    ("\x1bb\x1bf", "one twoX"), ("\x1b[1;3D\x1b[1;3C", "one twoX"),
]  # fmt: skip


@pytest.mark.parametrize(("sequence", "text"), WORDS)
@pytest.mark.parametrize("field", ["prompt", "filter", "system"])
async def test_words_are_moved_over_and_deleted_as_in_readline(
    tmp_path: Path, sequence: str, text: str, field: str
) -> None:
    chat = ChatApp(tmp_path)
    async with running(chat) as pilot:
        where = {"prompt": "Prompt", "filter": "FilterInput", "system": "SystemPrompt"}[field]
        widget = chat.screen.query(where).first()
        chat.app.set_focus(widget)
        await pilot.press(*"one two")
        for event in PasteSafeParser().feed(sequence + "X"):
            await chat.app._post_message(event)
        await pilot.pause()
        found = widget.value if field == "filter" else widget.text  # pyright: ignore
        assert found == text
