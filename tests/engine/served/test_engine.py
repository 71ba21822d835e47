"""The served engine against a server that a test controls byte by byte."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from typing import get_args

import pytest
from msgspec import structs

from tests.engine.served.raw_server import (
    DONE,
    HEAD,
    Handler,
    RawServer,
    answer,
    end,
    in_turn,
    said,
    sends,
    silence,
    stream,
    thought,
    usage,
)
from ttchat_tui.domain.anatomy import parts_of
from ttchat_tui.domain.chat import ChatMessage
from ttchat_tui.domain.errors import ErrorInfo
from ttchat_tui.domain.events import (
    GenerationEvent,
    GenerationFinished,
    GenerationStarted,
    Retrying,
    RowFinished,
    TokenEvent,
)
from ttchat_tui.domain.generation import Candidate, GenerationControl, GenerationRequest
from ttchat_tui.domain.model_spec import EngineInfo, ModelSpec, RemoteOptions
from ttchat_tui.domain.sampling import KeepThoughts, SamplingParams, Thinking
from ttchat_tui.engine.base import EngineError, LoadCancelled
from ttchat_tui.engine.served import row_request
from ttchat_tui.engine.served.adaptation import Adaptation
from ttchat_tui.engine.served.dialects import OPENAI, VLLM
from ttchat_tui.engine.served.engine import ServedEngine
from ttchat_tui.engine.served.refusal import parse_refusal
from ttchat_tui.engine.served.request import as_read

QUESTION = ChatMessage("user", "Hello?")
SAMPLING = SamplingParams(temperature=0.5, max_tokens=50)


class EngineClient:
    """A loaded remote engine with its server."""

    def __init__(self, server: RawServer, options: dict[str, object], environ: dict[str, str]) -> None:
        self.server = server
        self.engine = ServedEngine(environ)
        self._options = RemoteOptions(base_url=server.url, **options)  # type: ignore[arg-type]
        self.info: EngineInfo = self.load()

    def load(self, name: str = "remote:") -> EngineInfo:
        spec = ModelSpec(engine="remote", name=name, options=self._options)
        return self.engine.load(spec, lambda _: None)

    def ask(
        self, *messages: ChatMessage, sampling: SamplingParams = SAMPLING, **more: object
    ) -> tuple[GenerationRequest, GenerationControl, Iterator[GenerationEvent]]:
        request = GenerationRequest(id=7, messages=messages or (QUESTION,), sampling=sampling, seed=3, **more)  # type: ignore[arg-type]
        control = GenerationControl(sampling)
        return request, control, self.engine.generate(request, control)

    def reply(self, *messages: ChatMessage, **more: object) -> list[GenerationEvent]:
        return list(self.ask(*messages, **more)[2])  # type: ignore[arg-type]


Serve = Callable[..., EngineClient]


@pytest.fixture
def serve(monkeypatch: pytest.MonkeyPatch) -> Iterator[Serve]:
    monkeypatch.setattr(row_request, "_FIRST_WAIT_S", 0.01)
    clients: list[EngineClient] = []

    def start(
        chat: Handler | None = None,
        other: Handler | None = None,
        environ: dict[str, str] | None = None,
        **options: object,
    ) -> EngineClient:
        clients.append(EngineClient(RawServer(chat, other), options, environ or {}))
        return clients[-1]

    yield start
    for client in clients:
        client.engine.close()
        client.server.close()


def last(events: list[GenerationEvent]) -> GenerationFinished:
    assert isinstance(events[-1], GenerationFinished)
    return events[-1]


def text(events: list[GenerationEvent], number: int = 0) -> str:
    parts = [event.text for event in events if isinstance(event, TokenEvent) and event.row == number]
    return "".join(parts) + (last(events).text if number == 0 else "")


def error_of(events: list[GenerationEvent]) -> ErrorInfo:
    error = last(events).error
    assert error is not None
    return error


# -- a reply


def test_a_reply_streams_with_the_figures_of_the_server(serve: Serve) -> None:
    client = serve(stream(said("Good"), said("bye"), end("stop"), usage(11, 5, cached=8), DONE))
    events = client.reply()
    stats = last(events).stats
    assert isinstance(events[0], GenerationStarted)
    assert (text(events), last(events).reason) == ("Goodbye", "stop")
    assert (stats.prompt_tokens, stats.cached_tokens, stats.completion_tokens, stats.chunks) == (11, 8, 5, 2)
    assert not stats.is_estimate
    assert stats.ttft_s is not None


def test_a_reply_has_the_timeline_that_its_client_can_see(serve: Serve) -> None:
    stats = last(serve(stream(said("a"), said("b"), said("c"), end("stop"), DONE)).reply()).stats
    parts = parts_of(stats)
    names = ["request", "first byte", "first token", "stream", "end"]
    assert [name for name in names if name in {part.name for part in parts}] == [part.name for part in parts]
    assert {"request", "first byte", "end"} <= {part.name for part in parts}
    assert sum(part.seconds for part in parts) == pytest.approx(stats.total_s, abs=1e-4)
    assert sum(part.seconds for part in parts[:3]) >= (stats.ttft_s or 0.0) - 1e-4


def test_without_usage_pieces_are_counted_and_marked_as_such(serve: Serve) -> None:
    stats = last(serve(stream(said("a"), said("b"), end("stop"), DONE)).reply()).stats
    assert (stats.completion_tokens, stats.chunks, stats.is_estimate) == (2, 2, True)


def test_a_piece_of_several_tokens_counts_as_the_usage_beside_it_says(serve: Serve) -> None:
    counts = [{"prompt_tokens": 4, "completion_tokens": n} for n in (1, 4, 6)]
    pieces = [said(word, usage=count) for word, count in zip("abc", counts, strict=True)]
    events = serve(stream(*pieces, end("stop"), DONE)).reply()
    assert [len(event.times_s) for event in events if isinstance(event, TokenEvent)] == [1, 3, 2]
    assert last(events).stats.completion_tokens == 6


@pytest.mark.parametrize("field", ["reasoning_content", "reasoning"])
def test_thinking_comes_as_a_think_block_before_the_answer(serve: Serve, field: str) -> None:
    client = serve(stream(thought("Hm", field), thought("m.", field), said("Yes."), end("stop"), DONE))
    assert text(client.reply()) == "<think>\nHmm.\n</think>\n\nYes."


EARLIER = ChatMessage("assistant", "Yes.", "Hm.")


@pytest.mark.parametrize(
    ("keep", "sent"),
    [
        ("auto", {"content": "Yes.", "reasoning_content": "Hm.", "reasoning": "Hm."}),
        ("never", {"content": "Yes."}),
        ("always", {"content": "<think>\nHm.\n</think>\n\nYes."}),
    ],
)
def test_earlier_thoughts_are_sent_apart_or_as_wished(
    serve: Serve, keep: KeepThoughts, sent: dict[str, str]
) -> None:
    client = serve()
    client.reply(QUESTION, EARLIER, QUESTION, sampling=SamplingParams(keep_thoughts=keep))
    assert client.server.chats[0].json["messages"][1] == {"role": "assistant", **sent}


@pytest.mark.parametrize("keep", get_args(KeepThoughts))
def test_the_ids_of_an_earlier_reply_are_not_sent(serve: Serve, keep: KeepThoughts) -> None:
    client = serve()
    written = structs.replace(EARLIER, token_ids=(5, 6))
    client.reply(QUESTION, written, QUESTION, sampling=SamplingParams(keep_thoughts=keep))
    assert "token_ids" not in client.server.chats[0].json["messages"][1]


def test_a_server_that_reads_no_thoughts_gets_none() -> None:
    assert as_read((EARLIER,), OPENAI, "auto") == (ChatMessage("assistant", "Yes."),)


@pytest.mark.parametrize(
    ("level", "sent"),
    [
        ("auto", {}),
        ("off", {"chat_template_kwargs": {"enable_thinking": False, "thinking": False}}),
        (
            "low",
            {
                "chat_template_kwargs": {"enable_thinking": True, "thinking": True},
                "reasoning_effort": "low",
            },
        ),
    ],
)
def test_thinking_is_chosen_by_arguments_of_the_template(
    serve: Serve, level: Thinking, sent: dict[str, object]
) -> None:
    client = serve()
    client.reply(QUESTION, sampling=SamplingParams(thinking=level))
    body = client.server.chats[0].json
    assert {name: body[name] for name in ("chat_template_kwargs", "reasoning_effort") if name in body} == sent
    assert client.info.capabilities.thinking == ("off", "on", "low", "medium", "high")


def test_thinking_that_a_server_refuses_is_left_out_and_cannot_be_chosen_any_more() -> None:
    sent = {"model": "m", "messages": [QUESTION], "stream": True, "reasoning_effort": "low"}
    refused = parse_refusal(b'{"error": {"message": "Unrecognized request argument: reasoning_effort"}}')
    adaptation = Adaptation().learn_from(sent, refused)
    assert "reasoning_effort" not in adaptation.applied(sent)
    assert adaptation.thinking(OPENAI) == ()
    assert adaptation.thinking(VLLM) == ("off", "on")
    [note] = adaptation.notes(Adaptation(), "gpt at lab", OPENAI)
    assert note == "gpt at lab does not let thinking be chosen: requests go without."


def test_a_stop_string_cuts_the_reply_also_where_the_server_does_not(serve: Serve) -> None:
    client = serve(stream(said("one ST"), said("OP two"), end("length"), DONE))
    events = client.reply(sampling=SamplingParams(stop=("STOP",)))
    assert (text(events), last(events).reason) == ("one ", "stop")


def test_every_parameter_is_sent_under_the_dialects_name(serve: Serve) -> None:
    client = serve()
    client.reply(sampling=SamplingParams(temperature=0.5, top_k=0, repetition_penalty=1.1, max_tokens=9))
    body = client.server.chats[0].json
    assert (body["top_k"], body["repetition_penalty"], body["seed"], body["max_tokens"]) == (-1, 1.1, 3, 9)
    assert body["stream_options"]["include_usage"]


def test_an_answer_that_was_not_streamed_is_taken_as_a_whole(serve: Serve) -> None:
    whole = {"choices": [{"message": {"role": "assistant", "content": "All."}, "finish_reason": "stop"}]}
    events = serve(sends(answer(200, whole))).reply()  # type: ignore[arg-type]
    assert (text(events), last(events).reason) == ("All.", "stop")


def test_candidates_are_requests_side_by_side_each_with_its_seed(serve: Serve) -> None:
    client = serve(stream(said("Hi"), end("stop"), usage(3, 1), DONE))
    events = client.reply(candidates=(Candidate(seed=4), Candidate(seed=5)))
    assert sorted(heard.json["seed"] for heard in client.server.chats) == [3, 4, 5]
    assert sorted(event.row for event in events if isinstance(event, RowFinished)) == [0, 1, 2]
    assert [text(events, number) for number in range(3)] == ["Hi"] * 3
    assert last(events).stats.completion_tokens == 3


# -- ends of another kind


def test_a_stream_that_just_ends_is_an_interrupted_reply(serve: Serve) -> None:
    events = serve(stream(said("Half a"))).reply()
    assert text(events) == "Half a"
    assert error_of(events).kind == "connection_lost"


def test_done_without_a_finish_reason_is_an_end(serve: Serve) -> None:
    assert last(serve(stream(said("Hi"), DONE)).reply()).reason == "stop"


def test_a_finish_reason_without_done_is_an_end(serve: Serve) -> None:
    assert last(serve(stream(said("Hi"), end("length"))).reply()).reason == "length"


def test_an_error_in_the_stream_keeps_the_text_and_is_reported_in_the_servers_words(serve: Serve) -> None:
    failed = b'data: {"error": {"message": "CUDA out of\\nmemory"}}\n\n'
    events = serve(stream(said("Half"), failed, DONE)).reply()
    assert text(events) == "Half"
    assert "CUDA out of" in error_of(events).message


def test_a_web_page_is_reported_as_such(serve: Serve) -> None:
    events = serve(sends(answer(200, "<html>sign in</html>", kind="text/html"))).reply()
    assert "web page" in error_of(events).message
    assert "/v1" in error_of(events).cure


def test_an_endless_line_is_refused(serve: Serve) -> None:
    events = serve(stream(said("Hi"), b"data: " + b"x" * 9_000_000)).reply()
    assert text(events) == "Hi"
    assert error_of(events).kind == "endpoint_protocol"


# -- cancel and time-outs


@pytest.mark.parametrize("sent", [b"", HEAD, HEAD + said("Hi")], ids=["no answer", "no token", "mid reply"])
def test_cancel_ends_the_reply_within_a_tenth_of_a_second_and_closes_the_connection(
    serve: Serve, sent: bytes
) -> None:
    client = serve(silence(sent))
    _, control, events = client.ask()
    cancelled_s: list[float] = []

    def cancel() -> None:
        cancelled_s.append(time.perf_counter())
        control.cancel()

    threading.Timer(0.2, cancel).start()
    seen = list(events)
    assert time.perf_counter() - cancelled_s[0] < 0.1
    assert last(seen).reason == "cancelled"
    assert text(seen) == ("Hi" if sent.endswith(b"\n\n") and b"Hi" in sent else "")
    assert client.server.gone.wait(1.0)


def test_a_reply_cancelled_before_it_began_is_not_sent(serve: Serve) -> None:
    client = serve()
    _, control, events = client.ask()
    control.cancel()
    assert last(list(events)).reason == "cancelled"
    assert not client.server.chats


def test_a_server_that_never_answers_times_out(serve: Serve) -> None:
    events = serve(silence(HEAD + b": waiting\n\n"), first_token_timeout_s=0.15).reply()
    assert error_of(events).kind == "endpoint_timeout"
    assert "first_token_timeout_s" in error_of(events).cure


def test_a_server_that_stalls_times_out_and_the_text_is_kept(serve: Serve) -> None:
    events = serve(silence(HEAD + said("Half")), token_timeout_s=0.15).reply()
    assert (text(events), error_of(events).kind) == ("Half", "connection_lost")


def test_a_load_is_cancelled_while_the_server_is_silent(serve: Serve) -> None:
    client = serve()
    silent = RawServer(other=silence())
    spec = ModelSpec(engine="remote", name="remote:", options=RemoteOptions(base_url=silent.url))
    calls = iter([False, False, False])

    def report(_: object) -> None:
        if next(calls, True):
            raise LoadCancelled("cancelled")

    began_s = time.perf_counter()
    with pytest.raises(LoadCancelled):
        client.engine.load(spec, report)
    assert time.perf_counter() - began_s < 1.0
    silent.close()


# -- trying again


@pytest.mark.parametrize("status", [429, 502, 503, 504])
def test_a_request_to_a_busy_server_is_retried(serve: Serve, status: int) -> None:
    busy = sends(answer(status, {}, "Retry-After: 0.02"))
    client = serve(in_turn(busy, busy, stream(said("Hi"), end("stop"))))
    events = client.reply()
    assert text(events) == "Hi"
    assert len(client.server.chats) == 3
    reported = [
        (event.wait_s, event.attempt, event.attempts) for event in events if isinstance(event, Retrying)
    ]
    assert reported == [(0.02, 2, 4), (0.0, 2, 4), (0.02, 3, 4), (0.0, 3, 4)], "each wait, and its end"
    reason = next(event.reason for event in events if isinstance(event, Retrying))
    words = {
        429: "is busy",
        502: "is not reached by its gateway",
        503: "is busy",
        504: "did not answer in time",
    }
    assert reason == f"{client.info.endpoint} {words[status]} ({status})"


def test_too_long_a_wait_is_reported_instead_of_a_retry(serve: Serve) -> None:
    client = serve(sends(answer(429, {"message": "quota"}, "Retry-After: 3600")))
    events = client.reply()
    assert (error_of(events).kind, len(client.server.chats)) == ("rate_limited", 1)


@pytest.mark.parametrize(
    "chat",
    [sends(answer(500, {})), sends(b""), stream(said("Hi"))],
    ids=["server error", "nothing", "broken off"],
)
def test_a_request_that_may_have_been_processed_is_never_repeated(serve: Serve, chat: Handler) -> None:
    client = serve(chat)
    assert last(client.reply()).reason == "error"
    assert len(client.server.chats) == 1


# -- refusals


def test_a_field_that_the_server_refuses_is_left_out_from_then_on(serve: Serve) -> None:
    picky = sends(answer(400, {"error": {"message": "unknown field stream_options"}}))
    client = serve(in_turn(picky, stream(said("Hi"), end("stop"))))
    assert text(client.reply()) == "Hi"
    client.reply()
    assert [("stream_options" in heard.json) for heard in client.server.chats] == [True, False, False]


def test_a_reply_longer_than_the_context_is_requested_shorter(serve: Serve) -> None:
    message = "maximum context length is 300 tokens and your request has 280 input tokens"
    client = serve(
        in_turn(sends(answer(400, {"message": message})), stream(said("Hi"), end("length"), usage(280, 20)))
    )
    events = client.reply()
    assert last(events).reason == "context"
    assert client.server.chats[-1].json["max_tokens"] == 20


# -- keys


def test_the_key_goes_to_its_own_server(serve: Serve) -> None:
    client = serve(environ={"OPENAI_API_KEY": "sk-secret"})
    client.reply()
    assert client.server.chats[0].headers["authorization"] == "Bearer sk-secret"


def test_a_redirect_to_another_origin_does_not_take_the_key_along(serve: Serve) -> None:
    other = RawServer(stream(said("Hi"), end("stop")))
    moved = answer(307, {}, f"Location: {other.url}/chat/completions")
    client = serve(sends(moved), environ={"OPENAI_API_KEY": "sk-secret"})
    assert text(client.reply()) == "Hi"
    assert "authorization" not in other.chats[0].headers
    other.close()


def test_a_refused_key_is_reported_by_its_variable(serve: Serve) -> None:
    client = serve(sends(answer(401, {"error": "no"})), environ={"OPENAI_API_KEY": "sk-secret"})
    error = error_of(client.reply())
    assert error.kind == "endpoint_auth"
    assert "OPENAI_API_KEY" in error.cure
    assert "sk-secret" not in error.message + error.cure


# -- loading


def test_the_engine_reports_what_it_found(serve: Serve) -> None:
    info = serve().info
    assert (info.model, info.engine, info.context_length) == ("m", "remote", 4096)
    assert info.label.startswith("remote vLLM @ 127.0.0.1:")
    assert info.served == ("remote:m",)


def test_a_base_url_without_v1_is_corrected_and_reported() -> None:
    server = RawServer()
    engine = ServedEngine({})
    options = RemoteOptions(base_url=server.url.removesuffix("/v1"))
    info = engine.load(ModelSpec(engine="remote", name="remote:", options=options), lambda _: None)
    assert any("/v1 was missing" in note for note in info.notes)
    engine.close()
    server.close()


def test_a_missing_model_is_refused_with_a_list_of_the_others(serve: Serve) -> None:
    with pytest.raises(EngineError, match="there: m") as caught:
        serve().load("remote:other")
    assert caught.value.info.kind == "model_missing"


def test_a_missing_server_is_reported_by_its_address(serve: Serve) -> None:
    client = serve(retries=1)
    client.server.close()
    error = error_of(client.reply())
    assert error.kind == "endpoint_refused"
    assert f"127.0.0.1:{client.server.port}" in error.message
