"""Counting a prompt: by the server, by a local tokenizer, or by estimate; and cancelling it."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec
import pytest

from tests.engine.served.raw_server import Heard, RawServer, answer, end, said, stream, usage
from ttchat_tui.domain.chat import ChatMessage
from ttchat_tui.domain.events import GenerationFinished
from ttchat_tui.domain.generation import GenerationControl, GenerationRequest
from ttchat_tui.domain.model_spec import ModelSpec, RemoteOptions
from ttchat_tui.domain.sampling import SamplingParams
from ttchat_tui.engine.base import EngineError
from ttchat_tui.engine.cpu.local_count import LocalCounter
from ttchat_tui.engine.served.engine import ServedEngine
from ttchat_tui.engine.text.bias_ids import NoSingleToken
from ttchat_tui.models.tokenizers import local_tokenizers

HELLO = (ChatMessage("user", "Hello?"),)


class CountingWords:
    """A local tokenizer with one token per word."""

    has_template = True

    def __init__(self, path: Path) -> None:
        assert path == Path("/here/tokenizer")

    def bias_ids(self, bias: Mapping[str, float]) -> dict[int, float]:
        if any(" " in text.strip() for text in bias):
            raise NoSingleToken("It is several tokens.")
        return {len(text): amount for text, amount in bias.items()}

    def count(self, messages: Sequence[ChatMessage]) -> int:
        return sum(len(message.content.split()) for message in messages)


class Broken(CountingWords):
    def count(self, messages: Sequence[ChatMessage]) -> int:
        raise EngineError("the template refuses")


def unknown_kind(client: socket.socket, _heard: Heard) -> None:
    client.sendall(answer(200, {"data": [{"id": "Org/Model"}]}))


def loaded(
    server: RawServer, counter: type[CountingWords] = CountingWords, name: str = "org/model"
) -> ServedEngine:
    engine = ServedEngine({}, counter_at=counter)
    spec = ModelSpec(
        engine="remote",
        name="remote:",
        options=RemoteOptions(base_url=server.url),
        tokenizers={name: "/here/tokenizer"},
    )
    engine.load(spec, lambda _: None)
    return engine


def reply(engine: ServedEngine, *messages: ChatMessage) -> GenerationFinished:
    sampling = SamplingParams(max_tokens=8)
    request = GenerationRequest(id=1, messages=messages, sampling=sampling, seed=1)
    *_, last = engine.generate(request, GenerationControl(sampling))
    assert isinstance(last, GenerationFinished)
    return last


def test_a_bias_is_sent_in_ids_where_the_models_tokenizer_is_here_and_greyed_out_elsewhere() -> None:
    server = RawServer(other=unknown_kind)
    engine = loaded(server)
    sampling = SamplingParams(max_tokens=8, logit_bias={" the": -100.0})
    request = GenerationRequest(id=1, messages=HELLO, sampling=sampling, seed=1)
    list(engine.generate(request, GenerationControl(sampling)))
    assert server.chats[0].json["logit_bias"] == {"4": -100.0}
    wrong = msgspec.structs.replace(request, sampling=SamplingParams(logit_bias={"two words": 1.0}))
    *_, last = engine.generate(wrong, GenerationControl(sampling))
    assert isinstance(last, GenerationFinished)
    assert last.error is not None
    assert last.error.kind == "logit_bias"
    info = ServedEngine({}).load(
        ModelSpec(engine="remote", name="remote:", options=RemoteOptions(base_url=server.url)), lambda _: None
    )
    assert "logit_bias" not in info.capabilities.sampling
    assert not info.capabilities.forcing


def test_the_server_counts_once_for_the_same_messages_where_it_can() -> None:
    def counts(client: socket.socket, heard: Heard) -> None:
        listed = {"data": [{"id": "org/model", "owned_by": "vllm", "max_model_len": 4096}]}
        client.sendall(answer(200, {"count": 12} if heard.path == "/tokenize" else listed))

    server = RawServer(other=counts)
    engine = loaded(server)
    found = [engine.count(number, HELLO) for number in (1, 2)]
    assert [(count.prompt_tokens, count.is_estimate) for count in found] == [(12, False)] * 2
    assert [heard.path for heard in server.heard].count("/tokenize") == 1


def test_a_tokenizer_of_the_same_model_counts_where_the_server_does_not() -> None:
    engine = loaded(RawServer(other=unknown_kind))
    count = engine.count(1, [ChatMessage("user", "one two three")])
    assert (count.prompt_tokens, count.is_estimate) == (3, False)


@pytest.mark.parametrize(("counter", "name"), [(CountingWords, "org/other"), (Broken, "org/model")])
def test_without_a_tokenizer_the_count_is_marked_as_an_estimate(
    counter: type[CountingWords], name: str
) -> None:
    assert loaded(RawServer(other=unknown_kind), counter, name).count(1, HELLO).is_estimate


def test_what_each_message_takes_is_an_estimate_that_adds_up_to_the_count() -> None:
    messages = [ChatMessage("user", "one two " * 20), ChatMessage("assistant", "three four")]
    count = loaded(RawServer(other=unknown_kind)).count(1, messages)
    assert not count.is_estimate
    assert count.is_split_estimated
    assert count.message_tokens[0] > 10 * count.message_tokens[1] > 0, "by length"
    assert sum(count.message_tokens) <= count.prompt_tokens


def test_a_local_count_that_the_server_contradicts_is_an_estimate_from_then_on() -> None:
    chat = stream(said("Hi"), end("stop"), usage(9, 1))
    engine = loaded(RawServer(chat, unknown_kind))
    reply(engine, *HELLO)
    assert engine.count(1, HELLO).prompt_tokens == 9, "as the server said"
    other = engine.count(2, [ChatMessage("user", "one two")])
    assert (other.prompt_tokens, other.is_estimate) == (2, True)


def test_a_local_count_that_the_server_confirms_stays_exact() -> None:
    engine = loaded(RawServer(stream(said("Hi"), end("stop"), usage(1, 1)), unknown_kind))
    reply(engine, *HELLO)
    assert not engine.count(2, [ChatMessage("user", "one two")]).is_estimate


def test_a_prompt_that_is_being_counted_is_cancelled_within_a_tenth_of_a_second() -> None:
    asked = threading.Event()

    def slow_to_count(client: socket.socket, heard: Heard) -> None:
        if heard.path == "/tokenize":
            asked.set()
            client.recv(1)  # until the client has gone
        else:
            client.sendall(answer(200, {"data": [{"id": "m", "owned_by": "vllm", "max_model_len": 600}]}))

    server = RawServer(other=slow_to_count)
    engine = ServedEngine({})
    engine.load(
        ModelSpec(engine="remote", name="remote:", options=RemoteOptions(base_url=server.url)), lambda _: None
    )
    sampling = SamplingParams()
    request = GenerationRequest(
        id=1, messages=(ChatMessage("user", "word " * 400),), sampling=sampling, seed=1
    )
    control = GenerationControl(sampling)
    cancelled_s: list[float] = []

    def cancel() -> None:
        asked.wait(5)
        cancelled_s.append(time.perf_counter())
        control.cancel()

    threading.Thread(target=cancel).start()
    (last,) = engine.generate(request, control)
    assert time.perf_counter() - cancelled_s[0] < 0.1
    assert isinstance(last, GenerationFinished)
    assert (last.reason, last.error) == ("cancelled", None)
    assert not server.chats


@pytest.mark.model
def test_the_default_models_file_counts_as_its_own_template_and_tokenizer_do(
    default_model_path: Path,
) -> None:
    counter = LocalCounter(default_model_path)
    assert counter.has_template
    alone, twice = counter.count(HELLO), counter.count([*HELLO, ChatMessage("assistant", "Hi."), *HELLO])
    # A turn: start, role, newline, two of text, end, newline; the assistant's role is two tokens.
    assert twice - alone == 7 + 8
    found = local_tokenizers(default_model_path.parents[1], {"HF_HOME": "/nowhere"})
    assert found["smollm2-135m-instruct"] == str(default_model_path)
    assert found["huggingfacetb/smollm2-135m-instruct"] == str(default_model_path)


def test_a_tokenizer_alone_in_the_hubs_cache_is_enough(tmp_path: Path) -> None:
    base = tmp_path / "hub" / "models--org--Model"
    snapshot = base / "snapshots" / "abc"
    snapshot.mkdir(parents=True)
    (base / "refs").mkdir()
    (base / "refs" / "main").write_text("abc")
    (snapshot / "tokenizer.json").write_text("{}")
    assert local_tokenizers(tmp_path / "none", {"HF_HOME": str(tmp_path)}) == {"org/model": str(snapshot)}
