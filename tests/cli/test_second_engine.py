"""The engine of a second model: made on demand, refused where a device holds one model, awaited before the next load."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import pytest
from msgspec import structs

from tests.fakes import EventRecorder, Gate, Script, ScriptedEngine, prepare_scripted
from ttchat_tui.cli.second_engine import SecondEngine
from ttchat_tui.domain.events import EngineFailed, EngineLoaded, LoadProgress, ProgressReporter
from ttchat_tui.domain.model_spec import EngineInfo, ModelSpec
from ttchat_tui.engine.factory import ENGINES

CARD = next(kind for kind, engine in ENGINES.items() if engine.is_alone)
FIRST = EngineInfo(model="one", engine=CARD, label="the card", context_length=1, vocab_size=1, load_s=0.0)


def of_kind(name: str, report: ProgressReporter) -> ModelSpec:
    """The kind is before the colon."""
    return structs.replace(prepare_scripted(name, report), engine=name.partition(":")[0])


@pytest.fixture
def made() -> Iterator[list[SecondEngine]]:
    engines: list[SecondEngine] = []
    yield engines
    for each in engines:
        for host in each.hosts:
            host.shutdown()


def second(made: list[SecondEngine], script: Script | None = None, gate: Gate | None = None) -> SecondEngine:
    made.append(
        SecondEngine(lambda: ScriptedEngine(script, gate), of_kind, itertools.count(1), lambda: FIRST)
    )
    return made[-1]


def test_a_device_that_holds_one_model_takes_no_second_and_another_engine_does(
    made: list[SecondEngine],
) -> None:
    host = second(made).make_host()
    recorder = EventRecorder(host)
    host.load(f"{CARD}:other")
    failed = recorder.until(EngineFailed)
    assert (failed.error.kind, failed.error.message) == (
        "out_of_memory",
        "The device of the card holds one model at a time.",
    )
    host.load("cpu:other")
    assert recorder.until(EngineLoaded).info.engine == "cpu"


def test_the_next_load_waits_until_the_second_engine_has_closed(made: list[SecondEngine]) -> None:
    gate = Gate()
    engine = second(made, Script(stepped_load=True), gate)
    host = engine.make_host()
    recorder = EventRecorder(host)
    host.load("cpu:other")
    recorder.until(LoadProgress, phase="start")
    waits: list[str] = []
    engine.prepare_first("cpu:one", lambda progress: waits.append(progress.detail))
    assert waits == [""], "one that is open is not waited for"
    host.shutdown(timeout_s=0)
    spec = engine.prepare_first("cpu:one", lambda progress: waits.append(progress.detail))
    assert not host.is_alive
    assert spec.name == "cpu:one"
