"""Model lists in every shape, or none: what is read, which model is chosen, and what is tried without a list."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.engine.engine_subject import text
from tests.engine.served.raw_server import Handler, Heard, RawServer, answer, in_turn, sends
from ttchat_tui.domain.chat import ChatMessage
from ttchat_tui.domain.events import LoadProgress
from ttchat_tui.domain.generation import GenerationControl, GenerationRequest
from ttchat_tui.domain.model_spec import EngineInfo, ModelSpec, RemoteOptions
from ttchat_tui.domain.sampling import SamplingParams
from ttchat_tui.engine.base import EngineError, LoadCancelled
from ttchat_tui.engine.served import engine as remote_engine
from ttchat_tui.engine.served.caller import Answer, Caller
from ttchat_tui.engine.served.endpoint import Endpoint
from ttchat_tui.engine.served.engine import ServedEngine
from ttchat_tui.engine.served.survey import models_of

CALLER = Caller(Endpoint(name="lab", base_url="http://127.0.0.1:9/v1"), "", connect_timeout_s=1.0)


def ids(body: object) -> list[str]:
    return [model.id for model in models_of(CALLER, Answer(200, {}, json.dumps(body).encode()))]


@pytest.mark.parametrize(
    ("body", "known"),
    [
        ({"data": [{"id": "m1"}, {"id": "m2"}]}, ["m1", "m2"]),
        ([{"id": "m1"}, {"id": "m2"}], ["m1", "m2"]),
        (["m1", "m2"], ["m1", "m2"]),
        ({"data": ["m1"]}, ["m1"]),
        ({"models": [{"name": "m1", "model": "m1"}]}, ["m1"]),
        ({"data": None, "models": [{"name": "m1"}]}, ["m1"]),
        ({"object": "list", "data": None}, []),
        ({"object": "list"}, []),
        ({"models": []}, []),
        ({"data": {"id": "m1"}}, ["m1"]),
        ({"data": {"m1": {"owned_by": "x"}}}, ["m1"]),
        ({"data": {"models": {"items": ["m1"]}}}, ["m1"]),
        ([], []),
        ({"data": [{"id": "m1"}, {"id": "m1"}, {"id": "m2"}, "m1"]}, ["m1", "m2"]),
        ({"data": [None, 7, {}, {"id": None}, {"id": 3}, {"id": ""}, [], {"id": "m1"}]}, ["m1"]),
    ],
)
def test_a_list_is_read_in_every_shape_and_each_id_once(body: object, known: list[str]) -> None:
    assert ids(body) == known


@pytest.mark.parametrize(
    "body", [{}, {"error": "no"}, "models", 3, None, {"data": 3}, {"data": {"error": {"message": "no"}}}]
)
def test_an_answer_without_a_list_is_reported(body: object) -> None:
    with pytest.raises(EngineError) as caught:
        ids(body)
    assert caught.value.info.kind == "endpoint_protocol"


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=4),
    lambda each: (
        st.lists(each, max_size=3)
        | st.dictionaries(st.sampled_from(["id", "name", "type", "meta", "capabilities", "owned_by"]), each)
    ),
    max_leaves=8,
)


@given(st.lists(JSON))
def test_ids_of_any_list_are_strings_and_differ(entries: list[Any]) -> None:
    found = ids({"data": entries})
    assert all(isinstance(each, str) and each for each in found)
    assert len(set(found)) == len(found)


# -- what is taken


Load = Callable[..., EngineInfo]


@pytest.fixture
def load() -> Iterator[Load]:
    kept: list[Any] = []

    def start(listing: Handler, name: str = "remote:", **more: Any) -> EngineInfo:
        def other(client: socket.socket, heard: Heard) -> None:
            is_list = heard.path.endswith("/models")
            (listing if is_list else sends(answer(404, {})))(client, heard)

        server = RawServer(other=other)
        engine = ServedEngine({})
        kept.extend((engine, server))
        options = RemoteOptions(base_url=server.url)
        return engine.load(
            ModelSpec(engine="remote", name=name, options=options), more.get("report") or (lambda _: None)
        )

    yield start
    for each in kept:
        each.close()


def listing(*entries: object) -> Handler:
    return sends(answer(200, {"data": list(entries)}))


@pytest.mark.parametrize(
    "other",
    [
        *(
            {"id": name}
            for name in (
                "text-embedding-3-large",
                "nomic-embed-text:latest",
                "BAAI/bge-m3",
                "whisper-1",
                "dall-e-3",
            )
        ),
        *(
            {"id": name}
            for name in ("jina-reranker-v2", "tts-1", "stable-diffusion-xl", "omni-moderation-latest")
        ),
        *({"id": name} for name in ("sentence-transformers/all-MiniLM-L6-v2", "intfloat/e5-mistral", "flux")),
        {"id": "x", "type": "embeddings"},
        {"id": "x", "type": "image"},
        {"id": "x", "task": "rerank"},
        {"id": "x", "capabilities": {"completion_chat": False}},
    ],
    ids=lambda each: str(each["id"]),
)
def test_a_model_that_does_not_chat_is_only_used_when_named(load: Load, other: dict[str, object]) -> None:
    assert load(listing(other, {"id": "m1"})).model == "m1"
    assert load(listing(other, {"id": "m1"}), f"remote:{other['id']}").model == other["id"], "but by name"


@pytest.mark.parametrize(
    "name",
    [
        "gpt-4o",
        "meta-llama/Llama-3.1-8B-Instruct",
        "qwen3:8b",
        "deepseek-r1",
        "phi-4",
        "influx-7b",
        "mistral-large",
    ],
)
def test_the_first_model_that_chats_is_used(load: Load, name: str) -> None:
    assert load(listing({"id": name}, {"id": "m2"})).model == name


def test_a_server_without_models_says_so(load: Load) -> None:
    with pytest.raises(EngineError, match="has no models yet"):
        load(sends(answer(200, {"object": "list", "data": None})))


@pytest.mark.parametrize("status", [401, 403, 404, 405, 500, 501])
def test_a_named_model_is_tried_although_the_list_is_refused(load: Load, status: int) -> None:
    info = load(sends(answer(status, {"detail": "no listing"})), "remote:m1")
    assert (info.model, info.served) == ("m1", ())
    assert "m1 is requested anyway" in info.notes[0]
    with pytest.raises(EngineError):
        load(sends(answer(status, {"detail": "no listing"})))


def test_a_named_model_is_tried_although_the_server_hangs_up_on_its_list(load: Load) -> None:
    assert load(sends(b""), "remote:m1").model == "m1"
    with pytest.raises(EngineError, match="closed the connection"):
        load(sends(b""))


def test_the_load_waits_for_a_server_that_loads_its_model(
    load: Load, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remote_engine, "_LOADING_WAIT_S", 0.01)
    loading = sends(answer(503, {"error": {"message": "Loading model", "code": 503}}))
    seen: list[str] = []

    def report(progress: LoadProgress) -> None:
        seen.append(progress.detail)

    info = load(in_turn(loading, loading, listing({"id": "m1"})), report=report)
    assert info.model == "m1"
    assert any("still loading its model" in detail for detail in seen)


def test_waiting_for_a_server_that_loads_can_be_cancelled(load: Load) -> None:
    def report(progress: LoadProgress) -> None:
        if "still loading" in progress.detail:
            raise LoadCancelled("enough")

    with pytest.raises(LoadCancelled):
        load(sends(answer(503, {"error": {"message": "Loading model"}})), report=report)


def test_identifying_requests_are_sent_in_parallel(load: Load) -> None:
    """Each of the four is answered only when all have been asked."""
    paths: set[str] = set()
    all_asked = threading.Event()

    def other(client: socket.socket, heard: Heard) -> None:
        if heard.path.endswith("/models"):
            client.sendall(answer(200, {"data": [{"id": "m1"}]}))
            return
        paths.add(heard.path)
        if len(paths) == 4:
            all_asked.set()
        if all_asked.wait(2.0):
            client.sendall(answer(200, {"version": "0.9"}))

    server = RawServer(other=other)
    engine = ServedEngine({})
    options = RemoteOptions(base_url=server.url)
    info = engine.load(ModelSpec(engine="remote", name="remote:", options=options), lambda _: None)
    assert all_asked.is_set()
    assert "Ollama" in info.label, "every one was answered: its version is one of four"
    request = GenerationRequest(
        id=1, messages=(ChatMessage("user", "Hi"),), sampling=SamplingParams(), seed=1
    )
    assert text(list(engine.generate(request, GenerationControl(request.sampling)))) == "Hi"
    engine.close()
    server.close()
