"""Any split of a stream gives the same reply."""

from __future__ import annotations

import json
from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.engine.served.shapes import SHAPES, ResponseShape
from ttchat_tui.engine.served import loose_json, sse
from ttchat_tui.engine.served.chunks import parse_chunks
from ttchat_tui.engine.served.sse import COMMENT, EventDecoder, EventTooLong, ServerEvent

TEXT = 'Grüße, 世界 👩‍🚀! \\ " \u2028 line\nnext'
line_ends = st.sampled_from(["\n", "\r\n", "\r"])
lines = st.one_of(
    st.text(alphabet=st.characters(exclude_characters="\r\n", codec="utf-8"), max_size=40).map(
        "data: {}".format
    ),
    st.sampled_from(
        ["", "", ":", ": keep-alive", "event: error", "id: 7", "retry: 10", "data", "data:", "data:x"]
    ),
)


def decoded(pieces: list[bytes]) -> list[ServerEvent]:
    decoder = EventDecoder()
    return [event for piece in pieces for event in decoder.feed(piece)] + decoder.end()


def feed_often(decoder: EventDecoder, piece: bytes) -> None:
    for _ in range(40):
        list(decoder.feed(piece))


def cut(stream: bytes, places: list[int]) -> list[bytes]:
    """`stream` cut at these places (taken modulo its length); a piece may be empty."""
    at = sorted({0, len(stream), *(place % (len(stream) + 1) for place in places)})
    return [stream[low:high] for low, high in pairwise(at)] + [b""]


@given(stream=st.lists(st.tuples(lines, line_ends), max_size=30), places=st.lists(st.integers(0, 10_000)))
@example(stream=[("data: a", "\r\n"), ("", "\r\n"), ("data: b", "")], places=[8, 9, 10])
def test_any_split_of_any_stream_gives_the_same_events(
    stream: list[tuple[str, str]], places: list[int]
) -> None:
    sent = "".join(line + end for line, end in stream).encode()
    assert decoded(cut(sent, places)) == decoded([sent])


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: shape.name)
@given(places=st.lists(st.integers(0, 10_000), max_size=30))
def test_any_split_of_a_recorded_stream_gives_the_same_text(shape: ResponseShape, places: list[int]) -> None:
    assert text_of(cut(recorded(shape), places)) == TEXT


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: shape.name)
def test_a_byte_at_a_time_is_enough(shape: ResponseShape) -> None:
    assert text_of([bytes([byte]) for byte in recorded(shape)]) == TEXT


@given(st.binary(max_size=300), st.lists(st.integers(0, 300)))
def test_bytes_that_are_no_stream_read_the_same_in_any_split(noise: bytes, places: list[int]) -> None:
    assert decoded(cut(noise, places)) == decoded([noise])


@pytest.mark.parametrize(
    "piece",
    [b"x" * 4096, b"data: " + b"x" * 4090 + b"\n", b"\xff" * 4096],
    ids=["no name", "data", "no text"],
)
def test_an_endless_event_is_refused_and_not_kept(piece: bytes) -> None:
    decoder = EventDecoder(longest=65_536)
    with pytest.raises(EventTooLong):
        feed_often(decoder, piece)


@pytest.mark.parametrize("line", [b'data: {"a": 1,\n', b"data: {}}\n", b"data: }\n"])
def test_the_search_for_the_end_of_a_long_event_is_bounded(
    line: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked_at: list[int] = []

    def counted(data: bytes) -> object:
        looked_at.append(len(data))
        return loose_json.decoded(data)

    monkeypatch.setattr(sse, "decoded", counted)
    sent = b'data: {"a": "' + b"x" * 40_000 + b"\n" + line * 1000
    assert len(decoded([sent])) == 1
    assert sum(looked_at) < 10 * len(sent)


def recorded(shape: ResponseShape) -> bytes:
    """A whole stream with a keep-alive, one chunk for each character of `TEXT`."""
    usage = {"prompt_tokens": 3, "completion_tokens": len(TEXT), "total_tokens": 3 + len(TEXT)}
    events = [*shape.opening(), *map(shape.delta, TEXT), *shape.ending("stop", usage)]
    comment = f": keep-alive{shape.line_end * 2}".encode()
    return comment.join(events)


def text_of(pieces: list[bytes]) -> str:
    data = [event.data for event in decoded(pieces) if event.data != "[DONE]" and event.kind != COMMENT]
    assert all(json.loads(one) for one in data)
    choices = [choice for one in data for chunk in parse_chunks(one) for choice in chunk.choices]
    return "".join(choice.delta.text for choice in choices)
