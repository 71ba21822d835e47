"""Texts and replies that a server follows, in the way of vLLM; others say why they cannot."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from msgspec.structs import replace

from tests.engine.engine_subject import finished, recording_of, started
from tests.engine.served.scripted_server import ScriptedAnswer, ScriptedServer, serving
from tests.engine.served.shapes import CONTEXT, LLAMA_CPP, VLLM, ResponseShape
from tests.scripted_reply import token_id, tokenize
from ttchat_tui.cli.recorded_run import require_following
from ttchat_tui.domain.events import GenerationEvent
from ttchat_tui.domain.generation import GenerationControl, GenerationRequest, Given
from ttchat_tui.domain.model_spec import EngineInfo, ModelSpec, RemoteOptions
from ttchat_tui.domain.recording import Recording, alternatives_of
from ttchat_tui.domain.sampling import SamplingParams
from ttchat_tui.engine.base import EngineError
from ttchat_tui.engine.decoding.scoring_windows import windows
from ttchat_tui.engine.served.engine import ServedEngine

TEXT = "Once upon a time there was a clock."
ASKED = GenerationRequest(id=1, messages=(), sampling=SamplingParams(), seed=1, record="full")


@contextmanager
def connected(
    shape: ResponseShape = VLLM, **more: object
) -> Iterator[tuple[ScriptedServer, ServedEngine, EngineInfo]]:
    with serving(ScriptedServer(shape, **more)) as server:  # type: ignore[arg-type]
        engine = ServedEngine(environ={})
        options = RemoteOptions(base_url=server.base_url)
        try:
            yield server, engine, engine.load(ModelSpec(name="", options=options), lambda _progress: None)
        finally:
            engine.close()


def follow(engine: ServedEngine, given: Given) -> list[GenerationEvent]:
    return list(engine.generate(replace(ASKED, given=given), GenerationControl(ASKED.sampling)))


def pieces_of(recording: Recording) -> str:
    return b"".join(recording.piece_of(each.token_id) for each in recording.tokens).decode()


@pytest.mark.parametrize("has_beginning", [True, False])
def test_a_text_is_scored_after_the_servers_own_beginning(has_beginning: bool) -> None:
    with connected(has_beginning=has_beginning) as (server, engine, info):
        require_following(info)
        events = follow(engine, Given(text=TEXT))
        recording = recording_of(events)
        ids = [token_id(word) for word in tokenize(TEXT)]
        assert [each.token_id for each in recording.tokens] == ids
        assert pieces_of(recording) == TEXT
        assert (finished(events).reason, started(events).prompt_tokens) == ("length", len(ids))
        assert [each.logprob is None for each in recording.tokens] == [
            not has_beginning, *[False] * (len(ids) - 1)
        ]  # fmt: skip
        third = recording.tokens[2]
        assert (third.logprob, third.rank, third.entropy) == (-4.0 - ids[2] % 7, 6, None)
        listed = alternatives_of(third)
        assert [each.token_id for each in listed] == [ids[1] + 1, ids[1] + 2, ids[1] + 3, ids[2]]
        assert {each.cut for each in listed} == {"unknown"}
        (body,) = [body for path, _, body in server.requests if path == "/v1/completions"]
        assert body["prompt"] == [*([1] if has_beginning else []), *ids]


def test_a_text_that_is_longer_than_the_context_is_scored_in_windows() -> None:
    words = " ".join(f"w{number}" for number in range(600))
    with connected() as (server, engine, _info):
        recording = recording_of(follow(engine, Given(text=words)))
        ids = [token_id(word) for word in tokenize(words)]
        assert [each.token_id for each in recording.tokens] == ids
        assert all(each.logprob is not None for each in recording.tokens)
        sent = [body["prompt"] for path, _, body in server.requests if path == "/v1/completions"]
        wanted = windows(len(ids), CONTEXT - 2, has_beginning=True)
        assert sent == [[1, *ids[each.start : each.end]] for each in wanted]


def test_the_ids_of_a_reply_are_followed_after_its_prompt() -> None:
    with connected() as (server, engine, _info):
        server.words |= {each: f" word{each}" for each in range(100, 110)}
        events = follow(engine, Given(prompt_ids=(100, 101, 102), ids=(103, 107, 108)))
        recording = recording_of(events)
        assert [(each.token_id, each.rank) for each in recording.tokens] == [(103, 0), (107, 6), (108, 0)]
        assert pieces_of(recording).startswith(" other0 word107")
        assert finished(events).stats.completion_tokens == 3


@pytest.mark.parametrize("prompt", [1, 3, CONTEXT - 2])
@pytest.mark.parametrize("left", [2, 1, 0, -1, -5])
def test_no_more_is_asked_for_than_the_context_has_room_for(prompt: int, left: int) -> None:
    """`left`: tokens of the context after prompt and reply. The server refuses a full one, as vLLM does."""
    count = CONTEXT - left - prompt
    if count < 1:
        return
    with connected() as (server, engine, info):
        assert info.context_length == CONTEXT
        ids = tuple(range(1000, 1000 + count))
        server.words |= {each: f" w{each}" for each in ids}
        events = follow(engine, Given(prompt_ids=tuple(range(10, 10 + prompt)), ids=ids))
        assert finished(events).error is None
        recording = recording_of(events)
        assert tuple(each.token_id for each in recording.tokens) == ids
        unknown = [each.logprob is None for each in recording.tokens]
        assert unknown == [place >= CONTEXT - 1 - prompt for place in range(count)]
        assert finished(events).stats.completion_tokens == count
        (body,) = [body for path, _, body in server.requests if path == "/v1/completions"]
        assert len(body["prompt"]) + body["max_tokens"] <= CONTEXT


def test_a_prompt_that_leaves_no_room_is_refused_with_both_numbers() -> None:
    with connected() as (_server, engine, _info):
        error = finished(follow(engine, Given(prompt_ids=tuple(range(10, 9 + CONTEXT)), ids=(7,)))).error
        assert error is not None
        assert (error.kind, "255 tokens" in error.message, "256" in error.message) == (
            "prompt_too_long",
            True,
            True,
        )


def test_what_a_server_refuses_or_leaves_out_ends_with_its_words() -> None:
    refusal = ScriptedAnswer(
        400, {"error": {"message": "Requested prompt logprobs of 20, the maximum is 5", "code": 400}}
    )
    for page, said in (
        (refusal, "the maximum is 5"),
        (ScriptedAnswer(200, {"choices": []}), "no probabilities of the prompt's tokens"),
        (
            ScriptedAnswer(200, {"choices": [{"prompt_logprobs": [None]}]}),
            "no probabilities of the prompt's tokens",
        ),
    ):
        with connected(pages={"/v1/completions": page}) as (_server, engine, _info):
            error = finished(follow(engine, Given(text=TEXT))).error
            assert error is not None
            assert said in error.message
    with connected(pages={"/tokenize": ScriptedAnswer(200, {"count": 3})}) as (_server, engine, _info):
        error = finished(follow(engine, Given(text=TEXT))).error
        assert error is not None
        assert "no tokens of the text" in error.message


def test_a_server_without_probabilities_of_a_prompt_says_so_before() -> None:
    with connected(LLAMA_CPP) as (_server, engine, info):
        with pytest.raises(
            EngineError, match="gives the probabilities of what it writes, and none of a given"
        ):
            require_following(info)
        error = finished(follow(engine, Given(text=TEXT))).error
        assert error is not None
        assert error.kind == "cannot_follow"


def test_a_cancelled_score_ends_without_waiting_for_the_server() -> None:
    with connected() as (_server, engine, _info):
        control = GenerationControl(ASKED.sampling)
        control.cancel()
        events = list(engine.generate(replace(ASKED, given=Given(text=TEXT)), control))
        assert finished(events).reason == "cancelled"
