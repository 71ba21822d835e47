"""`bench --compare`: another engine follows the reply token by token."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import msgspec
import pytest
from typer.testing import CliRunner

from tests.fakes import Script, ScriptedEngine
from ttchat_tui.cli import chat
from ttchat_tui.cli.bench.agreement import Reply, follow
from ttchat_tui.cli.invocation import Invocation
from ttchat_tui.cli.main import app
from ttchat_tui.domain.agreement import agreement_of
from ttchat_tui.domain.chat import ChatMessage
from ttchat_tui.domain.events import GenerationEvent, GenerationFinished, GenerationStarted, TokenEvent
from ttchat_tui.domain.generation import GenerationControl, GenerationRequest, GenerationStats
from ttchat_tui.domain.model_spec import Capabilities, EngineInfo, EngineKind, ModelSpec
from ttchat_tui.domain.recording import Distribution, RecordedToken, packed
from ttchat_tui.engine.base import EngineError

PROMPT = 50
IDS = (7, 8, 9, 10, 11)
REPLY = Reply(messages=(ChatMessage("user", "Hi"),), prompt_tokens=PROMPT, ids=IDS)
INFO = EngineInfo(
    model="model",
    engine="cpu",
    label="cpu",
    context_length=4096,
    vocab_size=100,
    load_s=1.0,
    capabilities=Capabilities(follows=True),
)


class Follower(ScriptedEngine):
    """Follows the given ids. `ranks`: how many tokens it finds more probable than each."""

    def __init__(self, ranks: Sequence[int] = (0, 0, 0, 0, 0)) -> None:
        super().__init__(Script(context_length=4096, logprobs=True))
        self._ranks = ranks

    def generate(self, request: GenerationRequest, control: GenerationControl) -> Iterator[GenerationEvent]:
        self.requests.append(request)
        yield GenerationStarted(request.id, PROMPT, 0, 4096)
        for token_id, rank in zip(request.given.ids, self._ranks, strict=True):
            seen = Distribution(rank, 1.0)
            yield TokenEvent(request.id, (token_id,), "x", (0.1,), (-0.5,), distributions=(seen,))
        yield GenerationFinished(request.id, "length", GenerationStats())


def test_an_engine_with_the_same_choices_agrees_everywhere() -> None:
    engine = Follower()
    found = follow(engine, INFO, REPLY)
    assert (found.label, found.compared, found.agreed, found.first_difference) == ("cpu", 5, 5, None)
    assert [request.given.ids for request in engine.requests] == [IDS]


def test_another_choice_counts_once_and_the_next_ones_are_made_after_the_replys_own_tokens() -> None:
    others = [packed([(99, -0.1, "kept"), (each, -3.0, "kept")]) for each in (8, 10)]
    tokens = [RecordedToken(each, 0.0, rank=0) for each in IDS]
    followed = list(tokens)
    for place, alternatives in zip((1, 3), others, strict=True):
        followed[place] = RecordedToken(IDS[place], 0.0, logprob=-3.0, rank=1, alternatives=alternatives)
    found = agreement_of("cpu", tokens, followed)
    assert (found.compared, found.agreed, found.first_difference) == (5, 3, 2)


def test_an_engine_that_reads_the_prompt_otherwise_is_an_error() -> None:
    reply = msgspec.structs.replace(REPLY, prompt_tokens=PROMPT + 1)
    with pytest.raises(EngineError, match="cpu reads the prompt as other tokens"):
        follow(Follower(), INFO, reply)


def test_an_engine_that_gives_no_probabilities_is_not_asked() -> None:
    info = msgspec.structs.replace(INFO, label="tt n150", engine="tt", capabilities=Capabilities())
    with pytest.raises(EngineError, match="tt n150 does not give the probabilities") as raised:
        follow(Follower(), info, REPLY)
    assert raised.value.info.cure == 'Let the host sample: [tt] sampling = "host".'


def test_the_command_closes_the_measured_engine_before_it_loads_the_other(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    order: list[str] = []

    class Measured(Follower):
        def generate(
            self, request: GenerationRequest, control: GenerationControl
        ) -> Iterator[GenerationEvent]:
            for token_id, text in zip(IDS, "abcde", strict=True):
                yield TokenEvent(request.id, (token_id,), text, (0.1 * token_id,))
            stats = GenerationStats(prompt_tokens=PROMPT, prefill_s=0.5, prefill_tps=100.0)
            yield GenerationFinished(request.id, "length", stats)

        def close(self) -> None:
            order.append("tt closed")

    class Other(Follower):
        def close(self) -> None:
            order.append("cpu closed")

    def alone(invocation: Invocation):
        kind: EngineKind = invocation.flags["model.engine"]
        order.append(f"{kind} made for {invocation.flags.get('model.name')}")
        engine = Measured() if kind == "tt" else Other([0, 0, 0, 0, 1])
        return engine, lambda _report: ModelSpec(name="model", path="/some/model", engine=kind)

    monkeypatch.setattr(chat, "engine_alone", alone)
    result = CliRunner().invoke(app, ["bench", "--engine", "tt", "--tokens", "5", "--compare", "cpu"])
    assert result.exit_code == 0, result.output
    assert "4 of 5 tokens (80.0 %) are those of" in result.stdout
    assert "first other token: 5" in result.stdout
    assert order[:3] == ["tt made for None", "tt closed", "cpu made for /some/model"]
    assert "cpu closed" in order


def test_a_server_is_not_compared_because_it_reports_no_ids(monkeypatch: pytest.MonkeyPatch) -> None:
    def alone(_invocation: Invocation):
        return Follower(), lambda _report: ModelSpec(name="remote:lab/model", engine="remote")

    monkeypatch.setattr(chat, "engine_alone", alone)
    for more in ([], ["--concurrency", "2"]):
        result = CliRunner().invoke(app, ["bench", "--compare", "cpu", *more])
        assert result.exit_code == 2
        assert "--compare" in result.output
