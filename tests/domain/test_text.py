"""Untrusted text made safe for the terminal."""

import json
import re
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ttchat_tui.domain.text import (
    VisibleStream,
    json_escaped,
    visible,
    visible_line,
    visible_piece,
    without_hidden,
)

ANY_TEXT = st.text(st.characters(codec=None, categories=None), max_size=60)
HOSTILE = st.text(st.sampled_from("a\n\t\r\x1b\x07\x00\x7f\x80\x9b\x9f\u202e\u2066\ud800é界🙂"), max_size=40)
HIDDEN = st.text(
    st.sampled_from(
        "aກी字1👩\u05d0\u00ad\u034f\u1160\u180b\u200b\u200c\u200d\u200e\u202e\u3164\ufe0f\ufeff\U000e0101🏴\U000e0067\U000e0031\U000e0020\U000e007f"
    ),
    max_size=30,
)

SCOTLAND = "🏴\U000e0067\U000e0062\U000e0073\U000e0063\U000e0074\U000e007f"


@pytest.mark.parametrize(
    ("hostile", "shown"),
    [
        ("\x1b[2J\x1b[31mred", "␛[2J␛[31mred"),
        ("\x1b]52;c;aGk=\x07", "␛]52;c;aGk=␇"),
        ("\x9b2J", "\ufffd2J"),
        ("line one\rline two\r\n", "line one␍line two␍\n"),
        ("a\x00b\x08c\x7fd", "a␀b␈c␡d"),
        ("if admin\u202e} \u2066// check\u2069\u202c", "if admin↤} ↦// check↥↥"),
        ("\ud83d", "\ufffd"),
        ("\ufeffa\u200bb\u2060c\u2063d", "␣a␣b␣c\ufffdd"),
        ("hi\U000e0068\U000e0069\U000e007f", "hi\ufffd\ufffd\ufffd"),
        (f"{SCOTLAND}\U000e0068", f"{SCOTLAND}\ufffd"),
        ("🏴" + "\U000e0068" * 9, "🏴" + "\U000e0068" * 6 + "\ufffd" * 3),
        ("ខ្ញុំ\u200bទៅ\u200b\u200b", "ខ្ញុំ\u200bទៅ\u200b␣"),
        ("p\u200cay\u200d", "p␣ay␣"),
        ("می\u200c\u200cخواهم", "می\u200c␣خواهم"),
        ("😀\ufe0f\ufe01\U000e0101", "😀\ufe0f\ufffd\ufffd"),
        ("h\ufe00i\U000e0121", "h\ufffdi\ufffd"),
        ("one\u3164two\u180e\u17b5", "one␣two␣\ufffd"),
        ("a\u200e\u200e", "a\u200e\ufffd"),
    ],
)
def test_control_and_invisible_characters_become_symbols(hostile: str, shown: str) -> None:
    assert visible(hostile) == shown


NEEDED = (
    "Ünï¢ode, 日本語, a\ttab\nand a line",
    "👩\u200d👩\u200d👧 ❤\ufe0f ❤\ufe0f\u200d🔥 🏴\u200d☠\ufe0f 🧑🏽\u200d⚕\ufe0f 1\ufe0f\u20e3 ©\ufe0f ☎\ufe0e",
    SCOTLAND,
    "مرحبا\u200f, می\u200cخواهم, ه\u200d",
    "क्\u200dष, র\u200d্য, ශ්\u200dරී, ന്\u200d",
    "ខ្ញុំ\u200bទៅ, ภาษา\u200bไทย",
    "葛\U000e0100城市, 神\ufe00, 0\ufe00, ∩\ufe00, ‘\ufe00",
    "ᠠ\u180b ᠨ\u180eᠠ, \u1112\u1160, שׁ\u034fָ",
)
"""Legitimate joiners, selectors, marks and tags."""


@pytest.mark.parametrize("text", NEEDED)
def test_legitimate_text_is_returned_as_the_same_object(text: str) -> None:
    assert visible(text) is text
    assert without_hidden(text) == (text, 0)


@pytest.mark.parametrize(
    ("text", "seen"),
    [
        ("hi" + "".join(chr(0xE0000 + ord(c)) for c in "ignore all of it"), "hi"),
        ("😀" + "".join(chr(0xE0100 + byte) for byte in b"smuggled"), "😀"),
        ("😀" + "".join(chr(0xFE00 + byte % 16) for byte in b"smuggled"), "😀\ufe03"),
        ("a\u200bb\u200cc\u200dd\u2060e\ufefff", "abcdef"),
        ("".join(f"{c}\u200b\u200c" for c in "secret"), "secret"),
        ("a\u2061\u2062\u2063\u2064b\u206a\u206f", "ab"),
        ("soft\u00adhyphen, filler\u3164\u115f\uffa0, vowel\u17b4", "softhyphen, filler, vowel"),
        ("admin\u200e = \u061croot\u200f", "admin = root"),
        ("if admin\u202e} \u2066// check\u2069\u202c", "if admin} // check"),
        ("reserved\u2065\ufff0\U000e0080\U000e0fff\U0001d173\U0001bca0", "reserved"),
    ],
)
def test_hidden_characters_are_removed_and_counted(text: str, seen: str) -> None:
    assert without_hidden(text) == (seen, len(text) - len(seen))


@given(ANY_TEXT | HIDDEN | st.text(st.sampled_from("".join(NEEDED)), max_size=30))
def test_removing_hidden_characters_is_idempotent(text: str) -> None:
    once, _ = without_hidden(text)
    assert without_hidden(once) == (once, 0)
    # Two in a row are legitimate: the selector and the joiner of a pictograph.
    assert not re.search(
        "[\u00ad\u180b-\u180f\u200b-\u200f\u2060-\u206f\u3164\ufe00-\ufe0f\ufeff\U000e0100-\U000e01ef]{3}",
        once,
    )


@given(ANY_TEXT | HOSTILE)
def test_no_control_character_is_left(text: str) -> None:
    controls = [c for c in visible(text) if unicodedata.category(c) in ("Cc", "Cs") and c not in "\n\t"]
    directions = {unicodedata.bidirectional(c) for c in visible(text)}
    assert controls == []
    assert directions.isdisjoint({"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"})


@given(ANY_TEXT | HOSTILE | HIDDEN)
def test_offsets_stay_valid_and_visible_is_idempotent(text: str) -> None:
    shown = visible(text)
    assert len(shown) == len(text)
    assert visible(shown) == shown


@given(st.lists(HOSTILE | HIDDEN | st.just(SCOTLAND), max_size=6))
def test_a_stream_may_be_cut_anywhere(pieces: list[str]) -> None:
    stream = VisibleStream()
    assert "".join(map(stream.feed, pieces)) == visible("".join(pieces))


@given(HIDDEN)
def test_a_stream_may_arrive_by_characters(text: str) -> None:
    stream = VisibleStream()
    assert "".join(map(stream.feed, text)) == visible(text)


@given(ANY_TEXT | HOSTILE)
def test_json_keeps_its_value_and_loses_control_characters(text: str) -> None:
    document = json_escaped(json.dumps({"text": text}, ensure_ascii=False))
    assert json.loads(document) == {"text": text}
    assert [c for c in document if unicodedata.category(c) in ("Cc", "Cs") or c in "\u202e\u2066"] == []


@pytest.mark.timeout(30)
def test_a_long_line_of_blanks_takes_linear_time() -> None:
    assert visible_line("x" + " " * 1_000_000 + "x\n\n x") == "x" + " " * 1_000_000 + "x x"


@given(ANY_TEXT | HOSTILE | HIDDEN)
def test_a_line_stays_one_and_keeps_its_indentation(text: str) -> None:
    line = visible_line(f"  x{text}")
    assert "\n" not in line
    assert line.startswith("  x")
    assert visible_line(line) == line


@pytest.mark.parametrize(
    ("piece", "shown"),
    [
        (b" the", "␣the"),
        (b"\n\n", "⏎⏎"),
        (b"\t\x1b[31m", "⇥␛[31m"),
        (b"\xe2\x80", "⟨E2 80⟩"),
        ("é 日".encode(), "é␣日"),
        ("\u200d\xa0".encode(), "⟨E2 80 8D C2 A0⟩"),
        ("␣".encode(), "⟨E2 90 A3⟩"),
    ],
)
def test_the_piece_of_a_token_is_shown_unmistakably(piece: bytes, shown: str) -> None:
    assert visible_piece(piece) == shown


def bytes_shown(shown: str) -> bytes:
    symbols = {"␣": b" ", "⏎": b"\n", "⇥": b"\t", "␡": b"\x7f"}
    found = b""
    for part in re.findall("⟨[0-9A-F ]+⟩|.", shown):
        if part.startswith("⟨"):
            found += bytes.fromhex(part[1:-1])
        elif 0x2400 <= ord(part) < 0x2420:
            found += bytes([ord(part) - 0x2400])
        else:
            found += symbols[part] if part in symbols else part.encode()
    return found


@given(
    st.binary(max_size=12) | (ANY_TEXT | HOSTILE | HIDDEN).map(lambda text: text.encode("utf-8", "replace"))
)
def test_the_shown_piece_names_exactly_its_bytes_and_nothing_that_a_terminal_acts_on(piece: bytes) -> None:
    shown = visible_piece(piece)
    assert bytes_shown(shown) == piece
    assert visible(shown) == shown
    assert not re.search(r"\s", re.sub("⟨.*?⟩", "", shown))
