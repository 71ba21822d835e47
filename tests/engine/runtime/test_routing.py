"""Local and served models behind one engine."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.fakes import SCRIPTED, Script, ScriptedEngine
from ttchat_tui.domain.chat import ChatMessage
from ttchat_tui.domain.events import GenerationFinished, TokenEvent
from ttchat_tui.domain.generation import GenerationControl, GenerationRequest
from ttchat_tui.domain.model_spec import EngineKind, ModelSpec
from ttchat_tui.domain.sampling import SamplingParams
from ttchat_tui.engine.base import EngineError
from ttchat_tui.engine.runtime.host import ProcessEngine
from ttchat_tui.engine.runtime.isolated import IsolatedEngine
from ttchat_tui.engine.runtime.routing import RoutingEngine

LOCAL = ModelSpec(engine="cpu", name="local")
SERVED = ModelSpec(engine="remote", name="remote:served")


def text(engine: RoutingEngine) -> str:
    sampling = SamplingParams()
    request = GenerationRequest(id=1, messages=(ChatMessage("user", "Hi"),), sampling=sampling, seed=1)
    events = list(engine.generate(request, GenerationControl(sampling)))
    assert isinstance(events[-1], GenerationFinished)
    return "".join(event.text for event in events if isinstance(event, TokenEvent)) + events[-1].text


def test_a_conversation_swaps_between_a_local_and_a_served_model(tmp_path: Path) -> None:
    made: list[EngineKind] = []

    def create(kind: EngineKind) -> ScriptedEngine:
        made.append(kind)
        return ScriptedEngine(Script(replies=("from afar",)))

    script = Script(replies=("from here",))
    isolated = IsolatedEngine(tmp_path / "log", factory=SCRIPTED, environment=script.environment())
    engine = RoutingEngine(isolated, create)
    assert isinstance(engine, ProcessEngine)
    with pytest.raises(EngineError, match="No model"):
        engine.count(1, [])
    engine.load(SERVED, lambda _: None)
    assert engine.pid is None, "a served model needs no process"
    assert text(engine) == "from afar"
    engine.load(LOCAL, lambda _: None)
    assert engine.pid is not None
    assert text(engine) == "from here"
    engine.load(SERVED, lambda _: None)
    assert engine.pid is None
    assert text(engine) == "from afar"
    assert made == ["remote"]
    engine.close()
