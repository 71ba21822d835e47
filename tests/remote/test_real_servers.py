"""The served engine on real servers. `make test-remote` runs it; `make test` skips it and says so."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator

import msgspec
import pytest

from tests.engine.engine_subject import finished, recording_of, text
from tests.remote.real_server import ROOT, RealServer
from ttchat_tui.domain.chat import ChatMessage
from ttchat_tui.domain.constraint import Constraint
from ttchat_tui.domain.events import GenerationEvent, TokenEvent
from ttchat_tui.domain.generation import GenerationControl, GenerationRequest, Given
from ttchat_tui.domain.model_spec import EngineInfo, ModelSpec, RemoteOptions
from ttchat_tui.domain.recording import alternatives_of
from ttchat_tui.domain.sampling import SamplingParams
from ttchat_tui.domain.thoughts import OPENING, extract_answer, extract_thoughts, normalised
from ttchat_tui.engine.base import EngineError
from ttchat_tui.engine.cpu.local_count import LocalCounter
from ttchat_tui.engine.served.engine import ServedEngine
from ttchat_tui.session.recorder import Recorder

pytestmark = [pytest.mark.model, pytest.mark.timeout(300)]
COUNT = ChatMessage("user", "Count from one to one hundred in words, and nothing else.")
PERSON = ChatMessage("user", "Invent a person.")
SCHEMA = Constraint(
    "json-schema",
    """{"type": "object", "properties": {"name": {"type": "string", "maxLength": 12},
    "age": {"type": "integer", "minimum": 0, "maximum": 99}}, "required": ["name", "age"],
    "additionalProperties": false}""",
)


def connect(server: RealServer, *, logprobs: bool = False) -> tuple[ServedEngine, EngineInfo]:
    engine = ServedEngine(environ={}, counter_at=LocalCounter)
    options = RemoteOptions(base_url=server.base_url, connect_timeout_s=10.0, logprobs=logprobs)
    return engine, engine.load(ModelSpec(engine="remote", name=server.model, options=options), lambda _: None)


@pytest.fixture
def engine(server: RealServer) -> Iterator[ServedEngine]:
    one, _ = connect(server)
    yield one
    one.close()


def asking(
    *messages: ChatMessage, max_tokens: int = 24, continue_last: bool = False, **sampling: object
) -> GenerationRequest:
    params = SamplingParams(**{"temperature": 0.0, "max_tokens": max_tokens, **sampling})
    return GenerationRequest(
        id=1, messages=messages or (COUNT,), sampling=params, seed=1, continue_last=continue_last
    )


def stream(engine: ServedEngine, request: GenerationRequest) -> list[GenerationEvent]:
    return list(engine.generate(request, GenerationControl(request.sampling)))


def test_a_server_is_recognised_by_its_answers(server: RealServer) -> None:
    engine, info = connect(server)
    engine.close()
    assert server.name in info.label
    assert f"127.0.0.1:{server.port}" in info.label


def test_a_chat_of_two_turns(engine: ServedEngine) -> None:
    first = text(stream(engine, asking()))
    assert first
    turns = (COUNT, ChatMessage("assistant", first), ChatMessage("user", "And now backwards."))
    second = stream(engine, asking(*turns))
    assert text(second)
    assert finished(second).error is None
    stats = finished(second).stats
    assert stats.ttft_s
    assert stats.chunks


def test_a_local_tokenizer_counts_as_the_server_does(server: RealServer, engine: ServedEngine) -> None:
    counted = engine.count(1, [COUNT])
    if counted.is_estimate:
        pytest.skip(f"{server.name} calls its model {server.model!r}: no tokenizer here has that name")
    stats = finished(stream(engine, asking(max_tokens=2))).stats
    assert counted.prompt_tokens == stats.prompt_tokens
    assert not engine.count(2, [COUNT, COUNT]).is_estimate, "the server's figure bears it out"


def test_a_thought_is_marked_in_the_reply(thinking_server: RealServer) -> None:
    engine, _ = connect(thinking_server)
    events = stream(engine, asking(max_tokens=120))
    engine.close()
    is_unopened = any(event.ends_thought for event in events if isinstance(event, TokenEvent))
    reply = normalised(OPENING * is_unopened + text(events))
    thought, answer = extract_thoughts(reply), extract_answer(reply)
    assert len(thought) >= 40
    assert answer
    assert "think>" not in thought + answer


def test_the_length_is_kept(engine: ServedEngine) -> None:
    last = finished(stream(engine, asking(max_tokens=5)))
    assert last.reason == "length"
    assert last.stats.completion_tokens <= 5


def test_log_probabilities_fill_the_recording_if_the_server_has_them(server: RealServer) -> None:
    engine, info = connect(server, logprobs=True)
    events = stream(engine, msgspec.structs.replace(asking(max_tokens=8), record="full"))
    engine.close()
    recorder = Recorder()
    for event in events:
        if isinstance(event, TokenEvent):
            recorder.add(event)
    recording = recorder.recording
    pieces = b"".join(recording.piece_of(token.token_id) for token in recording.tokens)
    assert pieces.decode("utf-8", "replace").strip() == text(events).strip()
    if not info.capabilities.logprobs:
        pytest.skip(f"{server.name} does not offer log-probabilities in chat")
    assert recording.tokens
    listed = 0
    for token in recording.tokens:
        assert token.logprob is not None
        assert token.logprob <= 0.0
        others = alternatives_of(token)
        assert [each.logprob for each in others] == sorted((each.logprob for each in others), reverse=True)
        if token.rank is not None:
            listed += 1
            assert others[token.rank].token_id == token.token_id
            assert others[token.rank].logprob == pytest.approx(token.logprob, abs=0.02)
    print(
        f"{server.name}: {len(alternatives_of(recording.tokens[0]))} alternatives, {listed} of them written"
    )
    assert listed >= len(recording.tokens) - 1, "greedy: the most probable one is listed"


def test_a_text_is_scored_or_refused_with_words(server: RealServer) -> None:
    engine, info = connect(server)
    request = msgspec.structs.replace(
        asking(), messages=(), record="full", given=Given(text="One two three.")
    )
    events = stream(engine, request)
    engine.close()
    recording, error = recording_of(events), finished(events).error
    print(server.name, [token.logprob for token in recording.tokens], error)
    if not info.capabilities.follows:
        assert error is not None
        assert error.kind == "cannot_follow"
        return
    pieces = b"".join(recording.piece_of(token.token_id) for token in recording.tokens)
    assert pieces.decode().strip() == "One two three."
    assert all(
        token.logprob is not None and len(alternatives_of(token)) == 20 for token in recording.tokens[1:]
    )


def test_a_json_schema_is_kept_or_refused_with_words(server: RealServer) -> None:
    reply = constrained(server, SCHEMA)
    if reply is None:
        return
    person = json.loads(reply)
    assert person.keys() == {"name", "age"}
    assert isinstance(person["name"], str)
    assert isinstance(person["age"], int)


def test_a_regex_is_kept_or_refused_with_words(server: RealServer) -> None:
    assert constrained(server, Constraint("regex", "(yes|no)")) in ("yes", "no", None)


def constrained(server: RealServer, constraint: Constraint) -> str | None:
    """The whole reply, at a temperature of 1; None: the constraint was refused before anything was sent."""
    engine, info = connect(server)
    events = stream(engine, asking(PERSON, max_tokens=120, constraint=constraint, temperature=1.0))
    engine.close()
    last = finished(events)
    print(server.name, constraint.kind, last.error or text(events))
    if last.error is None:
        assert "constraint" in info.capabilities.sampling
        assert last.reason == "stop"
        return text(events)
    assert last.error.message == f"{server.name} cannot constrain a reply by a {constraint.kind}."
    assert "/constrain off" in last.error.cure
    assert text(events) == ""
    return None


def test_cancel_ends_the_reply_within_a_tenth_of_a_second_and_the_server_continues(
    engine: ServedEngine,
) -> None:
    request = asking(max_tokens=400, temperature=0.7)
    control = GenerationControl(request.sampling)
    cancelled_s = 0.0
    events: list[GenerationEvent] = []
    for event in engine.generate(request, control):
        events.append(event)
        if isinstance(event, TokenEvent) and not cancelled_s:
            cancelled_s = time.perf_counter()
            control.cancel()
    assert time.perf_counter() - cancelled_s < 0.1
    assert finished(events).reason == "cancelled"
    assert text(stream(engine, asking(max_tokens=4)))


def test_sixteen_streams_at_once_all_end(server: RealServer) -> None:
    ends: list[GenerationEvent] = []

    def one() -> None:
        engine, _ = connect(server)
        ends.append(stream(engine, asking(max_tokens=6))[-1])
        engine.close()

    threads = [threading.Thread(target=one) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(200)
    assert [finished([end]).error for end in ends] == [None] * 16


def test_a_server_killed_under_a_reply_leaves_what_came_and_serves_again_after_a_restart(
    server: RealServer, engine: ServedEngine
) -> None:
    request = asking(max_tokens=400, temperature=0.7)
    events: list[GenerationEvent] = []
    for event in engine.generate(request, GenerationControl(request.sampling)):
        events.append(event)
        if sum(isinstance(each, TokenEvent) for each in events) == 3:
            server.kill()
    try:
        last = finished(events)
        assert last.error is not None
        assert last.error.kind == "connection_lost"
        assert text(events)
        refused = finished(stream(engine, asking(max_tokens=4))).error
        assert refused is not None
        assert refused.kind == "endpoint_refused"
        with pytest.raises(EngineError):
            connect(server)
    finally:
        server.start()
    unfinished = (COUNT, ChatMessage("assistant", text(events)))
    rest = asking(*unfinished, max_tokens=8, continue_last=True)
    assert text(stream(engine, rest)), "the same engine continues the reply"


@pytest.mark.timeout(900)  # six minutes with llama.cpp's server on two busy cores
def test_the_engine_contract(server: RealServer) -> None:
    environ = {
        **os.environ,
        "TTCHAT_TEST_REMOTE_URL": server.base_url,
        "TTCHAT_TEST_REMOTE_MODEL": server.model,
    }
    path = "tests/engine/served/test_contract_over_http.py"
    # mlx_lm.server leaves out pieces of the text where a stop string repeats itself, and continues after it.
    but = ["-k", "not stop_string"] if server.name == "OpenAI-compatible" else []
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-rs", "--timeout", "60", *but, path],
        cwd=ROOT,
        env=environ,
        capture_output=True,
        text=True,
        check=False,
    )
    print(done.stdout[-3000:])
    assert done.returncode == 0, done.stdout[-6000:]
