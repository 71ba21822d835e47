"""Replies through servers and networks that misbehave."""

from __future__ import annotations

import gzip
import json
import re
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.engine.engine_subject import finished, text
from tests.engine.served.scripted_server import (
    Hush,
    Reset,
    ScriptedAnswer,
    ScriptedServer,
    StreamGate,
    Wire,
    serving,
)
from tests.engine.served.shapes import CONTEXT, MODEL, OPENAI, SHAPES, VLLM, ResponseShape
from tests.fakes import Script
from ttchat_tui.domain.chat import ChatMessage
from ttchat_tui.domain.errors import ErrorInfo
from ttchat_tui.domain.events import GenerationEvent, GenerationFinished, Retrying, TokenEvent
from ttchat_tui.domain.generation import GenerationControl, GenerationRequest
from ttchat_tui.domain.model_spec import ModelSpec, RemoteOptions
from ttchat_tui.domain.sampling import SamplingParams
from ttchat_tui.engine.base import EngineError
from ttchat_tui.engine.served import row_request
from ttchat_tui.engine.served.endpoint import Endpoint
from ttchat_tui.engine.served.engine import ServedEngine
from ttchat_tui.engine.served.errors import status_error

SAID = "Grüße, 世界 👩‍🚀! All of it."
HELLO = (ChatMessage("user", "Hello"),)
KEY = "sk-very-secret"
by_name = pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: shape.name)


def loaded(server: ScriptedServer, **options: Any) -> ServedEngine:
    engine = ServedEngine(environ={"OPENAI_API_KEY": KEY})
    remote = RemoteOptions(base_url=server.base_url, **options)
    engine.load(ModelSpec(engine="remote", name=MODEL, options=remote), lambda progress: None)
    return engine


def request(**sampling: object) -> GenerationRequest:
    params = SamplingParams(**{"temperature": 0.0, "max_tokens": 100, **sampling})
    return GenerationRequest(id=1, messages=HELLO, sampling=params, seed=1)


def reply(server: ScriptedServer, **options: object) -> list[GenerationEvent]:
    engine = loaded(server, **options)
    try:
        asked = request()
        return list(engine.generate(asked, GenerationControl(asked.sampling)))
    finally:
        engine.close()


def error_of(events: list[GenerationEvent]) -> ErrorInfo:
    error = finished(events).error
    assert error is not None
    return error


def said(shape: ResponseShape, words: str = SAID) -> list[bytes]:
    """A stream of one chunk a character."""
    return [*shape.opening(), *map(shape.delta, words), *shape.ending("stop", None)]


def whole(events: Iterable[bytes]) -> Iterator[bytes]:
    yield b"".join(events)


def byte_by_byte(events: Iterable[bytes]) -> Iterator[bytes]:
    for byte in b"".join(events):
        yield bytes([byte])


def without_last_newlines(events: Iterable[bytes]) -> Iterator[bytes]:
    yield b"".join(events).rstrip(b"\r\n")


def with_keep_alives(events: Iterable[bytes]) -> Iterator[bytes]:
    for event in events:
        yield b": OPENROUTER PROCESSING\n\n" + event + b":\n\n"


def done_twice(events: Iterable[bytes]) -> Iterator[bytes]:
    yield from events
    yield b"data: [DONE]\n\ndata: [DONE]\n\n"


def with_strange_fields(events: Iterable[bytes]) -> Iterator[bytes]:
    yield b"\xef\xbb\xbfid: 1\nretry: 10\nevent: message\n"
    yield from events


def with_chunks_of_nothing(events: Iterable[bytes]) -> Iterator[bytes]:
    for event in events:
        yield b'data: {"choices":[]}\n\ndata: {"choices":[{"index":0,"delta":{}}]}\n\n'
        yield b'data: {"choices":[{"index":0,"delta":{"role":"assistant","content":null}}]}\n\n'
        yield event


HARMLESS = (
    whole,
    byte_by_byte,
    without_last_newlines,
    with_keep_alives,
    done_twice,
    with_strange_fields,
    with_chunks_of_nothing,
)


@by_name
@pytest.mark.parametrize("wire", HARMLESS, ids=lambda wire: wire.__name__)
def test_harmless_oddities_change_nothing(shape: ResponseShape, wire: Wire) -> None:
    with serving(ScriptedServer(shape, wire=wire)) as server:
        server.events = said(shape)
        events = reply(server)
    assert text(events) == SAID
    assert (finished(events).reason, finished(events).error) == ("stop", None)


def test_unrequested_gzip_is_read() -> None:
    def packed(events: Iterable[bytes]) -> Iterator[bytes]:
        yield gzip.compress(b"".join(events))

    server = ScriptedServer(wire=packed, events=said(VLLM), stream_headers={"Content-Encoding": "gzip"})
    with serving(server):
        assert text(reply(server)) == SAID


@by_name
def test_thinking_comes_as_a_block_before_the_answer(shape: ResponseShape) -> None:
    thought = [shape.chunk({shape.reasoning_field: piece}) for piece in ("Let me ", "see.")]
    with serving(ScriptedServer(shape)) as server:
        server.events = [*shape.opening(), *thought, *map(shape.delta, "Yes."), *shape.ending("stop", None)]
        assert text(reply(server)) == "<think>\nLet me see.\n</think>\n\nYes."


@pytest.mark.parametrize("is_first", [True, False], ids=["before the finish", "after the finish"])
def test_the_usage_counts_wherever_it_is(is_first: bool) -> None:
    usage = VLLM.chunk(None, usage={"prompt_tokens": 31, "completion_tokens": 9, "total_tokens": 40})
    finish = VLLM.chunk({}, "stop")
    tail = [usage, finish] if is_first else [finish, usage]
    with serving(ScriptedServer(events=[*map(VLLM.delta, SAID), *tail, b"data: [DONE]\n\n"])) as server:
        stats = finished(reply(server)).stats
    assert (stats.prompt_tokens, stats.completion_tokens, stats.chunks) == (31, 9, len(SAID))
    assert not stats.is_estimate


def test_without_usage_the_figures_are_marked_as_estimates() -> None:
    with serving(ScriptedServer(OPENAI, events=said(OPENAI))) as server:
        assert finished(reply(server)).stats.is_estimate


# -- broken replies: what came is kept


def cut(how: type[Exception] | None, after: int = 6) -> Wire:
    def wire(events: Iterable[bytes]) -> Iterator[bytes]:
        for count, event in enumerate(events):
            if count == after:
                break
            yield event
        if how is not None:
            raise how

    return wire


@by_name
@pytest.mark.parametrize("how", [Reset, None], ids=["reset", "clean end without a finish reason"])
def test_a_reply_that_breaks_off_keeps_its_text_and_is_reported(
    shape: ResponseShape, how: type[Exception] | None
) -> None:
    with serving(ScriptedServer(shape, wire=cut(how))) as server:
        server.events = said(shape)
        events = reply(server)
        assert len(server.chats()) == 1, "what may have been served is not sent again"
    assert text(events) == SAID[: 6 - len(shape.opening())]
    assert finished(events).reason == "error"
    assert error_of(events).kind == "connection_lost"
    assert error_of(events).cure


def test_a_server_that_falls_silent_times_out() -> None:
    with serving(ScriptedServer(wire=cut(Hush), events=said(VLLM))) as server:
        events = reply(server, token_timeout_s=0.2)
        assert server.has_left.wait(5), "the connection is closed"
    assert text(events) == SAID[:5]
    assert error_of(events).kind == "connection_lost"
    assert "0.2 s" in error_of(events).message


def dripping(events: Iterable[bytes]) -> Iterator[bytes]:
    """One piece every tenth of a second, split within an event."""
    pause = threading.Event()
    for event in events:
        yield event[:20]
        pause.wait(0.1)
        yield event[20:]


def test_a_slow_drip_is_a_reply_as_long_as_each_token_comes_in_time() -> None:
    with serving(ScriptedServer(wire=dripping, events=said(VLLM, "drip drop"))) as server:
        events = reply(server, token_timeout_s=0.5)
    assert (text(events), finished(events).error) == ("drip drop", None)
    assert (finished(events).stats.total_s or 0) > 0.5, "longer than one token may take"


def test_a_server_that_never_begins_times_out() -> None:
    with serving(ScriptedServer(wire=cut(Hush, after=0), events=said(VLLM))) as server:
        events = reply(server, first_token_timeout_s=0.2)
    assert error_of(events).kind == "endpoint_timeout"
    assert "0.2 s" in error_of(events).message


def test_an_error_in_mid_stream_is_reported_and_the_text_kept() -> None:
    error = b'data: {"error":{"message":"CUDA out of memory\\nand a long trace","type":"x","code":500}}\n\n'
    with serving(ScriptedServer(events=[*map(VLLM.delta, "Half"), error])) as server:
        events = reply(server)
    assert text(events) == "Half"
    assert "CUDA out of memory" in error_of(events).message
    assert "trace" not in error_of(events).message


def test_a_line_of_ten_megabytes_is_refused_and_not_kept() -> None:
    def endless(events: Iterable[bytes]) -> Iterator[bytes]:
        yield from events
        for _ in range(160):
            yield b"x" * 65_536

    with serving(ScriptedServer(wire=endless, events=[VLLM.delta("Half"), b"data: "])) as server:
        events = reply(server)
    assert text(events) == "Half"
    assert finished(events).reason == "error"
    assert "bytes" in error_of(events).message


def test_data_that_is_not_json_is_reported() -> None:
    with serving(ScriptedServer(events=[VLLM.delta("Half"), b"data: {nonsense\n\n"])) as server:
        events = reply(server)
    assert text(events) == "Half"
    assert error_of(events).kind == "endpoint_protocol"


def test_a_web_page_with_status_200_is_named_as_one() -> None:
    page = ScriptedAnswer(200, b"<!doctype html><title>Sign in</title>", {"Content-Type": "text/html"})
    with serving(ScriptedServer(answers=[page])) as server:
        error = error_of(reply(server))
    assert error.kind == "endpoint_protocol"
    assert "page" in error.message
    assert "<" not in error.message


# -- cancel


def test_cancel_closes_the_stream_within_a_tenth_of_a_second() -> None:
    gate = StreamGate()
    script = Script(stepped=True, replies=("one two three four five six seven",), context_length=CONTEXT)
    gate.release(3)
    with serving(ScriptedServer(script=script, gate=gate)) as server:
        engine, asked = loaded(server), request()
        control = GenerationControl(asked.sampling)
        events: list[GenerationEvent] = []
        began_s: list[float] = []

        def cancel() -> None:
            began_s.append(time.perf_counter())
            control.cancel()

        for event in engine.generate(asked, control):
            events.append(event)
            if isinstance(event, TokenEvent) and sum(isinstance(e, TokenEvent) for e in events) == 3:
                threading.Thread(target=cancel).start()
        took_s = time.perf_counter() - began_s[0]
        assert server.has_left.wait(5) or not server.requests[-1][1], "the server sees it"
        engine.close()
    assert finished(events).reason == "cancelled"
    assert text(events) == "one two three"
    assert took_s < 0.1


# -- refusals


REFUSALS: list[tuple[ScriptedAnswer, str, str]] = [
    (ScriptedAnswer(401, {"error": {"message": "bad key"}}), "endpoint_auth", "OPENAI_API_KEY"),
    (ScriptedAnswer(403, {"detail": "Forbidden"}), "endpoint_auth", "OPENAI_API_KEY"),
    (ScriptedAnswer(404, {"detail": "Not Found"}), "endpoint_not_found", "/v1"),
    (
        ScriptedAnswer(404, {"error": {"message": f"The model `{MODEL}` does not exist."}}),
        "model_missing",
        MODEL,
    ),
    (
        ScriptedAnswer(400, {"error": "The model `gpt-4.1-foo` does not exist"}),
        "model_missing",
        "gpt-4.1-foo",
    ),
    (
        ScriptedAnswer(400, {"error": "The model is fine. The file was not found"}),
        "request_refused",
        "was not found",
    ),
    (ScriptedAnswer(429, {"error": "slow down"}), "rate_limited", "slow down"),
    (ScriptedAnswer(500, b"Internal Server Error"), "endpoint_error", "Internal Server Error"),
    (ScriptedAnswer(502, b"<html><h1>502 Bad Gateway</h1></html>"), "endpoint_error", "502"),
    (
        ScriptedAnswer(503, {"error": {"message": "Loading model", "code": 503}}),
        "endpoint_loading",
        "Loading model",
    ),
    (ScriptedAnswer(402, {"error": "Insufficient credits"}), "quota_used_up", "Insufficient credits"),
    (ScriptedAnswer(529, {"error": "Overloaded"}), "rate_limited", "Overloaded"),
]


@pytest.mark.parametrize(("answer", "kind", "word"), REFUSALS, ids=lambda value: getattr(value, "status", ""))
def test_every_refusal_has_its_own_message(answer: ScriptedAnswer, kind: str, word: str) -> None:
    with serving(ScriptedServer(answers=[answer] * 5)) as server:
        error = error_of(reply(server, retries=0))
    assert error.kind == kind
    assert word in error.line
    assert KEY not in error.line
    assert "<" not in error.message


@given(
    st.sampled_from([400, 401, 403, 404, 413, 429, 500, 501, 503, 529]),
    st.text(st.one_of(st.sampled_from(".:;,!?) …"), st.characters(codec="utf-8", categories=["L", "N"])), max_size=20),
    st.booleans(),
)  # fmt: skip
def test_whatever_a_server_says_ends_before_our_cure_begins(status: int, words: str, has_key: bool) -> None:
    body = json.dumps({"error": {"message": words}}).encode()
    endpoint = Endpoint(name="lab", base_url="http://127.0.0.1:8000/v1", api_key_env="LAB_KEY")
    error = status_error(status, body, endpoint, has_key=has_key, model="m", known=["n"]).info
    said = error.line.removesuffix(error.cure)
    assert re.search(r"[.!?…]\)* ?\Z", said), error.line
    assert not re.search(r"(?<!\.)\.\. ?\Z", said), error.line


@pytest.mark.parametrize("status", [429, 502, 503, 504, 529])
def test_a_temporary_refusal_is_retried_when_the_server_says(status: int) -> None:
    busy = ScriptedAnswer(status, {"error": "busy"}, {"Retry-After": "0"})
    with serving(ScriptedServer(answers=[busy, busy], events=said(VLLM))) as server:
        assert text(reply(server, retries=3)) == SAID
        assert len(server.chats()) == 3


@pytest.mark.parametrize("code", ["insufficient_quota", "billing_hard_limit_reached"])
def test_a_request_is_not_repeated_once_the_quota_is_used_up(code: str) -> None:
    no = ScriptedAnswer(429, {"error": {"message": "You exceeded your current quota.", "code": code}})
    with serving(ScriptedServer(answers=[no], events=said(VLLM))) as server:
        error = error_of(reply(server, retries=3))
        assert len(server.chats()) == 1
    assert (error.kind, "quota" in error.message) == ("quota_used_up", True)


def test_the_wait_for_a_server_that_loads_its_model_is_reported(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(row_request, "_LOADING_WAIT_S", 0.01)
    loading = ScriptedAnswer(
        503, {"error": {"message": "Loading model", "type": "unavailable_error", "code": 503}}
    )
    with serving(ScriptedServer(answers=[loading] * 6, events=said(VLLM))) as server:
        events = reply(server, retries=2)
    assert text(events) == SAID
    assert any("still loading" in event.reason for event in events if isinstance(event, Retrying))


@pytest.mark.parametrize("status", [400, 401, 404, 500])
def test_a_lasting_refusal_is_not_retried(status: int) -> None:
    with serving(
        ScriptedServer(answers=[ScriptedAnswer(status, {"error": "no"})], events=said(VLLM))
    ) as server:
        error_of(reply(server, retries=3))
        assert len(server.chats()) == 1


def test_a_redirect_to_another_host_does_not_get_the_key() -> None:
    with serving(ScriptedServer(events=said(VLLM))) as other, serving(ScriptedServer()) as server:
        away = {"Location": f"{other.base_url}/chat/completions"}
        server.answers = [ScriptedAnswer(307, b"", away)]
        reply(server)
        assert [headers.get("authorization") for headers, _ in server.chats()] == [f"Bearer {KEY}"]
        assert all("authorization" not in headers for headers, _ in other.chats())


def test_a_refused_connection_is_reported_with_the_address(tmp_path: Path) -> None:
    with serving(ScriptedServer()) as server:
        pass
    with pytest.raises(EngineError) as caught:
        loaded(server)
    assert caught.value.info.kind == "endpoint_refused"
    assert server.base_url.split("/")[2] in caught.value.info.message


# -- what is sent


@by_name
def test_each_kind_of_server_gets_only_what_it_accepts(shape: ResponseShape) -> None:
    known: dict[str, Callable[[dict[str, object]], bool]] = {
        "vllm": lambda body: {"top_k", "min_p", "repetition_penalty"} <= set(body),
        "llama.cpp": lambda body: {"top_k", "min_p", "repeat_penalty"} <= set(body),
        "llama-cpp-python": lambda body: {"top_k", "repeat_penalty"} <= set(body),
        "transformers": lambda body: (
            not {"stream_options", "presence_penalty", "top_k", "logprobs"} & set(body)
        ),
        "ollama": lambda body: not {"top_k", "min_p"} & set(body),
        "openai": lambda body: not {"top_k", "min_p", "repetition_penalty"} & set(body),
    }
    with serving(ScriptedServer(shape)) as server:
        server.events = said(shape)
        engine = loaded(server)
        asked = request(temperature=0.5, top_k=20, min_p=0.1, repetition_penalty=1.2, presence_penalty=0.5)
        list(engine.generate(asked, GenerationControl(asked.sampling)))
        engine.close()
        ((_, body),) = server.chats()
    assert known[shape.name](body), json.dumps(body)
    assert (body["model"], body["stream"]) == (MODEL, True)


@by_name
def test_a_whole_conversation_is_possible_with_each(shape: ResponseShape) -> None:
    with serving(ScriptedServer(shape)) as server:
        events = reply(server)
    assert text(events) == "Hello! This is a scripted reply, twelve words long, as you see."
    assert isinstance(events[-1], GenerationFinished)
    assert events[-1].reason == "stop"
