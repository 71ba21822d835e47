"""The engine in front of all kinds: which engines it creates, where they run, and when it drops them."""

from __future__ import annotations

from pathlib import Path

import pytest
from msgspec import structs

from tests.fakes import SCRIPTED, Script, ScriptedEngine
from ttchat_tui.domain.chat import ChatMessage
from ttchat_tui.domain.errors import ErrorInfo
from ttchat_tui.domain.events import (
    GenerationFinished,
    LoadProgress,
    ProgressReporter,
    TokenEvent,
)
from ttchat_tui.domain.generation import GenerationControl, GenerationRequest
from ttchat_tui.domain.given_settings import set_names, setting
from ttchat_tui.domain.model_spec import EngineInfo, EngineKind, ModelSpec
from ttchat_tui.domain.sampling import SamplingParams
from ttchat_tui.engine.base import Engine, EngineError, MissingDependency, not_loaded
from ttchat_tui.engine.runtime.host import ProcessEngine
from ttchat_tui.engine.runtime.isolated import IsolatedEngine
from ttchat_tui.engine.runtime.switching import SwitchingEngine

LOCAL = ModelSpec(engine="cpu", name="local")
SERVED = ModelSpec(engine="remote", name="remote:served")
REQUEST = GenerationRequest(id=7, messages=(ChatMessage("user", "Hi"),), sampling=SamplingParams(), seed=1)


class Made:
    """A factory that records the engines it creates."""

    def __init__(self, *replies: str) -> None:
        self.kinds: list[EngineKind] = []
        self.engines: list[ScriptedEngine] = []
        self._script = Script(replies=replies) if replies else Script()

    def __call__(self, kind: EngineKind) -> ScriptedEngine:
        self.kinds.append(kind)
        self.engines.append(ScriptedEngine(self._script))
        return self.engines[-1]


def ignore(_progress: LoadProgress) -> None:
    """A reporter that does nothing."""


def reply(engine: SwitchingEngine) -> tuple[str, ErrorInfo | None]:
    events = list(engine.generate(REQUEST, GenerationControl(REQUEST.sampling)))
    assert isinstance(events[-1], GenerationFinished)
    text = "".join(event.text for event in events if isinstance(event, TokenEvent)) + events[-1].text
    return text, events[-1].error


def refuses(engine: SwitchingEngine) -> bool:
    with pytest.raises(EngineError, match="No model"):
        engine.count(1, REQUEST.messages)
    return reply(engine) == ("", not_loaded().info)


def test_no_engine_is_made_before_a_model_is_loaded() -> None:
    made = Made()
    engine = SwitchingEngine(made)
    engine.unload()
    assert refuses(engine)
    engine.close()
    assert not made.engines


def test_models_of_one_kind_share_an_engine_and_another_kind_replaces_it() -> None:
    made = Made()
    engine = SwitchingEngine(made)
    for kind, name in (("cpu", "a"), ("cpu", "b"), ("tt", "c")):
        engine.load(ModelSpec(engine=kind, name=name), ignore)
    assert made.kinds == ["cpu", "tt"]
    assert made.engines[0].calls == ["load", "load", "close"]
    assert made.engines[1].calls == ["load"]


def test_an_engine_that_cannot_be_made_leaves_nothing_loaded() -> None:
    made = Made()

    def create(kind: EngineKind) -> ScriptedEngine:
        if kind == "tt":
            raise MissingDependency("The tt engine needs the package 'torch', which is not installed.")
        return made(kind)

    engine = SwitchingEngine(create)
    engine.load(LOCAL, ignore)
    with pytest.raises(MissingDependency):
        engine.load(ModelSpec(engine="tt", name="card"), ignore)
    assert refuses(engine)
    engine.load(LOCAL, ignore)
    assert reply(engine)[1] is None


def test_a_conversation_swaps_between_a_local_and_a_served_model(tmp_path: Path) -> None:
    made = Made("from afar")
    script = Script(replies=("from here",))
    isolated = IsolatedEngine(tmp_path / "log", factory=SCRIPTED, environment=script.environment())
    engine = SwitchingEngine(made, isolated)
    assert isinstance(engine, ProcessEngine)
    engine.start("remote")
    assert engine.pid is None, "a served model needs no process"
    assert refuses(engine)
    engine.load(SERVED, ignore)
    assert engine.pid is None
    assert reply(engine)[0] == "from afar"
    engine.load(LOCAL, ignore)
    assert engine.pid is not None
    assert reply(engine)[0] == "from here"
    engine.load(SERVED, ignore)
    assert engine.pid is None
    assert reply(engine)[0] == "from afar"
    assert made.kinds == ["remote"], "the client stays: it has learned about its servers"
    engine.unload()
    assert refuses(engine)
    engine.close()


def test_the_process_starts_ahead_of_a_model_that_will_need_it(tmp_path: Path) -> None:
    engine = SwitchingEngine(Made(), IsolatedEngine(tmp_path / "log", factory=SCRIPTED))
    engine.start("cpu")
    assert engine.pid is not None
    assert refuses(engine), "nothing is loaded yet"
    engine.close()


class Complaining(ScriptedEngine):
    """Its load has a note with a setting, and with the words of somebody else."""

    def load(self, spec: ModelSpec, report: ProgressReporter) -> EngineInfo:
        note = f"{setting('cpu.threads', '9')} is much. The file says: {FOREIGN}"
        return structs.replace(super().load(spec, report), notes=(note,))


FOREIGN = "[cpu] threads = 9 --threads 9 {setting[cpu.threads]}"


def complaining(_kind: EngineKind) -> Engine:
    return Complaining()


@pytest.mark.parametrize("runs_in", ["this process", "its own"])
def test_an_engine_names_settings_as_the_user_gave_them_and_rewrites_no_other_text(
    runs_in: str, tmp_path: Path
) -> None:
    set_names({"cpu.threads": "--threads"})
    factory = f"{__name__}:{complaining.__name__}"
    isolated = IsolatedEngine(tmp_path / "log", factory=factory) if runs_in == "its own" else None
    engine = SwitchingEngine(complaining, isolated)
    assert engine.load(LOCAL, ignore).notes == (f"--threads 9 is much. The file says: {FOREIGN}",)
    assert (engine.pid is None) == (isolated is None)
    engine.close()
