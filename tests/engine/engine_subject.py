"""The engines under the contract suite, each loaded once, and helpers to read their events."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final, Protocol

import msgspec
import pytest

from tests.engine.cpu.native_kernel import KERNELS
from tests.engine.echo.declaration import ECHO, EchoOptions
from tests.engine.tenstorrent.fakes.card import STEP_S, misuses
from tests.engine.tenstorrent.fakes.installation import GENERATIONS, Installation
from tests.fakes import SCRIPTED, Gate, Script, ScriptedEngine
from tests.size import sized
from ttchat_tui.domain.chat import ChatMessage
from ttchat_tui.domain.events import (
    GenerationEvent,
    GenerationFinished,
    GenerationStarted,
    LoadProgress,
    TokenEvent,
)
from ttchat_tui.domain.generation import Candidate, GenerationControl, GenerationRequest
from ttchat_tui.domain.model_spec import CpuOptions, EngineInfo, ModelSpec
from ttchat_tui.domain.recording import Recording
from ttchat_tui.domain.sampling import SamplingParams
from ttchat_tui.engine.base import Engine
from ttchat_tui.engine.factory import ENGINES, create_engine
from ttchat_tui.engine.runtime.isolated import IsolatedEngine
from ttchat_tui.engine.runtime.switching import SwitchingEngine
from ttchat_tui.session.recorder import Recorder

ECHO_FACTORY = "tests.engine.echo.registered:create_engine"
"""Enters the echo engine in the child's table as well."""

CONTEXT = 256
CARD_CONTEXT = 1024
"""The least that a card's page table is made for."""
GREEDY = SamplingParams(temperature=0.0, max_tokens=64)
SYSTEM = ChatMessage("system", "You are brief.")
QUESTION = ChatMessage("user", "Count from one to one hundred in words, and nothing else.")
LONG_REPLY = " ".join(f"word{n}" for n in range(100))


class StepGate(Protocol):
    """Lets the engine's tokens through; a `Gate`, or that of a served engine."""

    def release(self, steps: int = 1) -> None: ...
    def open(self) -> None: ...
    def shut(self) -> None: ...


class Subject:
    """An engine under test: loaded on demand, once for many tests; a scripted one behind a gate."""

    def __init__(self, engine: Engine, spec: ModelSpec, gate: StepGate | None, late: int) -> None:
        self.engine = engine
        self.context = spec.context_length
        self.spec = spec
        self.gate = gate
        self.late = late
        """Tokens that may still come after a change made from here: none in a thread."""
        self.info: EngineInfo | None = None
        self.progress: list[LoadProgress] = []
        self._ids = iter(range(1, 1_000))

    def load(self) -> EngineInfo:
        self.progress.clear()
        self.info = self.engine.load(self.spec, self.progress.append)
        return self.info

    def loaded(self) -> EngineInfo:
        """Load the engine unless it is loaded, and let every token pass."""
        if self.gate:
            self.gate.shut()
            self.gate.open()
        return self.info or self.load()

    def only(self, tokens: int) -> None:
        """Let this many tokens pass and no more. An engine without a gate ignores it."""
        if self.gate:
            self.gate.shut()
            self.gate.release(tokens)

    def release(self, tokens: int) -> None:
        if self.gate:
            self.gate.release(tokens)

    def request(
        self,
        *messages: ChatMessage,
        continue_last: bool = False,
        candidates: tuple[Candidate, ...] = (),
        **sampling: Any,
    ) -> GenerationRequest:
        """A greedy request, except for what `sampling` changes."""
        return GenerationRequest(
            id=next(self._ids),
            messages=messages or (QUESTION,),
            sampling=msgspec.structs.replace(GREEDY, **sampling),
            seed=1,
            continue_last=continue_last,
            candidates=candidates,
        )

    def reply(self, request: GenerationRequest | None = None) -> list[GenerationEvent]:
        request = request or self.request()
        return list(self.engine.generate(request, GenerationControl(request.sampling)))

    def refuses_to_generate(self) -> bool:
        last = finished(self.reply())
        return last.error is not None and last.error.kind == "not_ready"


class PausedReply:
    """A reply that is paused before it starts. The engine runs in a thread of its own, as it does in the app."""

    def __init__(self, subject: Subject, request: GenerationRequest) -> None:
        """Skips the test where the engine cannot pause."""
        info = subject.loaded()
        if not info.capabilities.pause:
            pytest.skip(f"{info.label} cannot pause")
        self.events: list[GenerationEvent] = []
        self.control = GenerationControl(request.sampling)
        self.control.pause()
        self._came: queue.SimpleQueue[GenerationEvent] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, args=(subject.engine, request), daemon=True)
        self._thread.start()

    def _run(self, engine: Engine, request: GenerationRequest) -> None:
        for event in engine.generate(request, self.control):
            self._came.put(event)

    @property
    def stopped_before(self) -> list[TokenEvent]:
        """The tokens that a pause was before."""
        return [event for event in tokens(self.events) if event.pauses]

    def step(self, rows: int = 1) -> None:
        """One step: exactly one token of each row, and then nothing."""
        wanted = len(self.stopped_before) + rows
        self.control.step()
        while len(self.stopped_before) < wanted:
            self.events.append(self._came.get(timeout=60))
        before = len(tokens(self.events))
        self._drain()
        assert len(tokens(self.events)) == before == wanted

    def wait_for(self, wanted: Callable[[GenerationEvent], bool]) -> GenerationEvent:
        while True:
            self.events.append(self._came.get(timeout=60))
            if wanted(self.events[-1]):
                return self.events[-1]

    def end(self) -> list[GenerationEvent]:
        """All events, once the reply has ended."""
        self._thread.join(60)
        self._drain()
        return self.events

    def _drain(self) -> None:
        while not self._came.empty():
            self.events.append(self._came.get())


_TORCH = pytest.param("torch-thread", marks=pytest.mark.model)
SUBJECTS: Final = (
    *("scripted-thread", "scripted-process", "scripted-switching", "echo-thread", "echo-process"),
    _TORCH,
    *("tt-s1-thread", "tt-s6-thread", "tt-s7-thread", "tt-s4-thread-device", "tt-s7-thread-device"),
    "tt-s6-thread-reuse",
)
"""One of each kind: each engine, in a thread and across a process; the oldest and the newest generator of tt-metal and the
package after it, sampling on the host and on the card, and with pages kept.

What differs between the other generations is behind the adapter (`tests/engine/tenstorrent` tests it on all of them), and what
crosses from a process is the same for all engines."""

ALL_SUBJECTS: Final = (
    *("scripted-thread", "scripted-process", "scripted-switching", "echo-thread", "echo-process"),
    _TORCH,
    *(f"tt-{generation}-thread" for generation in GENERATIONS),
    *(f"tt-{generation}-thread-device" for generation in ("s4", "s5", "s6", "s7")),
    "tt-s6-thread-reuse",
    pytest.param("torch-process", marks=pytest.mark.model),
    "tt-s5-process",
)


@pytest.fixture(scope="package", params=sized(SUBJECTS, ALL_SUBJECTS))
def subject(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Subject]:
    name: str = request.param
    folder = tmp_path_factory.mktemp(name)
    if name.startswith("tt-"):
        yield from _card(name, folder)
        return
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(ENGINES, ECHO.kind, ECHO)
        match name.partition("-")[0]:
            case "scripted":
                one = _scripted(name, folder)
            case "echo":
                one = _echo(name, folder)
            case _:
                one = _torch(name, folder, request)
        yield one
        one.engine.close()


def _scripted(name: str, folder: Path) -> Subject:
    gate = Gate(str(folder / "gate"))
    script = Script(
        stepped=True,
        gate=str(folder / "gate"),
        replies=(LONG_REPLY,),
        logprobs=True,
        context_length=CONTEXT,
        batch_sizes=(1, 2, 4),
    )
    spec = ModelSpec(name="scripted", context_length=CONTEXT)
    if name == "scripted-thread":
        return Subject(ScriptedEngine(script), spec, gate, late=0)
    if name == "scripted-switching":
        return Subject(SwitchingEngine(lambda _kind: ScriptedEngine(script)), spec, gate, late=0)
    engine = IsolatedEngine(folder / "log", factory=SCRIPTED, environment=script.environment())
    return Subject(engine, spec, gate, late=3)


def _echo(name: str, folder: Path) -> Subject:
    """The engine that the tests add, behind `SwitchingEngine`."""
    if name == "echo-thread":
        spec = ModelSpec(engine=ECHO.kind, name="echo", context_length=CONTEXT)
        return Subject(SwitchingEngine(create_engine), spec, None, late=0)
    spec = ModelSpec(
        engine=ECHO.kind, name="echo", context_length=CONTEXT, options=EchoOptions(pause_s=0.004)
    )
    isolated = IsolatedEngine(folder / "log", factory=ECHO_FACTORY)
    return Subject(SwitchingEngine(create_engine, isolated), spec, None, late=100)


def _torch(name: str, folder: Path, request: pytest.FixtureRequest) -> Subject:
    spec = ModelSpec(
        name="smollm2-135m-instruct",
        path=str(request.getfixturevalue("short_model_path")),
        context_length=CONTEXT,
        # One thread: with two, the barriers of OpenMP collapse where other tests run beside this one.
        options=CpuOptions(threads=1),
        kernel_dir=str(KERNELS),
    )
    if name == "torch-thread":
        return Subject(create_engine("cpu"), spec, None, late=0)
    return Subject(
        IsolatedEngine(folder / "log", warm=ENGINES["cpu"].warm_modules(spec.options)), spec, None, late=100
    )


def _card(name: str, folder: Path) -> Iterator[Subject]:
    """`tt-GENERATION-ISOLATION`, with more settings if given."""
    _, generation, isolation, *wishes = name.split("-")
    options: dict[str, object] = {"sampling": "device" if "device" in wishes else "host"}
    with Installation(generation, folder, {STEP_S: "0.004"} if isolation == "process" else {}) as installed:
        spec = installed.spec(CARD_CONTEXT, kv_reuse="reuse" in wishes, **options)
        engine = IsolatedEngine(folder / "log") if isolation == "process" else create_engine("tt")
        yield Subject(engine, spec, None, late=100 if isolation == "process" else 0)
        engine.close()
        assert not misuses()


def require_bias(subject: Subject) -> None:
    if "logit_bias" not in subject.loaded().capabilities.sampling:
        pytest.skip("the card samples, without a bias")


def piece_in(events: list[GenerationEvent], token_id: int) -> bytes:
    """The bytes of a recorded token."""
    return next(event.pieces[token_id] for event in tokens(events) if token_id in event.pieces)


def finished(events: list[GenerationEvent]) -> GenerationFinished:
    last = events[-1]
    assert isinstance(last, GenerationFinished)
    return last


def tokens(events: list[GenerationEvent]) -> list[TokenEvent]:
    return [event for event in events if isinstance(event, TokenEvent)]


def ids(events: list[GenerationEvent]) -> list[int]:
    return [token for event in tokens(events) for token in event.token_ids]


def text(events: list[GenerationEvent]) -> str:
    return "".join(event.text for event in tokens(events)) + finished(events).text


def started(events: list[GenerationEvent]) -> GenerationStarted:
    first = events[0]
    assert isinstance(first, GenerationStarted)
    return first


def recording_of(events: list[GenerationEvent], row: int = 0) -> Recording:
    recorder = Recorder()
    for event in tokens(events):
        if event.row == row:
            recorder.add(event)
    return recorder.recording
