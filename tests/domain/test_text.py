"""What reaches a terminal: no control bytes, whatever a model writes."""

import json
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ttchat_tui.domain.text import VisibleStream, json_escaped, visible

ANY_TEXT = st.text(st.characters(codec=None, categories=None), max_size=60)
HOSTILE = st.text(st.sampled_from("a\n\t\r\x1b\x07\x00\x7f\x80\x9b\x9f\u202e\u2066\ud800é界🙂"), max_size=40)
HIDDEN = st.text(
    st.sampled_from("aក\u200b\u200d\ufeff🏴\U000e0067\U000e0031\U000e0020\U000e007f"), max_size=30
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
    ],
)
def test_hostile_text_is_shown_and_not_obeyed(hostile: str, shown: str) -> None:
    assert visible(hostile) == shown


def test_ordinary_text_is_the_same_object() -> None:
    text = "Ünï¢ode, 日本語, 👩‍👩‍👧 ❤️ مرحبا\u200f, می\u200cخواهم, क्\u200dष, a\ttab\nand a line"
    assert visible(text) is text


@given(ANY_TEXT | HOSTILE)
def test_nothing_that_a_terminal_obeys_is_left(text: str) -> None:
    controls = [c for c in visible(text) if unicodedata.category(c) in ("Cc", "Cs") and c not in "\n\t"]
    directions = {unicodedata.bidirectional(c) for c in visible(text)}
    assert controls == []
    assert directions.isdisjoint({"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"})


@given(ANY_TEXT | HOSTILE | HIDDEN)
def test_offsets_hold_and_twice_is_as_good_as_once(text: str) -> None:
    shown = visible(text)
    assert len(shown) == len(text)
    assert visible(shown) == shown


@given(st.lists(HOSTILE | HIDDEN | st.just(SCOTLAND), max_size=6))
def test_a_stream_may_be_cut_anywhere(pieces: list[str]) -> None:
    stream = VisibleStream()
    assert "".join(map(stream.take, pieces)) == visible("".join(pieces))


@given(HIDDEN)
def test_a_stream_may_come_by_characters(text: str) -> None:
    stream = VisibleStream()
    assert "".join(map(stream.take, text)) == visible(text)


@given(ANY_TEXT | HOSTILE)
def test_json_keeps_its_value_and_loses_what_a_terminal_obeys(text: str) -> None:
    document = json_escaped(json.dumps({"text": text}, ensure_ascii=False))
    assert json.loads(document) == {"text": text}
    assert [c for c in document if unicodedata.category(c) in ("Cc", "Cs") or c in "\u202e\u2066"] == []
