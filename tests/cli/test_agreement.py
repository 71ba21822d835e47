"""`bench --compare`: another engine follows the reply token by token."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import msgspec
import pytest
from typer.testing import CliRunner

from tests.fakes import Script, ScriptedEngine
from ttchat_tui.cli import chat
from ttchat_tui.cli.bench.agreement import Agreement, Reply, follow
from ttchat_tui.cli.invocation import Invocation
from ttchat_tui.cli.main import app
from ttchat_tui.domain.chat import ChatMessage
from ttchat_tui.domain.events import GenerationEvent, GenerationFinished, GenerationStarted, TokenEvent
from ttchat_tui.domain.generation import GenerationControl, GenerationRequest, GenerationStats
from ttchat_tui.domain.model_spec import EngineKind, ModelSpec
from ttchat_tui.engine.base import EngineError

PROMPT = 50
IDS = (7, 8, 9, 10, 11)
TEXTS = ("se", "ven", "", "é", "!")
REPLY = Reply(messages=(ChatMessage("user", "Hi"),), prompt_tokens=PROMPT, ids=IDS, texts=TEXTS)


class Follower(ScriptedEngine):
    """Writes `ids`, one per request: the one after those that are written already. None ends the reply.

    It counts one token less where the text of the written ones is not `texts` up to there, as an engine that encodes the
    text anew.
    """

    def __init__(self, ids: Sequence[int | None] = IDS, texts: Sequence[str] = TEXTS) -> None:
        super().__init__(Script(context_length=4096))
        self._ids = ids
        self._texts = texts

    def generate(self, request: GenerationRequest, control: GenerationControl) -> Iterator[GenerationEvent]:
        self.requests.append(request)
        written = len(request.written_ids)
        text = request.messages[-1].content if request.continue_last else ""
        missing = text != "".join(self._texts[:written])
        yield GenerationStarted(request.id, PROMPT + written - missing, 0, 4096)
        chosen = self._ids[written]
        if chosen is not None:
            yield TokenEvent(request.id, (chosen,), "x", (0.1,))
        yield GenerationFinished(request.id, "stop" if chosen is None else "length", GenerationStats())


def test_an_engine_with_the_same_choices_agrees_everywhere() -> None:
    engine = Follower()
    assert follow(engine, "cpu", REPLY) == Agreement(label="cpu", compared=5, agreed=5, first_difference=None)
    assert [request.written_ids for request in engine.requests] == [IDS[:n] for n in range(5)]
    assert all(request.sampling.max_tokens == 1 for request in engine.requests)


@pytest.mark.parametrize("other", [99, None])
def test_another_choice_counts_once_and_the_next_ones_are_made_after_the_replys_own_tokens(
    other: int | None,
) -> None:
    found = follow(Follower([7, other, 9, other, 11]), "cpu", REPLY)
    assert (found.compared, found.agreed, found.first_difference) == (5, 3, 2)


def test_a_token_after_other_ids_than_the_replys_is_left_out() -> None:
    found = follow(Follower([7, 8, 9, 99, 11], ("se", "ven", "�", "", "!")), "cpu", REPLY)
    assert (found.compared, found.agreed) == (3, 3), "the two after the half character read other tokens"


def test_an_engine_that_reads_the_prompt_otherwise_is_an_error() -> None:
    reply = msgspec.structs.replace(REPLY, prompt_tokens=PROMPT + 1)
    with pytest.raises(EngineError, match="cpu reads the prompt as other tokens"):
        follow(Follower(), "cpu", reply)


def test_the_command_closes_the_measured_engine_before_it_loads_the_other(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    order: list[str] = []

    class Measured(Follower):
        def generate(
            self, request: GenerationRequest, control: GenerationControl
        ) -> Iterator[GenerationEvent]:
            for token_id, text in zip(IDS, TEXTS, strict=True):
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
        engine = Measured() if kind == "tt" else Other([7, 8, 9, 10, 99])
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
