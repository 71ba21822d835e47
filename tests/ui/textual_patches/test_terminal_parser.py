"""Commands work on every keyboard layout, alt with a letter is never text, and answers of the terminal are not typed."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from textual import events
from textual.drivers import linux_driver
from textual.widgets import Input

from tests.size import sized
from tests.ui.chat_app import ChatApp, running
from ttchat_tui.config.schema import Config
from ttchat_tui.ui.key_check import check_keys
from ttchat_tui.ui.keys import EDITING_KEYS, unbound_editing_keys
from ttchat_tui.ui.textual_patches import terminal_parser
from ttchat_tui.ui.textual_patches.paste_parser import PasteSafeParser
from ttchat_tui.ui.widgets.transcript.transcript import Transcript


class Clock:
    """Seconds, as the parser reads them."""

    now = 1.0


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(terminal_parser, "get_time", lambda: clock.now)
    terminal_parser.install()
    return clock


def keys(data: str) -> list[tuple[str, str | None]]:
    return [(e.key, e.character) for e in PasteSafeParser().feed(data) if isinstance(e, events.Key)]


def names(data: str) -> list[str]:
    return [key for key, _ in keys(data)]


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
        ("\x1b[1489::99;5;1489u", "ctrl+c"),  # Hebrew, with a text
        ("\x1b[1588::97;5u", "ctrl+a"),  # Arabic
        ("\x1b[246::59;3u", "alt+ö"),
        ("\x1b[110;69u", "ctrl+n"),  # caps lock
        ("\x1b[110;133u", "ctrl+n"),  # num lock
        ("\x1b[1090:1058:110;197u", "ctrl+n"),  # both
        ("\x1b[98;5;98u", "ctrl+b"),
        ("\x1b[120;3;120u", "alt+x"),
        ("\x1b[120:88;4;88u", "alt+shift+x"),
        ("\x1b[27;5;99~", "ctrl+c"),  # xterm's modifyOtherKeys
        ("\x1b[27;2;13~", "shift+enter"),
    ],
)
def test_a_command_is_read_by_its_place_where_the_script_is_not_latin(sequence: str, key: str) -> None:
    assert keys(sequence) == [(key, None)]


TEXTS = [
    ("\x1b[1090::110;1;1090u", "т"),
    ("\x1b[1090:1058:110;2;1058u", "Т"),
    ("\x1b[97:65;2;65u", "A"),
    ("\x1b[97:65;2u", "A"),
    ("\x1b[97;2u", "A"),
    ("\x1b[65;2u", "A"),
    ("\x1b[27;2;65~", "A"),
    ("\x1b[97;65u", "A"),
    ("\x1b[97;66u", "a"),
    ("\x1b[50:34;2u", '"'),
    ("\x1b[32;2u", " "),
    ("\x1b[97;1:2u", "a"),
    ("\x1b[223;2u", "ß"),
    ("\x1b[97;3;229u", "å"),  # option on a Mac
    ("\x1b[113;7;64u", "@"),  # AltGr where it is ctrl and alt
]  # fmt: skip


@pytest.mark.parametrize(("sequence", "text"), TEXTS)
def test_text_stays_text(sequence: str, text: str) -> None:
    assert [character for _, character in keys(sequence)] == [text]


def test_the_terminal_is_asked_for_the_alternate_codes() -> None:
    terminal_parser.install()
    assert linux_driver.KITTY_DISAMBIGUATE_ESCAPE_CODES & linux_driver.KITTY_REPORT_ALTERNATE_KEYS


@pytest.mark.parametrize("character", [*"xaXk.19-=<! ", "ы", "ß", "é"])
def test_alt_and_a_character_is_no_text(character: str) -> None:
    ((key, text), *rest) = keys(f"\x1b{character}yes")
    assert key.startswith("alt+")
    assert text is None
    assert [text for _, text in rest] == [*"yes"]


@pytest.mark.parametrize("final", [*"ABCDHFPQSu~"])
@pytest.mark.parametrize("modifiers", ["1", "5", "129"])
def test_a_key_release_does_nothing(final: str, modifiers: str) -> None:
    code = "97" if final == "u" else "3" if final == "~" else "1"
    assert names(f"\x1b[{code};{modifiers}:3{final}x") == ["x"]
    assert len(names(f"\x1b[{code};{modifiers}:1{final}x")) == 2


ANSWERS = [
    "\x1b[?62;22c", "\x1b[>1;10;0c", "\x1bP!|00000000\x1b\\", "\x1bP>|XTerm(388)\x1b\\", "\x1bP1$r0m\x1b\\", "\x1bP1+r544e=78\x1b\\",
    "\x1b]11;rgb:ffff/ffff/ffff\x1b\\", "\x1b]4;0;rgb:00/00/00\x07", "\x1b]52;c;aGVsbG8=\x07", "\x1b_Gi=31;OK\x1b\\", "\x1b[?1u", "\x1b[0n",
    "\x1b[?997;1n", "\x1b[8;30;100t", "\x1b[?1;2$y", "\x1b[>4;2m", f"\x1b[{';'.join(['1'] * 100)}u", f"\x1b[{'9' * 300}u", f"\x1b[<0;{'9' * 400};1M",
]  # fmt: skip


@pytest.mark.parametrize("answer", ANSWERS)
def test_answers_of_the_terminal_are_not_typed(answer: str) -> None:
    assert names(f"a{answer}b\r") == ["a", "b", "enter"]
    parser = PasteSafeParser()
    in_pieces = [event for character in f"a{answer}b" for event in parser.feed(character)]
    assert "".join(e.character or "" for e in in_pieces if isinstance(e, events.Key)) == "ab"


def typed_in(pieces: list[str]) -> str:
    parser = PasteSafeParser()
    found = [event for piece in pieces for event in parser.feed(piece)]
    return "".join(e.character or e.key for e in found if isinstance(e, events.Key))


@pytest.mark.parametrize("start", ["\x1b]52;c;", "\x1bP>|", "\x1b_Gi=1;", "\x1b["])
@pytest.mark.parametrize(
    "length", sized([1015, 1023, 1024, 1600], [1000, 1015, 1022, 1023, 1024, 1025, 1600, 5000])
)
@pytest.mark.parametrize("end", ["\x07", "\x1b\\"])
def test_an_answer_of_any_length_is_not_typed(start: str, length: int, end: str) -> None:
    answer = start + "1" * length + ("c" if start == "\x1b[" else end)
    assert typed_in([f"a{answer}b"]) == "ab"
    assert typed_in([*f"a{answer}b"]) == "ab"
    assert typed_in([f"a{answer[:900]}", answer[900:1200], f"{answer[1200:]}b"]) == "ab"


@pytest.mark.parametrize(
    ("key", "name"), [("\r", "\r"), ("\x11", "\x11"), ("\x1b[A", "up"), ("\x1bk", "alt+k")]
)
def test_a_long_answer_cut_short_by_a_key_loses_no_key(key: str, name: str) -> None:
    assert typed_in(["\x1b]52;c;" + "A" * 2000, f"{key}b"]) == f"{name}b"


def test_a_long_answer_ends_when_no_more_input_comes() -> None:
    parser = PasteSafeParser()
    data = ["\x1b]52;c;" + "A" * 2000, "BC", "", "b"]  # "": the driver waited in vain
    found: list[str] = []
    for piece in data:
        found += [e.key for e in (parser.feed(piece) if piece else ()) if isinstance(e, events.Key)]
        assert not list(parser.tick())
    assert found == ["b"]


@pytest.mark.parametrize("answer", [answer for answer in ANSWERS if answer.endswith("\x1b\\")])
def test_a_string_terminator_in_two_pieces_is_no_key(answer: str) -> None:
    assert typed_in([answer[:-1], "\\ok"]) == "ok"
    assert typed_in([answer[:-1], "\x1b", "\\ok"]) == "\x1balt+backslashok"
    assert typed_in([answer[:-1], "k\\"]) == "alt+k\\"


@pytest.mark.parametrize(
    ("typed", "wanted"),
    [
        ("\x1b[12\x11", ["alt+left_square_bracket", "1", "2", "ctrl+q"]),
        ("\x1b[12\x1b[A", ["alt+left_square_bracket", "1", "2", "up"]),
        ("\x1b]1\r", ["alt+right_square_bracket", "1", "enter"]),
        ("\x1b]hi\r", ["alt+right_square_bracket", "h", "i", "enter"]),
        ("\x1bPut\x11", ["alt+shift+p", "u", "t", "ctrl+q"]),
        ("\x1bP1\x1b[A", ["alt+shift+p", "1", "up"]),
        ("\x1bOzA", ["alt+shift+o", "z", "A"]),
        ("\x1b[é", ["alt+left_square_bracket", "é"]),
        ("\x1b\x0e\x11", ["escape", "ctrl+n", "ctrl+q"]),
        ("\x1b_Gi=1\x11", ["alt+underscore", "G", "i", "equals_sign", "1", "ctrl+q"]),
    ],
)
def test_no_key_after_the_beginning_of_a_sequence_is_lost(typed: str, wanted: list[str]) -> None:
    assert names(typed) == wanted


@given(data=st.text(st.sampled_from([*"\x1b\x1b\x1b[]POM_\\<?;:0159~uAMcmt \x07\x18\x00é中"]), max_size=80))
def test_any_text_is_parsed_and_what_is_typed_after_it_arrives(data: str) -> None:
    parser = PasteSafeParser()
    events_of = list(parser.feed(f"{data}\x1b[201~\x11"))
    assert [e.key for e in events_of if isinstance(e, events.Key)][-1:] == ["ctrl+q"]


def read_apart(clock: Clock, pieces: list[str], apart_s: float) -> list[str]:
    """The keys of what is read with that time between two reads."""
    parser = PasteSafeParser()
    found: list[events.Key] = []
    for piece in pieces:
        found += [event for event in parser.feed(piece) if isinstance(event, events.Key)]
        clock.now += apart_s
    return [key.key for key in found]


@pytest.mark.parametrize(
    ("after", "wanted"),
    [
        ("kdd", ["k", "d", "d"]),
        ("/", ["slash"]),
        ("O", ["O"]),
        ("[", ["left_square_bracket"]),
        ("\r", ["enter"]),
        ("é", ["é"]),
        ("\x1b[A", ["up"]),
        ("\x1bk", ["alt+k"]),
    ],
)
def test_esc_and_a_key_soon_after_it_are_two_keys(clock: Clock, after: str, wanted: list[str]) -> None:
    assert read_apart(clock, ["x\x1b", after, ""], 0.03)[1:] == ["escape", *wanted]


@pytest.mark.parametrize(
    ("pieces", "apart_s"),
    [(["\x1bk"], 1), (["\x1b", "k"], 0.002), (["\x1b[107", ";3u"], 0.05), (["\x1b", "[107;3u"], 0.05)],
)
def test_alt_and_a_key_is_one_key_also_where_the_link_splits_it(
    clock: Clock, pieces: list[str], apart_s: float
) -> None:
    assert read_apart(clock, pieces, apart_s) == ["alt+k"]


WORDS = [
    ("\x1bb", "one Xtwo"), ("\x1b[98;3u", "one Xtwo"), ("\x1b[1;3D", "one Xtwo"), ("\x1b[1;5D", "one Xtwo"),
    ("\x1b\x7f", "one X"), ("\x1b[127;3u", "one X"), ("\x1b[127;5u", "one X"),
    ("\x1bb\x1bd", "one X"), ("\x1bb\x1b[3;5~", "one X"), ("\x1bb\x1b[100;3u", "one X"), ("\x1b[1;3D\x1b[3;3~", "one X"),
    ("\x1bb\x1bf", "one twoX"), ("\x1b[1;3D\x1b[1;3C", "one twoX"), ("\x1b[127;2u", "one twX"),
]  # fmt: skip


@pytest.mark.parametrize("field", ["Prompt", "FilterInput", "SystemPrompt"])
async def test_words_are_moved_over_and_deleted_as_in_readline(tmp_path: Path, field: str) -> None:
    chat = ChatApp(tmp_path)
    async with running(chat) as pilot:
        widget = chat.screen.query(field).first()
        chat.app.set_focus(widget)
        found: list[tuple[str, str]] = []
        for sequence, _ in WORDS:
            for event in PasteSafeParser().feed(f"\x1b[F\x15one two{sequence}X"):
                await chat.app._post_message(event)
            await pilot.pause()
            found.append((sequence, widget.value if isinstance(widget, Input) else widget.text))  # pyright: ignore
        assert found == WORDS


def test_a_key_that_config_binds_is_no_editing_key() -> None:
    unbound = unbound_editing_keys({"stop": "Alt-D, escape"}, ["alt+f", "enter"])
    assert unbound.keys() == EDITING_KEYS.keys() - {"alt+d", "alt+f"}


async def test_keys_bound_in_config_come_before_word_keys(tmp_path: Path) -> None:
    config = Config(keys={"focus_transcript": "alt+b"})
    assert check_keys(config.keys) == []
    chat = ChatApp(tmp_path, config=config)
    async with running(chat) as pilot:
        await pilot.press(*"one two")
        for event in PasteSafeParser(editing_keys=unbound_editing_keys(config.keys, ())).feed("\x1bb"):
            await chat.app._post_message(event)
        await pilot.pause()
        assert isinstance(chat.app.focused, Transcript)
