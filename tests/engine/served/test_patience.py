"""Deadlines of a reply: a row gets arrivals with their times, and the test reads its deadline."""

from __future__ import annotations

import queue
from collections.abc import Iterator

import pytest

from tests.engine.served.raw_server import RawServer, data, end, said, thought
from ttchat_tui.domain.model_spec import RemoteOptions
from ttchat_tui.engine.served.caller import Caller
from ttchat_tui.engine.served.endpoint import Endpoint
from ttchat_tui.engine.served.exchange import Answered, Connected, Ended, Received
from ttchat_tui.engine.served.row_request import MAX_ROWS, RowRequest, Transport
from ttchat_tui.engine.served.served_reply import ServedReply

FIRST_S, TOKEN_S = 120.0, 30.0
TAG = MAX_ROWS
COMMENT = b": keep-alive\n\n"
EMPTY = data({"choices": [{"index": 0, "delta": {"content": ""}}]})
ARGUMENTS = data({"choices": [{"index": 0, "delta": {"tool_calls": [{"function": {"arguments": "{"}}]}}]})
PROGRESS = data({"choices": [], "prompt_progress": {"total": 10, "processed": 3}})
SIGNS = {
    "a comment": COMMENT,
    "an empty delta": EMPTY,
    "a ping": b"event: ping\ndata: x\n\n",
    "arguments of a tool": ARGUMENTS,
    "progress": PROGRESS,
    "half an event": b"data: {",
    "no data": b"data:\n\n",
}


@pytest.fixture
def row() -> Iterator[RowRequest]:
    """One that was sent at second 0 and answered at second 1."""
    server = RawServer()
    caller = Caller(Endpoint(name="lab", base_url=server.url), "", connect_timeout_s=5.0)
    options = RemoteOptions(first_token_timeout_s=FIRST_S, token_timeout_s=TOKEN_S)
    transport = Transport(caller, options, queue.SimpleQueue(), lambda *_: {}, 0.0)
    one = RowRequest(0, ServedReply(1, 0, (), prompt_tokens=3), {"max_tokens": 9}, transport)
    one.send(0.0)
    assert not list(one.accept(Connected(TAG, 0.5)))
    assert not list(one.accept(Answered(TAG, 1.0, 200, {}, server.url)))
    yield one
    one.close()
    caller.close()
    server.close()


def receive(row: RowRequest, at_s: float, sent: bytes) -> None:
    list(row.accept(Received(TAG, at_s, sent)))


@pytest.mark.parametrize("sign", SIGNS)
def test_a_sign_of_life_extends_the_wait_for_the_first_token(row: RowRequest, sign: str) -> None:
    for at_s in (100.0, 200.0, 300.0):
        receive(row, at_s, SIGNS[sign] if sign != "half an event" else b" ")
        assert row.deadline_s == at_s + FIRST_S


@pytest.mark.parametrize("sign", SIGNS)
def test_a_sign_of_life_extends_the_wait_for_the_next_token(row: RowRequest, sign: str) -> None:
    receive(row, 2.0, said("Hi"))
    assert row.deadline_s == 2.0 + TOKEN_S
    receive(row, 30.0, SIGNS[sign])
    assert row.deadline_s == 30.0 + TOKEN_S


def test_a_thought_is_a_token(row: RowRequest) -> None:
    receive(row, 2.0, thought("Hm"))
    assert row.deadline_s == 2.0 + TOKEN_S


@pytest.mark.parametrize("reason", ["stop", "length", "tool_calls", "whatever"])
def test_figures_may_follow_the_end_of_a_reply_for_a_second(row: RowRequest, reason: str) -> None:
    receive(row, 2.0, said("Hi"))
    receive(row, 3.0, end(reason))
    receive(row, 3.9, COMMENT)
    assert (row.deadline_s, row.reason) == (4.0, None), "nothing that follows makes it longer"
    row.handle_deadline(4.0)
    assert row.reason == ("length" if reason == "length" else "stop")
    assert row.error is None


def test_a_reply_that_continues_after_its_finish_reason_is_not_over(row: RowRequest) -> None:
    receive(row, 2.0, said("He") + end("stop"))
    receive(row, 2.5, said("llo"))
    assert row.deadline_s == 3.5


@pytest.mark.parametrize(
    "sent", [b'{"message": "Sign in"}', b'data: {"message": "Sign in"}\n\ndata: [DONE]\n\n']
)
def test_json_that_is_no_reply_is_reported_and_not_called_empty(row: RowRequest, sent: bytes) -> None:
    receive(row, 2.0, sent)
    list(row.accept(Ended(TAG, 2.5)))
    assert row.error is not None
    assert "Sign in" in row.error.message


@pytest.mark.parametrize(
    ("word", "kind"),
    [
        ("abort", "connection_lost"),
        ("insufficient_system_resource", "connection_lost"),
        ("content_filter", "content_filter"),
        ("SAFETY", "content_filter"),
        ("error", "endpoint_error"),
    ],
)
def test_an_end_that_is_not_the_models_is_reported(row: RowRequest, word: str, kind: str) -> None:
    receive(row, 2.0, said("Hi") + end(word))
    list(row.accept(Ended(TAG, 2.5)))
    assert (row.reason, row.error and row.error.kind) == ("error", kind)
    assert row.error is not None
    assert word in row.error.message


def test_every_2xx_status_is_a_success(row: RowRequest) -> None:
    list(row.accept(Answered(TAG, 1.5, 206, {}, "")))
    receive(row, 2.0, said("Hi") + end("stop") + b"data: [DONE]\n\n")
    assert (row.reason, row.error) == ("stop", None)


@pytest.mark.parametrize("encoding", ["br", "zstd", "compress", "rot13"])
def test_an_unreadable_compression_is_named(row: RowRequest, encoding: str) -> None:
    list(row.accept(Answered(TAG, 1.5, 200, {"content-encoding": encoding}, "")))
    assert row.error is not None
    assert f"with {encoding}, which was not requested" in row.error.message
