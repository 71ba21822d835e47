"""The engine thread: the order of its commands, its states, and that it always ends."""

from __future__ import annotations

import itertools
import subprocess
import sys
import textwrap
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.fakes import (
    LOAD_S,
    MODEL_MISSING,
    SCRIPTED,
    EventRecorder,
    Gate,
    Script,
    ScriptedEngine,
    prepare_scripted,
    scripted_host,
)
from tests.size import sized
from ttchat_tui.domain.chat import ChatMessage
from ttchat_tui.domain.events import (
    EngineFailed,
    EngineLoaded,
    EngineState,
    EngineStateChanged,
    GenerationFinished,
    GenerationStarted,
    LoadProgress,
    ProgressReporter,
    PromptCounted,
    TokenEvent,
)
from ttchat_tui.domain.generation import GenerationRequest, GenerationStats
from ttchat_tui.domain.meter import Meter
from ttchat_tui.domain.model_spec import ModelSpec
from ttchat_tui.domain.sampling import SamplingParams
from ttchat_tui.engine.base import Engine, EngineDied, EngineError
from ttchat_tui.engine.runtime.host import EngineHost
from ttchat_tui.engine.runtime.isolated import IsolatedEngine
from ttchat_tui.engine.runtime.load_queue import Prepare
from ttchat_tui.models.errors import ModelError

HELLO = (ChatMessage("user", "hello"),)
LEGAL: dict[str, set[str]] = {
    "empty": {"loading", "failed"},
    "loading": {"loading", "unloading", "ready", "empty", "failed"},
    "ready": {"generating", "loading", "unloading", "failed"},
    "generating": {"ready", "failed"},
    "unloading": {"loading", "empty", "failed"},
    "failed": {"empty", "loading"},
}


class Rig:
    """A host on a scripted engine, with a recorder."""

    def __init__(self, engine: Engine, prepare: Prepare = prepare_scripted) -> None:
        self.engine = engine
        self.host = EngineHost(engine, prepare)
        self.recorder = EventRecorder(self.host)
        self.until = self.recorder.until
        self._ids = iter(range(1, 10_000))
        self.host.start()

    def load(self, name: str = "m") -> None:
        self.host.load(name)
        self.until(EngineLoaded)
        self.until(EngineStateChanged, state="ready")

    def request(self, **sampling: object) -> GenerationRequest:
        params = SamplingParams(**sampling)  # type: ignore[arg-type]
        return GenerationRequest(id=next(self._ids), messages=HELLO, sampling=params, seed=1)

    def figures(self, request: GenerationRequest) -> GenerationStats:
        """Of a reply, from its events."""
        meter = Meter()
        for event in self.recorder.events:
            if isinstance(event, GenerationStarted | TokenEvent) and event.request_id == request.id:
                meter.observe(event)
        return meter.stats()

    def states(self) -> list[EngineState]:
        self.recorder.events += self.host.drain()
        return [event.state for event in self.recorder.of(EngineStateChanged)]


Make = Callable[..., Rig]


@pytest.fixture
def make() -> Iterator[Make]:
    """Makes rigs on scripted engines in the thread; all end with the test."""
    rigs: list[Rig] = []

    def make(
        script: Script | None = None, gate: Gate | None = None, prepare: Prepare = prepare_scripted
    ) -> Rig:
        rigs.append(Rig(ScriptedEngine(script, gate), prepare))
        return rigs[-1]

    yield make
    for rig in rigs:
        assert rig.host.shutdown(), "the engine thread does not end"


@pytest.fixture
def make_isolated(tmp_path: Path) -> Iterator[Make]:
    """The same with the engine in a process."""
    rigs: list[Rig] = []

    def make(script: Script) -> Rig:
        environment = script.environment()
        rigs.append(Rig(IsolatedEngine(tmp_path / "log", factory=SCRIPTED, environment=environment)))
        return rigs[-1]

    yield make
    for rig in rigs:
        rig.host.shutdown(force=True)


# -- loading and unloading


def test_a_load_goes_from_empty_through_loading_to_ready(make: Make) -> None:
    rig = make()
    assert (rig.host.state, rig.host.info) == ("empty", None)
    rig.load("some-model")
    assert rig.host.info is not None
    assert rig.host.info.model == "some-model"
    assert rig.states() == ["loading", "ready"]
    phases = [progress.phase for progress in rig.recorder.of(LoadProgress)]
    assert phases == ["verify", "start", "read", "convert", "warm up"], "download phases first"


def test_a_failed_load_shows_its_cure_and_another_may_follow(make: Make) -> None:
    rig = make()
    rig.host.load(MODEL_MISSING)
    failed = rig.until(EngineFailed)
    assert (failed.error.kind, failed.error.cure) == ("model_load", "Choose another.")
    assert rig.host.state == "failed"
    rig.load()
    assert rig.states() == ["loading", "failed", "loading", "ready"]


@pytest.mark.parametrize(
    ("raised", "kind", "message"),
    [
        (EngineError("No network.", kind="offline"), "offline", "No network."),
        (ValueError("odd"), "internal", "The engine failed: ValueError: odd"),
    ],
)
def test_any_error_of_the_preparation_is_reported(
    make: Make, raised: Exception, kind: str, message: str
) -> None:
    def prepare(name: str, report: ProgressReporter) -> ModelSpec:
        raise raised

    rig = make(prepare=prepare)
    rig.host.load("m")
    error = rig.until(EngineFailed).error
    assert (error.kind, error.message) == (kind, message)


def test_an_error_from_another_package_is_shown_as_it_is(make: Make) -> None:
    broken = ModelError("The file is broken.", cure="Pull it again.", kind="model_broken")

    def prepare(name: str, report: ProgressReporter) -> ModelSpec:
        raise broken

    rig = make(prepare=prepare)
    rig.host.load("m")
    assert rig.until(EngineFailed).error == broken.info


def test_a_load_is_cancelled_and_leaves_the_host_empty(make: Make) -> None:
    rig = make(Script(stepped_load=True), Gate())
    rig.host.load("m")
    rig.until(LoadProgress, phase="start")
    rig.host.cancel_load()
    assert rig.until(EngineFailed).error.kind == "load_cancelled"
    assert rig.states() == ["loading", "empty"]


def test_a_download_is_cancelled_too(make: Make) -> None:
    def prepare(name: str, report: ProgressReporter) -> ModelSpec:
        while True:
            report(LoadProgress(phase="download", done=1, total=10, unit="bytes"))

    rig = make(prepare=prepare)
    rig.host.load("m")
    rig.until(LoadProgress, phase="download")
    rig.host.cancel_load()
    assert rig.until(EngineFailed).error.kind == "load_cancelled"
    assert len(rig.recorder.of(LoadProgress)) == 1, "unchanged progress is posted once"


@pytest.mark.parametrize("is_cancelled", [False, True])
def test_the_loaded_model_stays_when_the_files_of_another_cannot_be_fetched(
    make: Make, is_cancelled: bool
) -> None:
    def prepare(name: str, report: ProgressReporter) -> ModelSpec:
        if name == "good":
            return prepare_scripted(name, report)
        while is_cancelled:
            report(LoadProgress(phase="download", done=1, total=10, unit="bytes"))
        raise EngineError("No network.", kind="offline")

    rig = make(prepare=prepare)
    rig.load("good")
    rig.host.load("other")
    if is_cancelled:
        rig.until(LoadProgress, phase="download")
        rig.host.cancel_load()
    failed = rig.until(EngineFailed)
    assert (failed.error.kind, failed.previous) == ("load_cancelled" if is_cancelled else "offline", "kept")
    rig.until(EngineStateChanged, state="ready")
    assert rig.host.info is not None
    assert rig.host.info.model == "good"
    rig.host.generate(rig.request())
    assert rig.until(GenerationFinished).reason == "stop"
    assert rig.engine.calls == ["load", "generate"]  # type: ignore[attr-defined]


def test_a_failed_load_restores_the_previous_model(make: Make) -> None:
    rig = make()
    rig.load("good")
    rig.host.load(MODEL_MISSING)
    rig.host.generate(rig.request())
    failed = rig.until(EngineFailed)
    assert (failed.error.kind, failed.previous) == ("model_load", "reloading")
    assert rig.until(EngineLoaded).info.model == "good"
    assert rig.until(GenerationFinished).reason == "stop", "a request made meanwhile waits for it"
    assert rig.states()[2:7] == ["loading", "unloading", "loading", "loading", "ready"]


def test_a_cancelled_load_restores_the_previous_model(make: Make) -> None:
    gate = Gate()
    rig = make(Script(stepped_load=True), gate)
    rig.host.load("good")
    gate.release(4)
    rig.until(EngineStateChanged, state="ready")
    rig.host.load("other")
    rig.until(LoadProgress, phase="start")
    rig.host.cancel_load()
    failed = rig.until(EngineFailed)
    assert (failed.error.kind, failed.previous) == ("load_cancelled", "reloading")
    rig.until(LoadProgress, phase="start")
    rig.host.cancel_load()
    assert rig.until(EngineFailed).previous == "none", "not restored after a second cancel"
    assert rig.host.state == "empty"


def test_the_previous_model_is_not_restored_when_another_load_or_an_unload_follows(make: Make) -> None:
    gate = Gate()
    rig = make(Script(stepped_load=True), gate)
    rig.host.load("good")
    gate.release(4)
    rig.until(EngineStateChanged, state="ready")
    rig.host.load("slow")
    rig.until(LoadProgress, phase="start")
    rig.host.load(MODEL_MISSING)
    assert rig.until(EngineFailed).previous == "none"
    gate.release(4)
    assert rig.until(EngineFailed).previous == "reloading", "the last model that was loaded"
    rig.until(LoadProgress, phase="start")
    rig.host.unload()
    assert rig.until(EngineFailed).previous == "none"
    gate.open()
    rig.load("next")
    assert [event.info.model for event in rig.recorder.of(EngineLoaded)] == ["good", "next"]


def test_a_previous_model_that_cannot_be_restored_leaves_the_host_failed(make: Make) -> None:
    rig = make()
    rig.load("good")
    rig.engine.script = Script(fault="raise", fault_at="load")  # type: ignore[attr-defined]
    rig.host.load("other")
    assert [rig.until(EngineFailed).previous for _ in range(2)] == ["reloading", "none"]
    assert (rig.host.state, rig.host.info) == ("failed", None)
    rig.host.load("third")
    assert rig.until(EngineFailed).previous == "none"


def test_a_failed_unload_does_not_prevent_the_next_load(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    rig = make()
    rig.load("stuck")

    def unload() -> None:
        raise EngineDied("The engine's process was killed.")

    with monkeypatch.context() as patch:
        patch.setattr(rig.engine, "unload", unload)
        rig.host.load("next")
        assert rig.until(EngineLoaded).info.model == "next"
        rig.until(EngineStateChanged, state="ready")


def test_the_load_time_includes_the_whole_wait() -> None:
    """The engine itself cannot measure the start of its process and its imports."""
    host = scripted_host()
    recorder = EventRecorder(host)
    host.start()
    host.load("m")
    assert recorder.until(EngineLoaded).info.load_s == LOAD_S
    assert host.shutdown()


def test_an_unload_goes_back_to_empty_and_frees_the_engine(make: Make) -> None:
    rig = make()
    rig.load()
    rig.host.unload()
    rig.until(EngineStateChanged, state="empty")
    assert rig.states() == ["loading", "ready", "unloading", "empty"]
    assert rig.host.info is None
    assert rig.engine.calls == ["load", "unload"]  # type: ignore[attr-defined]


def test_an_unload_without_a_model_posts_nothing(make: Make) -> None:
    rig = make()
    rig.host.unload()
    rig.load()
    assert rig.states() == ["loading", "ready"]


def test_a_new_load_cancels_a_running_reply_first(make: Make) -> None:
    gate = Gate()
    rig = make(Script(stepped=True), gate)
    rig.load("first")
    rig.host.generate(request := rig.request())
    gate.release(2)
    rig.until(TokenEvent)
    rig.until(TokenEvent)
    rig.host.load("second")
    assert rig.until(GenerationFinished).reason == "cancelled"
    assert rig.until(EngineLoaded).info.model == "second"
    rig.until(EngineStateChanged, state="ready")
    assert rig.states() == [
        "loading",
        "ready",
        "generating",
        "ready",
        "loading",
        "unloading",
        "loading",
        "ready",
    ]
    assert rig.recorder.text(request.id) == "Hello! This"


def test_a_new_load_cancels_a_running_load(make: Make) -> None:
    gate = Gate()
    rig = make(Script(stepped_load=True), gate)
    rig.host.load("slow")
    rig.until(LoadProgress, phase="start")
    rig.host.load("wanted")
    assert rig.until(EngineFailed).error.kind == "load_cancelled"
    gate.open()
    assert rig.until(EngineLoaded).info.model == "wanted"


# -- replies


def test_a_reply_arrives_complete_and_in_order(make: Make) -> None:
    rig = make(Script(replies=("One two three.",)))
    rig.load()
    rig.host.generate(request := rig.request())
    assert rig.until(GenerationFinished).reason == "stop"
    assert rig.recorder.text(request.id) == "One two three."
    rig.until(EngineStateChanged, state="ready")
    assert rig.states() == ["loading", "ready", "generating", "ready"]


def test_a_request_made_during_a_load_waits_for_it(make: Make) -> None:
    gate = Gate()
    rig = make(Script(stepped_load=True), gate)
    rig.host.load("m")
    rig.host.generate(rig.request())
    gate.open()
    assert rig.until(GenerationFinished).reason == "stop"


def test_a_request_without_a_model_ends_as_not_ready(make: Make) -> None:
    rig = make()
    rig.host.generate(request := rig.request())
    finished = rig.until(GenerationFinished)
    assert (finished.request_id, finished.reason) == (request.id, "error")
    assert finished.error is not None
    assert finished.error.kind == "not_ready"


def test_a_request_whose_load_failed_ends_as_not_ready(make: Make) -> None:
    rig = make()
    rig.host.load(MODEL_MISSING)
    rig.host.generate(rig.request())
    assert rig.until(GenerationFinished).reason == "error"


def test_a_request_cancelled_while_it_waits_never_starts(make: Make) -> None:
    gate = Gate()
    rig = make(Script(stepped=True), gate)
    rig.load()
    rig.host.generate(first := rig.request())
    rig.host.generate(waiting := rig.request()).cancel()
    gate.open()
    rig.until(GenerationFinished, reason="stop", request_id=first.id)
    rig.until(GenerationFinished, reason="cancelled", request_id=waiting.id)
    assert [event.request_id for event in rig.recorder.of(GenerationStarted)] == [first.id]


def test_sampling_of_a_running_reply_is_changed(make: Make) -> None:
    gate = Gate()
    rig = make(Script(stepped=True, replies=("one two three",)), gate)
    rig.load()
    control = rig.host.generate(request := rig.request())
    gate.release(1)
    rig.until(TokenEvent)
    control.set_sampling(SamplingParams(temperature=2.0))
    gate.open()
    rig.until(GenerationFinished)
    assert rig.recorder.text(request.id) == "one TWO THREE"


@pytest.mark.parametrize("fault", ["raise", "bug"])
def test_an_engine_that_raises_ends_the_reply_and_stays_ready(make: Make, fault: str) -> None:
    rig = make(Script(fault=fault, fault_at=2))  # type: ignore[arg-type]
    rig.load()
    rig.host.generate(request := rig.request())
    finished = rig.until(GenerationFinished)
    assert finished.reason == "error"
    assert finished.error is not None
    assert finished.error.kind == {"raise": "engine_error", "bug": "internal"}[fault]
    assert rig.figures(request).completion_tokens == 2
    assert rig.recorder.text(request.id) == "Hello! This"
    rig.until(EngineStateChanged, state="ready")


def test_the_death_of_the_engine_ends_the_reply_with_its_figures_and_a_load_revives_it(
    make_isolated: Make,
) -> None:
    rig = make_isolated(Script(fault="kill", fault_at=4))
    rig.load()
    pid = rig.engine.pid  # type: ignore[attr-defined]
    rig.host.generate(request := rig.request())
    finished = rig.until(GenerationFinished)
    assert finished.error is not None
    assert finished.error.kind == "engine_died"
    stats = rig.figures(request)
    assert (stats.completion_tokens, stats.ttft_s) == (4, 0.1)
    assert rig.recorder.text(request.id) == "Hello! This is a"
    rig.until(EngineStateChanged, state="failed")
    assert rig.host.info is None
    rig.load()
    assert rig.engine.pid != pid  # type: ignore[attr-defined]


def test_the_death_of_an_idle_engine_is_noticed_within_seconds(make_isolated: Make) -> None:
    rig = make_isolated(Script())
    rig.load()
    rig.engine.kill()  # type: ignore[attr-defined]
    assert rig.until(EngineFailed, timeout_s=3).error.kind == "engine_died"
    assert rig.host.state == "failed"


# -- counts


def test_a_count_is_answered_with_its_id(make: Make) -> None:
    rig = make()
    rig.load()
    count_id = rig.host.count(HELLO)
    assert rig.until(PromptCounted).count_id == count_id


def test_only_the_newest_count_is_computed(make: Make) -> None:
    gate = Gate()
    rig = make(Script(stepped=True), gate)
    rig.load()
    rig.host.generate(rig.request())
    asked = [rig.host.count(HELLO) for _ in range(5)]
    gate.open()
    assert rig.until(PromptCounted).count_id == asked[-1]
    assert rig.engine.calls.count("count") == 1  # type: ignore[attr-defined]


@pytest.mark.parametrize("fault", ["raise", "bug"])
def test_a_failed_count_leaves_the_engine_ready(make: Make, fault: str) -> None:
    rig = make(Script(fault=fault, fault_at="count"))  # type: ignore[arg-type]
    rig.load()
    rig.host.count(HELLO)
    rig.host.generate(rig.request())
    assert rig.until(GenerationFinished).reason == "stop"


# -- events


def test_a_burst_of_events_wakes_once_until_it_is_drained(make: Make) -> None:
    rig = make()
    rig.load()
    rig.host.drain()
    wakes: list[str] = []
    woken = threading.Event()

    def wake() -> None:
        wakes.append(threading.current_thread().name)
        woken.set()

    rig.host.set_waker(wake)
    rig.host.generate(rig.request())
    assert woken.wait(10)
    assert rig.host.shutdown()
    assert wakes == ["engine"], "one wake-up for a whole reply, the unload and the end"
    assert len(rig.host.drain()) > 3


def test_a_waker_that_is_set_late_is_called_for_waiting_events(make: Make) -> None:
    rig = make()
    rig.host.set_waker(None)
    rig.host.load("m")
    rig.host.shutdown()
    woken = threading.Event()
    rig.host.set_waker(woken.set)
    assert woken.is_set()


def test_a_waker_that_raises_does_not_stop_the_engine(make: Make) -> None:
    rig = make()

    def raising() -> None:
        raise RuntimeError("the loop is closed")

    rig.host.set_waker(raising)
    rig.host.load("m")
    rig.host.set_waker(None)
    recorder = EventRecorder(rig.host)
    recorder.until(EngineLoaded)


# -- the end


def test_shutdown_cancels_the_reply_closes_the_engine_and_ends_the_thread(make: Make) -> None:
    rig = make(Script(stepped=True), Gate())
    rig.load()
    rig.host.generate(rig.request())
    rig.host.generate(rig.request())
    rig.until(GenerationStarted)
    assert rig.host.shutdown()
    assert not rig.host.is_alive
    assert [rig.until(GenerationFinished).reason for _ in range(2)] == ["cancelled", "cancelled"]
    assert rig.engine.calls[-2:] == ["unload", "close"]  # type: ignore[attr-defined]
    assert rig.states()[-2:] == ["unloading", "empty"]
    assert rig.host.shutdown(), "idempotent"


def test_a_request_after_the_end_still_ends(make: Make) -> None:
    rig = make()
    rig.host.shutdown()
    rig.host.generate(rig.request())
    assert rig.until(GenerationFinished).reason == "cancelled"


def test_shutdown_without_a_timeout_returns_at_once(make: Make) -> None:
    gate = Gate()
    released = threading.Event()

    def prepare(name: str, report: ProgressReporter) -> ModelSpec:
        released.wait(10)
        return ModelSpec(name=name)

    rig = make(Script(), gate, prepare)
    rig.host.load("m")
    rig.until(EngineStateChanged, state="loading")
    assert not rig.host.shutdown(timeout_s=0)
    assert rig.host.state == "loading", "the shutdown waits for the load"
    released.set()
    assert rig.host.shutdown()


def test_force_kills_an_engine_that_hangs(make_isolated: Make) -> None:
    rig = make_isolated(Script(fault="hang", fault_at="load"))
    rig.host.load("m")
    rig.until(LoadProgress, phase="read")
    assert not rig.host.shutdown(timeout_s=0.2)
    assert rig.host.is_alive, "it waits for the engine's process to close"
    assert rig.host.shutdown(force=True, timeout_s=1.0)


@pytest.mark.parametrize(
    ("words", "reasons"), [(3, ["stop"]), (200_000, ["cancelled"])], ids=["idle", "in a reply"]
)
def test_when_the_ui_crashes_the_engine_thread_closes_the_engine_and_ends(
    words: int, reasons: list[str]
) -> None:
    """The main thread ends with an uncaught exception and never calls `shutdown`."""
    script = """
    from tests.engine.runtime.test_host import Rig
    from tests.fakes import Script, ScriptedEngine
    from ttchat_tui.domain.events import GenerationFinished, GenerationStarted

    class Closing(ScriptedEngine):
        def close(self):
            events = rig.recorder.events + rig.host.drain()
            print("CLOSED", *[event.reason for event in events if isinstance(event, GenerationFinished)], flush=True)

    rig = Rig(Closing(Script(replies=("word " * WORDS,), context_length=1_000_000)))
    rig.load()
    rig.host.generate(rig.request(max_tokens=1_000_000))
    rig.until(GenerationFinished if WORDS < 10 else GenerationStarted)
    raise RuntimeError("the UI crashed")
    """
    ended = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script).replace("WORDS", str(words))],
        capture_output=True,
        text=True,
        timeout=30,
        cwd=Path(__file__).parents[3],
        check=False,
    )
    assert ended.stdout.split() == ["CLOSED", *reasons]
    assert "the UI crashed" in ended.stderr
    assert ended.returncode == 1


def test_the_memory_is_that_of_the_engines_process(make: Make, make_isolated: Make) -> None:
    here, there = make(), make_isolated(Script())
    there.load()
    ours, theirs = here.host.memory_bytes(), there.host.memory_bytes()
    assert ours is not None
    assert theirs is not None
    assert ours > theirs > 1_000_000


# -- any order of calls

CALLS = st.lists(
    st.sampled_from(["load", "load missing", "cancel_load", "unload", "generate", "cancel", "count"])
)


@settings(max_examples=sized(50, 1500), deadline=None)
@given(CALLS)
def test_after_any_calls_every_request_has_ended_once_and_every_state_change_was_legal(
    calls: list[str],
) -> None:
    rig = Rig(ScriptedEngine())
    requests = []
    control = None
    for call in calls:
        match call:
            case "load":
                rig.host.load("m")
            case "load missing":
                rig.host.load(MODEL_MISSING)
            case "generate":
                requests.append(rig.request())
                control = rig.host.generate(requests[-1])
            case "cancel" if control is not None:
                control.cancel()
            case "count":
                rig.host.count(HELLO)
            case "cancel_load" | "unload":
                getattr(rig.host, call)()
    assert rig.host.shutdown()
    states: list[str] = ["empty", *rig.states()]
    for before, after in itertools.pairwise(states):
        assert after in LEGAL[before], states
    ended = [event.request_id for event in rig.recorder.of(GenerationFinished)]
    assert sorted(ended) == [request.id for request in requests]
