"""A reply is read with fields of any type and events in any framing."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.engine.served.raw_server import DONE, data, end, said
from ttchat_tui.domain.events import TokenEvent
from ttchat_tui.domain.generation import GenerationStats
from ttchat_tui.domain.thoughts import TAG
from ttchat_tui.engine.served.answer_stream import AnswerStream, ServerFailed
from ttchat_tui.engine.served.chunks import server_message
from ttchat_tui.engine.served.served_reply import ServedReply

json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from(["\ud83d", "\ude00", "stop", "error", "text"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.text(max_size=6) | st.sampled_from(["text", "type", "content", "name"]), inner, max_size=3
        )
    ),
    max_leaves=8,
)
CHUNK: dict[str, Any] = {
    "id": "c",
    "object": "chat.completion.chunk",
    "created": 1,
    "model": "m",
    "system_fingerprint": None,
    "choices": [
        {
            "index": 0,
            "delta": {
                "role": "assistant",
                "content": "Hi",
                "reasoning": None,
                "reasoning_content": None,
                "reasoning_details": [{"type": "reasoning.text", "text": ""}],
                "tool_calls": [
                    {"index": 0, "id": "t", "type": "function", "function": {"name": "f", "arguments": "{}"}}
                ],
                "function_call": {"name": "f", "arguments": "{}"},
                "refusal": None,
                "images": [],
                "audio": None,
            },
            "message": None,
            "logprobs": {"content": [{"token": "Hi", "logprob": -0.1, "top_logprobs": []}]},
            "finish_reason": None,
        }
    ],
    "usage": {
        "prompt_tokens": 3,
        "completion_tokens": 1,
        "prompt_tokens_details": {"cached_tokens": 1},
    },
    "timings": {"cache_n": 1},
    "prompt_progress": {"total": 10, "processed": 3},
    "error": None,
}
TEXT_AT = ("choices", 0, "delta", "content")


def places(node: Any, path: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    """Of every node below `node`."""
    inner = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    for key, value in inner:
        yield (*path, key)
        yield from places(value, (*path, key))


def with_(path: tuple[str | int, ...], value: object) -> dict[str, Any]:
    chunk = copy.deepcopy(CHUNK)
    node: Any = chunk
    for key in path[:-1]:
        node = node[key]
    node[path[-1]] = value
    return chunk


def read(*pieces: bytes, stop: tuple[str, ...] = ()) -> tuple[str, GenerationStats, bool]:
    """Text, figures and the end of the stream, from a body in these pieces."""
    stream, reply, text = AnswerStream(), ServedReply(1, 0, stop, prompt_tokens=7), ""
    for number, piece in enumerate((*pieces, None)):
        for chunk in stream.feed(piece) if piece is not None else stream.end():
            for event in reply.add_chunk(chunk, number / 10):
                text += event.text if isinstance(event, TokenEvent) else ""
    text += reply.flush()
    stats = reply.stats("stop", context_length=0, dropped=0, total_s=1.0)
    return text, stats, stream.is_done or reply.ending is not None


BESIDE_THE_TEXT = [path for path in places(CHUNK) if path != TEXT_AT[: len(path)]]


@given(path=st.sampled_from(BESIDE_THE_TEXT), value=json_values)
@example(("usage",), []).via("seen at a server")
@example(("choices", 0, "logprobs"), {"content": {}}).via("seen at a server")
@example(("usage", "prompt_tokens"), -1).via("seen at a server")
@example(("usage", "completion_tokens"), -1).via("seen at a server")
@example(("usage", "completion_tokens"), 10**18).via("a tuple of as many times")
def test_no_field_of_any_type_costs_the_text_beside_it(path: tuple[str | int, ...], value: object) -> None:
    try:
        text, stats, _ = read(data(with_(path, value)), said("!"), end("stop"), DONE)
    except ServerFailed:
        assert "error" in path or "error" in (value, path[0]) or path == ("object",)
        return
    is_other_choice = path == ("choices", 0, "index") and value not in (0, None)
    if not is_other_choice:
        assert "Hi" in text
        assert text.endswith("!")
    text.encode()
    json.dumps(stats.notes).encode()
    assert stats.prompt_tokens >= 0
    assert stats.completion_tokens >= 0


@given(path=st.sampled_from(list(places(CHUNK))), value=json_values)
def test_no_chunk_breaks_the_reader(path: tuple[str | int, ...], value: object) -> None:
    try:
        read(data(with_(path, value)), DONE)
    except ServerFailed as failed:
        str(failed).encode()


@given(json_values)
def test_no_json_breaks_the_reader(value: object) -> None:
    try:
        read(data(value), said("Hi"), end("stop"))
    except ServerFailed as failed:
        str(failed).encode()


@given(st.text(max_size=12).filter(lambda text: TAG.search(text) is None), st.integers(1, 5))
def test_characters_are_joined_wherever_a_server_cuts_them(text: str, size: int) -> None:
    units = text.encode("utf-16-le")
    halves = [chr(int.from_bytes(units[at : at + 2], "little")) for at in range(0, len(units), 2)]
    pieces = ["".join(halves[at : at + size]) for at in range(0, len(halves), size)]
    assert read(*map(said, pieces), end("stop"))[0] == text


@given(
    st.text(alphabet=st.characters(exclude_characters='"\\', exclude_categories=["C"]), max_size=12).filter(
        lambda text: TAG.search(text) is None  # it would end a thought
    ),
    st.integers(1, 3),
)
def test_characters_are_joined_wherever_a_server_cuts_their_bytes(text: str, size: int) -> None:
    units, marked = text.encode(), said("@")
    pieces = [units[at : at + size] for at in range(0, len(units), size)]
    assert read(*(marked.replace(b"@", piece) for piece in pieces), end("stop"))[0] == text


GUM = "I will not chew gum.\n"


@pytest.mark.parametrize("pieces", [[GUM] * 10, [GUM] * 3 + ["end"], [GUM] * 2, ["ab", GUM, f"ab{GUM}", "."]])
def test_text_that_a_model_repeats_is_kept(pieces: list[str]) -> None:
    assert read(*map(said, pieces), end("stop"))[0] == "".join(pieces)


def test_the_whole_text_repeated_at_the_end_is_dropped() -> None:
    assert read(said("He"), said("llo"), said("Hello"), end("stop"))[0] == "Hello"
    last = {"index": 0, "delta": {"content": GUM}, "finish_reason": "stop"}
    assert read(said(GUM), data({"choices": [last]}))[0] == GUM


@pytest.mark.parametrize(
    ("pieces", "text", "note"),
    [
        (["I think\n", "</think>", "\nAnswer", " here"], "I think\n</think>\n\nAnswer here", ()),
        (["I think\n", "</think>", "\nA"], "I think\n</think>\n\nA", ()),
        (["I think\n", "</think>", "\nA\n\n", "B"], "I think\n</think>\n\nA", ()),
        (["I think\n", "</think>"], "I think\n</think>\n\n", ("The server sent nothing but thoughts.",)),
        (
            ["I think\n", "</think>", "\n\n", "\n\n"],
            "I think\n</think>\n\n",
            ("The server sent nothing but thoughts.",),
        ),
    ],
)
def test_stop_strings_do_not_end_an_unopened_thought(
    pieces: list[str], text: str, note: tuple[str, ...]
) -> None:
    assert read(*map(said, pieces), end("stop"), stop=("\n\n",))[0] == text
    assert read(*map(said, pieces), end("stop"))[1].notes == note


def test_text_after_a_finish_reason_is_text() -> None:
    assert read(said("He"), end("stop"), said("llo"), end("stop"))[0] == "Hello"


def test_half_a_character_at_the_end_becomes_a_replacement_character() -> None:
    assert read(said("a\ud83d"), end("stop"))[0] == "a�"


Framing = Callable[[list[bytes]], bytes]
FRAMINGS: dict[str, Framing] = {
    "single newlines": lambda lines: b"\n".join(b"data: " + line for line in lines) + b"\n",
    "JSON by lines": lambda lines: b"\n".join(line for line in lines if line != b"[DONE]"),
    "JSON by lines, CR LF": lambda lines: b"\r\n".join(line for line in lines if line != b"[DONE]") + b"\r\n",
    "data twice": lambda lines: b"".join(b"data: data: " + line + b"\n\n" for line in lines),
    "no space": lambda lines: b"".join(b"data:" + line + b"\n\n" for line in lines),
    "capitals": lambda lines: b"".join(b"Data: " + line + b"\n\n" for line in lines),
    "comments as data": lambda lines: b"".join(b"data: : busy\n\ndata: " + line + b"\n\n" for line in lines),
    "empty data": lambda lines: b"".join(b"data:\n\ndata: \n\ndata: " + line + b"\n\n" for line in lines),
    "pings": lambda lines: b"".join(b"event: ping\ndata: ping\n\ndata: " + line + b"\n\n" for line in lines),
    "pings with JSON": lambda lines: b"".join(
        b'event: ping\ndata: {"type": "ping"}\n\ndata: ' + line + b"\n\n" for line in lines
    ),
    "words": lambda lines: b"".join(b"data: keepalive\n\ndata: " + line + b"\n\n" for line in lines),
    "JSON of no chat": lambda lines: b"".join(
        b'data: null\n\ndata: "x"\n\ndata: 7\n\ndata: []\n\ndata: ' + line + b"\n\n" for line in lines
    ),
    "lists": lambda lines: b"".join(
        b"data: " + (b"[" + line + b"]" if line != b"[DONE]" else line) + b"\n\n" for line in lines
    ),
    "done in small letters": lambda lines: b"".join(
        b"data: " + line.replace(b"[DONE]", b" [done] ") + b"\n\n" for line in lines
    ),
    "done as JSON": lambda lines: b"".join(
        b"data: " + line.replace(b"[DONE]", b'"[DONE]"') + b"\n\n" for line in lines
    ),
    "over several data lines": lambda lines: b"".join(
        b"data: " + line.replace(b', "choices"', b',\ndata: "choices"') + b"\n\n" for line in lines
    ),
}


@pytest.mark.parametrize("name", FRAMINGS)
@pytest.mark.parametrize("size", [1, 7, 100_000])
def test_every_known_framing_is_read(name: str, size: int) -> None:
    events = [{"id": "c", "choices": [{"index": 0, "delta": {"content": text}}]} for text in ("He", "llo")]
    events.append({"id": "c", "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})
    body = FRAMINGS[name]([*(json.dumps(event).encode() for event in events), b"[DONE]"])
    text, _, has_ended = read(*(body[at : at + size] for at in range(0, len(body), size)))
    assert (text, has_ended) == ("Hello", True)


@pytest.mark.parametrize(
    "body",
    [
        {"choices": [{"message": {"content": "Hi"}, "finish_reason": "stop"}]},
        {"choices": [{"message": {"content": "Hi"}}]},
        [{"choices": [{"message": {"content": [{"type": "text", "text": "Hi"}]}}]}],
        {"choices": {"message": {"content": "Hi"}}},
        {"model": "m", "message": {"role": "assistant", "content": "Hi"}, "done": True},
    ],
)
@pytest.mark.parametrize("indent", [None, 2])
@pytest.mark.parametrize("tail", ["", "\n"])
def test_an_answer_that_is_not_streamed_is_read(body: object, indent: int | None, tail: str) -> None:
    sent = (json.dumps(body, indent=indent) + tail).encode()
    assert read(sent)[::2] == ("Hi", True)
    assert read(*(sent[at : at + 5] for at in range(0, len(sent), 5)))[::2] == ("Hi", True)


@pytest.mark.parametrize(
    "sent",
    [
        b"data: error: boom\n\n",
        b"data: Error: boom\n\n",
        b"error: boom\n\n",
        b"data: [ERROR] boom\n\n",
        b'event: error\ndata: {"message": "boom"}\n\n',
        b'event: error\ndata: {"error": {"message": "boom"}}\n\n',
        b"event: error\ndata: boom\n\n",
        b'data: {"error": "boom"}\n\n',
        b'data: {"error": {"message": "boom", "code": 500}}\n\n',
        b'data: {"object": "error", "message": "boom"}\n\n',
        b'data: {"type": "error", "message": "boom"}\n\n',
        b'data: {"detail": "boom"}\n\n',
        b'data: {"choices": [{"index": 0, "delta": {}, "finish_reason": "error", "error": {"message": "boom"}}]}\n\n',
        b'{"error": "boom"}\n',
        b"data: RuntimeError: boom\n\n",
        b"RuntimeError: boom\n",
    ],
)
@pytest.mark.parametrize("before", [b"", said("Hi")])
def test_an_error_is_reported_in_the_servers_words(sent: bytes, before: bytes) -> None:
    with pytest.raises(ServerFailed, match=r"\Aboom\Z"):
        read(before + sent)


@pytest.mark.parametrize(
    ("sent", "words"),
    [
        (b"data: KeyError: 'choices'\n\n", "KeyError: 'choices'"),
        (b"data: AssertionError:\n\n", "AssertionError:"),
        (b"ValueError: 'x'\n", "ValueError: 'x'"),
        (b"error\n\n", "an error without words"),
        (b"data: Error:\n\n", "an error without words"),
    ],
)
def test_an_error_without_a_message_is_still_reported(sent: bytes, words: str) -> None:
    with pytest.raises(ServerFailed, match=rf"\A{words}\Z"):
        read(said("Hi") + sent)


def test_an_error_nested_without_end_breaks_nothing() -> None:
    deep = b"[" * 900 + b"]" * 900
    assert server_message(deep) == ""
    assert server_message(b'{"error":' * 900 + b"1" + b"}" * 900) == ""
    assert read(b'data: {"error":' + deep + b"}\n\n", said("Hi"), end("stop"))[0] == "Hi"
    assert (
        read(delta(tool_calls=[{"function": {"name": "f", "arguments": json.loads(deep)}}]), end("stop"))[0]
        == ""
    )


def test_data_that_is_no_keep_alive_is_reported() -> None:
    stream = AnswerStream()
    list(stream.feed(b"data: Waiting list is full, request rejected\n\ndata: processing 3/4\n\n"))
    assert stream.stray == "Waiting list is full, request rejected"


@pytest.mark.parametrize("sent", [b"Internal Server Error: boom", b"ERROR boom"])
def test_an_error_that_is_the_whole_body_is_reported_in_its_words(sent: bytes) -> None:
    with pytest.raises(ServerFailed, match=r"\Aboom\Z"):
        read(sent)


@pytest.mark.parametrize(
    "error", [None, "", "None", "null", False, 0, {}, [], {"message": ""}, {"message": "", "code": 0}]
)
def test_a_field_that_means_no_error_is_no_error(error: object) -> None:
    assert read(said("Hi", error=error), end("stop"))[0] == "Hi"


def delta(**fields: object) -> bytes:
    return data({"choices": [{"index": 0, "delta": fields}]})


THOUGHTS: list[dict[str, object]] = [
    {"reasoning": "Hm"},
    {"reasoning_content": "Hm"},
    {"thinking": "Hm"},
    {"reasoning_text": "Hm"},
    {"reasoning": {"text": "Hm"}},
    {"reasoning": {"content": [{"type": "text", "text": "Hm"}]}},
    {"reasoning": "Hm", "reasoning_content": "Hm", "reasoning_details": [{"text": "Hm"}]},
    {"reasoning_details": [{"type": "reasoning.summary", "summary": "Hm"}]},
    {"reasoning_details": {"text": "Hm"}},
    {"content": [{"type": "thinking", "thinking": "Hm"}]},
    {"content": [{"type": "thinking", "thinking": [{"type": "text", "text": "Hm"}]}]},
    {"content": [{"type": "reasoning", "text": "Hm"}], "reasoning_content": "Hm"},
    {"content": [{"type": "reasoning", "reasoning": "Hm"}]},
    {"content": [{"type": "reasoning", "summary": [{"type": "summary_text", "text": "Hm"}]}]},
]


@pytest.mark.parametrize("fields", THOUGHTS, ids=lambda fields: json.dumps(fields)[:60])
def test_thoughts_of_every_dialect_are_in_one_block_once(fields: dict[str, object]) -> None:
    assert read(delta(**fields), said("Yes"), end("stop"))[0] == "<think>\nHm\n</think>\n\nYes"


def test_thoughts_with_much_space_in_them_are_read_in_bounded_time() -> None:
    thought = "Hm" + " " * 300_000 + "x"
    assert read(delta(reasoning=thought), end("stop"))[0] == f"<think>\n{thought}\n</think>\n"


def test_a_whole_message_at_the_end_adds_only_what_is_missing() -> None:
    whole = {"content": "Hello", "reasoning": "Hm"}
    last = data({"choices": [{"index": 0, "message": whole, "finish_reason": "stop"}]})
    assert read(delta(reasoning="Hm"), said("He"), said("llo"), last)[0] == "<think>\nHm\n</think>\n\nHello"
    assert read(said("He"), last)[0] == "Hello\n\n<think>\nHm\n</think>\n", "nothing that was thought is lost"
    assert read(said("He"), last, stop=("\n\n",))[0] == "Hello\n\n<think>\nHm\n</think>\n"


def test_the_last_piece_may_come_with_the_whole_message() -> None:
    both = data(
        {"choices": [{"delta": {"content": "llo"}, "message": {"content": "Hello"}, "finish_reason": "stop"}]}
    )
    assert read(said("He"), both)[0] == "Hello"


def choice(index: object, text: str) -> dict[str, object]:
    return {"index": index, "delta": {"content": text}}


def test_the_first_choice_is_used_wherever_it_is() -> None:
    both = data({"choices": [choice(1, "No"), choice(0, "Hi")]})
    assert read(data({"choices": [choice(1, "No")]}), both, end("stop"))[0] == "Hi"


def test_a_server_that_counts_choices_from_one_is_read() -> None:
    sent = [data({"choices": [choice(1, text)]}) for text in ("He", "llo")]
    assert read(*sent, DONE)[0] == "Hello"


def called(*pieces: tuple[int, str, str]) -> bytes:
    calls = [{"index": at, "function": {"name": name, "arguments": text}} for at, name, text in pieces]
    return delta(tool_calls=calls)


def test_tool_calls_are_reported_with_their_whole_names() -> None:
    sent = [called((0, "get_", "")), called((0, "weather", '{"a"')), called((0, "", ":1}"), (1, "now", ""))]
    text, stats, _ = read(*sent, end("tool_calls"))
    assert text == ""
    assert stats.notes == (
        'The model wanted to call get_weather with {"a":1}; this app runs no tools.',
        "The model wanted to call now; this app runs no tools.",
    )


def test_a_name_repeated_with_every_piece_is_reported_once() -> None:
    notes = read(called((0, "now", "")), called((0, "now", "")), end("tool_calls"))[1].notes
    assert notes == ("The model wanted to call now; this app runs no tools.",)


@pytest.mark.parametrize(
    ("fields", "what"),
    [
        ({"images": [{"image_url": {"url": "data:image/png;base64,AA"}}]}, "an image"),
        ({"audio": {"data": "AA"}}, "audio"),
        ({"content": [{"type": "image_url", "image_url": {"url": "x"}}]}, "an image"),
        ({"content": [{"type": "output_audio", "data": "x"}]}, "audio"),
        ({"content": [{"type": "chart", "data": "x"}]}, "a part of the type 'chart'"),
    ],
)
def test_what_cannot_be_shown_is_named(fields: dict[str, object], what: str) -> None:
    text, stats, _ = read(delta(**fields), said("So."), end("stop"))
    assert (text, stats.notes) == ("So.", (f"The server sent {what}, which is not shown.",))


def test_a_picture_of_four_megabytes_does_not_cost_the_text() -> None:
    picture = {"image_url": {"url": "data:image/png;base64," + "A" * 4_000_000}}
    assert read(delta(content="Look", images=[picture]), end("stop"))[0] == "Look"


def test_empty_replies_and_replies_of_thoughts_only_are_reported_as_such() -> None:
    assert read(end("stop"))[1].notes == ("The server sent an empty reply.",)
    for kind in ("text", "output_text", "text_delta", "message"):
        content = [{"type": kind, "text": ""}]
        assert read(delta(content=content), end("stop"))[1].notes == ("The server sent an empty reply.",)
    assert read(delta(thinking="Hm"), end("stop"))[1].notes == ("The server sent nothing but thoughts.",)


@pytest.mark.parametrize("comment", [b": keepalive 512/2048\n\n", b":prefill 512 / 2048\n\n"])
def test_progress_in_a_comment_is_progress(comment: bytes) -> None:
    (chunk,) = AnswerStream().feed(comment)
    assert chunk.progress is not None
    assert (chunk.progress.done, chunk.progress.total) == (512, 2048)
