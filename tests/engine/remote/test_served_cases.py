"""79 servers as they were met, and what a reply through each comes to (`data/served.jsonl`: `expect` in words)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import msgspec
import pytest

from tests.engine.engine_subject import finished, text
from tests.engine.remote.played_server import CASES, played, played_list, refusing
from tests.engine.remote.raw_server import DONE, RawServer, answer, end, in_turn, said, sends, stream
from ttchat_tui.domain.chat import ChatMessage
from ttchat_tui.domain.events import GenerationEvent, PrefillProgress, Retrying
from ttchat_tui.domain.generation import FinishReason, GenerationControl, GenerationRequest
from ttchat_tui.domain.model_spec import EngineInfo, ModelSpec, RemoteOptions
from ttchat_tui.domain.sampling import SamplingParams
from ttchat_tui.engine.base import EngineError
from ttchat_tui.engine.remote.remote_engine import RemoteEngine

THOUGHT: Final = "<think>\nThink\n</think>\n\nYes"


class Outcome(msgspec.Struct, frozen=True):
    """What is right for a case."""

    text: str = "Hi"
    reason: FinishReason = "stop"
    note: str = ""
    """In what the app says of the reply; empty: it says nothing."""
    error: str = ""
    """In the error's words; empty: there is none."""
    kind: str = ""
    """Of the error."""
    tokens: tuple[int, int] | None = None
    """Of prompt and reply; None: not told by the server."""
    progress: tuple[tuple[int, int], ...] | None = None
    """Of prefill, as the server told it."""


READ: Final[dict[str, Outcome]] = {
    "ok": Outcome("Hello there"),
    **{
        name: Outcome(THOUGHT)
        for name in ("rc_both", "reasoning_obj", "reasoning_details", "thinking_field", "mistral_think")
    },
    **{
        name: Outcome()
        for name in ("delta_str", "delta_list", "delta_missing_text", "usage_str", "usage_list", "usage_neg")
    },
    **{name: Outcome() for name in ("timings_list", "logprobs_list", "logprobs_old", "object_num")},
    **{name: Outcome() for name in ("error_str_none", "error_msg_empty", "crlf", "comment_as_data", "bom")},
    **{name: Outcome() for name in ("data_empty", "done_lower", "done_json", "json_as_array", "status201")},
    **{name: Outcome() for name in ("chunked_noend", "fin_no_done_hang", "fin_unknown", "slow_comments")},
    **{
        name: Outcome(tokens=(3, 1))
        for name in ("choices_null_usage", "usage_float", "usage_details_list", "usage_cached_neg")
    },
    "fin_cf": Outcome(reason="error", error="content filter", kind="content_filter"),
    "fin_abort": Outcome(reason="error", error="broke the reply off", kind="connection_lost"),
    "refusal": Outcome("I cannot help with that.", note="refusal"),
    "tool_calls": Outcome("", note='wanted to call get_weather with {"city":"Oslo"}; this app runs no tools'),
    "fn_call": Outcome("", note="wanted to call f; this app runs no tools"),
    "audio_images": Outcome("", note="sent an image, which is not shown"),
    "empty_reply": Outcome("", note="empty reply"),
    "only_done": Outcome("", note="empty reply"),
    "final_full_message": Outcome("Hello"),
    "single_nl": Outcome("Hi you"),
    "mid_empty_deltas": Outcome("Hi you"),
    "event_error": Outcome(reason="error", error="failed: boom in the GPU", kind="endpoint_error"),
    "error_bare": Outcome(reason="error", error="failed: CUDA out of memory", kind="endpoint_error"),
    "error_bare_first": Outcome(
        "", reason="error", error="failed: CUDA out of memory", kind="endpoint_error"
    ),
    "br_lie": Outcome("", reason="error", error="with br, which was not asked for", kind="endpoint_protocol"),
    "surrogate": Outcome("😀"),
    "slow_progress": Outcome(progress=tuple((done, 1000) for done in range(0, 1000, 100))),
}
"""Cases of reading what a server sends. All others are of the request: what is sent, where, and what is refused."""


UNSUPPORTED: Final[dict[str, tuple[int, str, Callable[[Any], bool], Callable[[Any], bool]]]] = {
    "p_max_tokens": (
        400,
        "Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead.",
        lambda sent: "max_tokens" in sent,
        lambda sent: sent["max_completion_tokens"] == 100,
    ),
    "p_temperature": (
        400,
        "Unsupported value: 'temperature' does not support 0.7 with this model. Only the default (1) value is supported.",
        lambda sent: "temperature" in sent,
        lambda sent: "top_p" in sent,
    ),
    "p_top_p": (
        400,
        "Unsupported parameter: 'top_p' is not supported with this model.",
        lambda sent: "top_p" in sent,
        lambda sent: "temperature" in sent,
    ),
    "p_stop": (
        400,
        "Unsupported parameter: 'stop' is not supported with this model.",
        lambda sent: "stop" in sent,
        lambda sent: "temperature" in sent,
    ),
    "p_extra_penalties_422": (
        422,
        "Extra inputs are not permitted",
        lambda sent: "presence_penalty" in sent or "frequency_penalty" in sent,
        lambda sent: {"temperature", "top_p", "max_tokens"} <= set(sent),
    ),
    "p_both_temp_topp": (
        400,
        "`temperature` and `top_p` cannot both be specified for this model. Please use only one.",
        lambda sent: {"temperature", "top_p"} <= set(sent),
        lambda sent: "temperature" in sent,
    ),
    "p_system": (
        400,
        "System role not supported",
        lambda sent: sent["messages"][0]["role"] == "system",
        lambda sent: sent["messages"] == [{"role": "user", "content": "Be brief.\n\nHello"}],
    ),
    "p_nostream": (
        400,
        "Your organization must be verified to stream this model. Please go to ...",
        lambda sent: sent["stream"],
        lambda sent: "stream_options" not in sent,
    ),
    "p_max_tokens_big": (
        400,
        "max_tokens is too large: 100000. This model supports at most 4096 completion tokens, whereas you provided 100000.",
        lambda sent: sent["max_tokens"] > 4096,
        lambda sent: sent["max_tokens"] == 4096,
    ),
}
"""By case: how such a server refuses, what it refuses, and what is right of the request that it takes."""


def loaded(name: str, model: str = "") -> EngineInfo:
    server = played(CASES[name])
    engine = RemoteEngine(environ={})
    try:
        spec = ModelSpec(engine="remote", name=f"remote:{model}", remote=RemoteOptions(base_url=server.url))
        return engine.load(spec, lambda _: None)
    finally:
        engine.close()
        server.close()


def reply_of(name: str, path: str = "/v1", **options: object) -> list[GenerationEvent]:
    server = played(CASES[name])
    engine = RemoteEngine(environ={})
    try:
        remote = RemoteOptions(
            base_url=server.url.removesuffix("/v1") + path,
            **{"first_token_timeout_s": 0.5, "token_timeout_s": 0.4, **options},
        )
        engine.load(ModelSpec(engine="remote", name="m1", remote=remote), lambda _: None)
        sampling = SamplingParams(temperature=0.7, max_tokens=100)
        request = GenerationRequest(id=1, messages=(ChatMessage("user", "Hello"),), sampling=sampling, seed=1)
        return list(engine.generate(request, GenerationControl(sampling)))
    finally:
        engine.close()
        server.close()


@pytest.mark.parametrize("name", READ)
def test_a_reply_comes_to_what_is_right(name: str) -> None:
    right = READ[name]
    events = reply_of(name)
    last = finished(events)
    assert (text(events), last.reason) == (right.text, right.reason), CASES[name]["expect"]
    words = " ".join(last.stats.notes)
    assert (right.note in words) if right.note else not words
    error = last.error
    assert (error is not None and right.error in error.message and error.kind == right.kind) or (
        error is None and not right.error
    )
    if right.tokens is not None:
        assert (last.stats.prompt_tokens, last.stats.completion_tokens) == right.tokens
    assert last.stats.is_estimate == (right.tokens is None)
    if right.progress is not None:
        told = [(each.done, each.total) for each in events if isinstance(each, PrefillProgress)]
        assert tuple(told[: len(right.progress)]) == right.progress


@pytest.mark.parametrize("name", UNSUPPORTED)
def test_a_request_that_is_refused_is_sent_again_as_the_server_takes_it(name: str) -> None:
    status, message, is_refused, is_right = UNSUPPORTED[name]
    assert message.split(".")[0] in CASES[name]["note"]
    server = played(CASES[name], refusing(status, message, is_refused))
    engine = RemoteEngine(environ={})
    options = RemoteOptions(base_url=server.url)
    engine.load(ModelSpec(engine="remote", name="m1", remote=options), lambda _: None)
    most = 100_000 if name == "p_max_tokens_big" else 100
    sampling = SamplingParams(temperature=0.7, max_tokens=most, stop=("END",))
    turns = (ChatMessage("system", "Be brief."), ChatMessage("user", "Hello"))
    request = GenerationRequest(id=1, messages=turns, sampling=sampling, seed=1)
    for _ in range(2):
        assert text(list(engine.generate(request, GenerationControl(sampling)))) == "Hi"
    first, *_, last_but_one, last = [heard.json for heard in server.chats]
    assert is_refused(first)
    assert not is_refused(last)
    assert is_right(last)
    assert last == last_but_one, "it is remembered"
    engine.close()
    server.close()


def test_a_long_wait_is_told_with_its_time_and_not_waited_for() -> None:
    error = finished(reply_of("s429_long")).error
    assert error is not None
    assert "10 min" in error.cure


def test_a_quota_that_is_used_up_is_told_at_once() -> None:
    events = reply_of("s429_quota")
    error = finished(events).error
    assert error is not None
    assert "quota" in error.message
    assert not any(isinstance(event, Retrying) for event in events)


def test_a_model_that_was_just_refused_is_not_offered() -> None:
    error = finished(reply_of("s404_model")).error
    assert error is not None
    assert (error.kind, "--model remote:m2" in error.cure) == ("model_missing", True)
    assert "there: m2." in error.message


def test_a_list_that_is_refused_does_not_hinder_a_model_that_was_named() -> None:
    assert text(reply_of("s401_models_only")) == "Hello there"


@pytest.mark.parametrize("name", ["no_models_404", "models_501"])
def test_a_model_that_is_named_needs_no_list(name: str) -> None:
    assert text(reply_of(name)) == "Hello there"
    assert "asked for all the same" in loaded(name, "m1").notes[0]


def test_the_list_is_read_in_each_shape() -> None:
    assert loaded("m_bare_list").served == loaded("m_dup").served == ("remote:m1", "remote:m2")
    assert loaded("m_embed_first").model == "m1"
    with pytest.raises(EngineError, match="no models yet"):
        loaded("m_data_null")


@pytest.mark.parametrize("name", ["no_v1", "api_v1"])
def test_the_api_is_found_where_it_is(name: str) -> None:
    assert text(reply_of(name, path="")) == "Hi"


def test_a_redirect_of_a_post_is_followed_with_its_body_and_remembered() -> None:
    server = played(CASES["r301post"])
    engine = RemoteEngine(environ={})
    options = RemoteOptions(base_url=server.url)
    engine.load(ModelSpec(engine="remote", name="m1", remote=options), lambda _: None)
    request = GenerationRequest(
        id=1, messages=(ChatMessage("user", "Hello"),), sampling=SamplingParams(), seed=1
    )
    for _ in range(2):
        assert text(list(engine.generate(request, GenerationControl(request.sampling)))) == "Hello there"
    first, *others = server.chats
    assert [each.path for each in others] == ["/r301dst/v1/chat/completions"] * 2
    assert [each.method for each in others] == ["POST"] * 2
    assert all(each.json == first.json for each in others)
    engine.close()
    server.close()


@pytest.mark.parametrize("name", ["ctx_sglang", "ctx_tgi", "ctx_lmstudio", "ctx_openrouter", "ctx_anthropic"])
def test_the_oldest_turns_are_left_out_and_the_numbers_are_read(name: str) -> None:
    body = CASES[name]["routes"]["/v1/chat/completions"][1]["send"]
    status = int(CASES[name]["routes"]["/v1/chat/completions"][0]["send"].split()[1])
    server = RawServer(
        in_turn(sends(answer(status, body)), stream(said("Hi"), end("stop"), DONE)), played_list
    )
    engine = RemoteEngine(environ={})
    options = RemoteOptions(base_url=server.url)
    engine.load(ModelSpec(engine="remote", name="m1", remote=options), lambda _: None)
    turns = [ChatMessage(role, "word " * 400) for _ in range(6) for role in ("user", "assistant")]
    sampling = SamplingParams(max_tokens=500)
    request = GenerationRequest(
        id=1, messages=(*turns, ChatMessage("user", "Hello")), sampling=sampling, seed=1
    )
    events = list(engine.generate(request, GenerationControl(sampling)))
    last = finished(events)
    assert (text(events), last.stats.context_length) == ("Hi", 4096)
    assert last.stats.dropped_messages > 0
    assert len(server.chats) == 2
    engine.close()
    server.close()


def test_what_failed_once_is_not_sent_again_and_its_words_are_told() -> None:
    server = RawServer(in_turn(sends(answer(500, "oops")), stream(said("Hi"), end("stop"))), played_list)
    engine = RemoteEngine(environ={})
    options = RemoteOptions(base_url=server.url)
    engine.load(ModelSpec(engine="remote", name="m1", remote=options), lambda _: None)
    request = GenerationRequest(
        id=1, messages=(ChatMessage("user", "Hello"),), sampling=SamplingParams(), seed=1
    )
    error = finished(list(engine.generate(request, GenerationControl(request.sampling)))).error
    assert error is not None
    assert "oops" in error.message
    engine.close()
    server.close()


def test_each_of_the_cases_is_one_of_reading_or_one_of_the_request() -> None:
    assert len(CASES) == 79
    others = {"s429_long", "s429_quota", "s404_model", "s401_models_only", "s500_once", "r301post"}
    others |= {"no_models_404", "models_501", "m_bare_list", "m_dup", "m_embed_first", "m_data_null"}
    others |= {"no_v1", "api_v1", *(name for name in CASES if name.startswith("ctx_"))}
    assert {*READ, *UNSUPPORTED, *others} == set(CASES)
