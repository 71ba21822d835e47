"""What servers list of each token, as a recording has it."""

from __future__ import annotations

import json

import pytest

from ttchat_tui.domain.chat import ChatMessage
from ttchat_tui.domain.events import TokenEvent
from ttchat_tui.domain.recording import Alternative, Recording, alternatives_of, text_id
from ttchat_tui.domain.sampling import SamplingParams
from ttchat_tui.engine.served.chunks import parse_chunks
from ttchat_tui.engine.served.dialects import LLAMA_CPP, OLLAMA, VLLM, Dialect
from ttchat_tui.engine.served.request import body_of
from ttchat_tui.engine.served.served_reply import ServedReply
from ttchat_tui.session.recorder import Recorder


def recorded(*choices: dict[str, object], is_recorded: bool = True) -> Recording:
    """The recording of a reply in chunks of these choices."""
    reply = ServedReply(1, 0, (), prompt_tokens=3, is_recorded=is_recorded)
    recorder = Recorder()
    for number, choice in enumerate(choices):
        data = json.dumps({"choices": [{"index": 0, **choice}]})
        for chunk in parse_chunks(data):
            for event in reply.add_chunk(chunk, number / 10):
                assert isinstance(event, TokenEvent)
                recorder.add(event)
    return recorder.recording


def shown(recording: Recording) -> list[tuple[bytes, float | None, int | None]]:
    return [(recording.piece_of(each.token_id), each.logprob, each.rank) for each in recording.tokens]


def others(recording: Recording, place: int) -> list[tuple[bytes, float]]:
    found: tuple[Alternative, ...] = alternatives_of(recording.tokens[place])
    assert {each.cut for each in found} <= {"unknown"}
    return [(recording.piece_of(each.token_id), each.logprob) for each in found]


def test_vllm_names_bytes_and_no_ids() -> None:
    def listed(token: str, data: bytes, logprob: float) -> dict[str, object]:
        return {"token": token, "bytes": list(data), "logprob": logprob}

    half = {
        **listed("\ufffd", b"\xe2\x80", -0.5),
        "top_logprobs": [listed(" no", b" no", -2.0), listed("\ufffd", b"\xe2\x80", -0.5)],
    }
    rare = {**listed(" yes", b" yes", -9.0), "top_logprobs": [listed(" no", b" no", -0.25)]}
    recording = recorded(
        {"delta": {"content": "\u2019"}, "logprobs": {"content": [half]}},
        {"delta": {"content": " yes"}, "logprobs": {"content": [rare]}},
    )
    assert shown(recording) == [(b"\xe2\x80", -0.5, 0), (b" yes", -9.0, None)]
    assert others(recording, 0) == [(b"\xe2\x80", -0.5), (b" no", -2.0)]
    assert others(recording, 1) == [(b" no", -0.25)]
    assert all(each < 0 for each in recording.pieces)
    assert recording.tokens[1].entropy is None


def test_llama_cpp_names_ids() -> None:
    top = [{"id": 7, "token": "a", "logprob": -0.1}, {"id": 8, "token": "b", "logprob": -2.5}]
    token = {"id": 8, "token": "b", "bytes": [98], "logprob": -2.5, "top_logprobs": top}
    recording = recorded({"delta": {"content": "b"}, "logprobs": {"content": [token]}})
    assert [each.token_id for each in recording.tokens] == [8]
    assert dict(recording.pieces) == {7: b"a", 8: b"b"}
    assert shown(recording) == [(b"b", -2.5, 1)]


def test_the_older_api_has_three_lists() -> None:
    logprobs = {"tokens": ["a"], "token_logprobs": [-1.0], "top_logprobs": [{"a": -1.0, "c": -0.5}]}
    recording = recorded({"text": "a", "logprobs": logprobs})
    assert shown(recording) == [(b"a", -1.0, 1)]
    assert others(recording, 0) == [(b"c", -0.5), (b"a", -1.0)]


@pytest.mark.parametrize(
    "logprobs",
    [
        None,
        7,
        {"content": None},
        {"content": [{"token": "Hi", "logprob": None}]},
        {"content": [{"token": "Hi", "logprob": 10**400}]},
        {"content": [{"token": "Hi", "logprob": "-1"}, {"token": "!", "logprob": -1.0}]},
    ],
)
def test_a_server_without_probabilities_leaves_a_recording_of_its_text(logprobs: object) -> None:
    recording = recorded({"delta": {"content": "Hi!"}, "logprobs": logprobs})
    assert shown(recording) == [(b"Hi!", None, None)]
    assert recording.tokens[0].token_id == text_id(b"Hi!", {})


@pytest.mark.parametrize(
    "top",
    [{}, "x", [7], [{"token": 3, "logprob": -1.0}], [{"token": "x", "bytes": [999], "logprob": -1e308}]],
)
def test_strange_alternatives_cost_no_reply(top: object) -> None:
    token = {"id": "7", "token": "Hi", "logprob": -0.5, "top_logprobs": top}
    recording = recorded({"delta": {"content": "Hi"}, "logprobs": {"content": [token]}})
    assert shown(recording) == [(b"Hi", -0.5, None)]
    assert len(others(recording, 0)) <= 1


def test_nothing_is_kept_of_what_is_listed_unless_it_is_recorded() -> None:
    token = {"token": "Hi", "logprob": -0.5, "top_logprobs": []}
    recording = recorded({"delta": {"content": "Hi"}, "logprobs": {"content": [token]}}, is_recorded=False)
    assert [each.rank for each in recording.tokens] == [None]


@pytest.mark.parametrize(("dialect", "asked"), [(VLLM, 20), (LLAMA_CPP, 20), (OLLAMA, None)])
def test_alternatives_are_asked_for_where_the_dialect_has_them(dialect: Dialect, asked: int | None) -> None:
    messages = [ChatMessage("user", "Hi")]

    def body(alternatives: int) -> dict[str, object]:
        return body_of(
            dialect,
            "m",
            messages,
            SamplingParams(),
            1,
            max_tokens=9,
            logprobs=True,
            alternatives=alternatives,
        )

    assert body(20).get("top_logprobs") == asked
    assert "top_logprobs" not in body(0)
