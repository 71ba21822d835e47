"""Text that reaches the screen is whole: no half characters, no half stop strings, nothing lost."""

from __future__ import annotations

import codecs
from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from ttchat_tui.engine.text.text_stream import TextStream, Utf8Decoder

TEXT = st.text(alphabet="abAB \n<|>é語🙂👩‍🚀", max_size=40)
STOPS = st.lists(st.text(alphabet="abAB <|>é🙂", min_size=1, max_size=5), max_size=4)


def streamed(pieces: list[bytes], stop: list[str], strip: bool = False) -> tuple[list[str], bool]:
    """The text of each id, then of the flush. Ids are indices into `pieces`."""
    stream = TextStream(Utf8Decoder(pieces.__getitem__, strip_leading_space=strip), stop)
    shown: list[str] = []
    for index in range(len(pieces)):
        shown.append(stream.push(index))
        if stream.is_stopped:
            break
    shown.append(stream.flush())
    return shown, stream.is_stopped


def cut_at_first_stop(text: str, stop: list[str]) -> tuple[str, bool]:
    """The reference: search ever longer prefixes of the whole text."""
    for end in range(1, len(text) + 1):
        starts = [end - len(s) for s in stop if text[:end].endswith(s)]
        if starts:
            return text[: min(starts)], True
    return text, False


@st.composite
def split_bytes(draw: st.DrawFn, text: st.SearchStrategy[str] = TEXT) -> tuple[bytes, list[bytes]]:
    data = draw(text).encode()
    cuts = sorted(draw(st.sets(st.integers(0, len(data)), max_size=12)))
    edges = [0, *cuts, len(data)]
    return data, [data[a:b] for a, b in pairwise(edges)]


@settings(deadline=None)
@given(split_bytes(), STOPS)
def test_any_split_and_any_stop_strings_give_the_text_up_to_the_first_stop(
    case: tuple[bytes, list[bytes]], stop: list[str]
) -> None:
    data, pieces = case
    shown, is_stopped = streamed(pieces, stop)
    assert ("".join(shown), is_stopped) == cut_at_first_stop(data.decode(), stop)


@settings(deadline=None)
@given(split_bytes())
def test_a_character_split_over_tokens_is_never_a_replacement_character(
    case: tuple[bytes, list[bytes]],
) -> None:
    shown, _ = streamed(case[1], [])
    assert "�" not in "".join(shown)


@settings(deadline=None)
@given(st.lists(st.binary(max_size=3), max_size=12))
def test_invalid_bytes_are_replaced_as_in_a_whole_decode(pieces: list[bytes]) -> None:
    shown, _ = streamed(pieces, [])
    assert "".join(shown) == codecs.getincrementaldecoder("utf-8")("replace").decode(b"".join(pieces))


@settings(deadline=None)
@given(split_bytes(), STOPS)
def test_nothing_shown_is_the_beginning_of_a_stop_string_that_follows(
    case: tuple[bytes, list[bytes]], stop: list[str]
) -> None:
    shown, is_stopped = streamed(case[1], stop)
    if is_stopped:
        assert shown[-1] == ""
        assert not any(s in "".join(shown) for s in stop)


def test_text_is_shown_as_soon_as_it_cannot_become_a_stop_string() -> None:
    assert streamed([b"ab", b"c<", b"|", b"x"], ["<|end"])[0] == ["ab", "c", "", "<|x", ""]


def test_text_held_back_belongs_to_the_reply_at_its_end() -> None:
    assert streamed([b"a<|e"], ["<|end|>"]) == (["a", "<|e"], False)


def test_half_a_character_at_the_end_is_no_text() -> None:
    assert streamed([b"a", "🙂".encode()[:3]], [])[0] == ["a", "", ""]


def test_a_decoder_knows_whether_a_character_is_incomplete() -> None:
    decoder = Utf8Decoder([b"a", "é".encode()[:1], "é".encode()[1:]].__getitem__)
    seen: list[bool] = []
    for token_id in range(3):
        decoder.push(token_id)
        seen.append(decoder.is_whole)
    assert seen == [True, False, True]


def test_ids_after_a_stop_string_are_ignored() -> None:
    stream = TextStream(Utf8Decoder([b"a#", b"b"].__getitem__), ["#"])
    assert (stream.push(0), stream.push(1), stream.flush()) == ("a", "", "")


def test_special_tokens_are_no_text() -> None:
    assert streamed([b"a", b"", b"b"], [])[0] == ["a", "", "b", ""]


def test_the_space_that_opens_a_sentencepiece_reply_is_dropped_once() -> None:
    assert streamed([b" Hello", b" world"], [], strip=True)[0] == ["Hello", " world", ""]
    assert streamed([b"  two"], [], strip=True)[0] == [" two", ""]
