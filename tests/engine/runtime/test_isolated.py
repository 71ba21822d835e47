"""The engine's process: when it dies, hangs, prints noise, or loses its parent."""

from __future__ import annotations

import itertools
import logging
import os
import signal
import socket
import stat
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.fakes import SCRIPTED, Fault, Gate, Script, ScriptedEngine
from tests.patience import wait_until
from ttchat_tui.domain.chat import ChatMessage
from ttchat_tui.domain.events import (
    GenerationEvent,
    GenerationFinished,
    LoadProgress,
    PrefillProgress,
    TokenEvent,
)
from ttchat_tui.domain.generation import GenerationControl, GenerationRequest
from ttchat_tui.domain.model_spec import ModelSpec
from ttchat_tui.domain.sampling import SamplingParams
from ttchat_tui.engine.base import EngineDied, EngineError, LoadCancelled
from ttchat_tui.engine.runtime import child, worker
from ttchat_tui.engine.runtime.child import TOKEN_PAUSE_S, Timeouts
from ttchat_tui.engine.runtime.commands import Unload
from ttchat_tui.engine.runtime.host import EngineHost
from ttchat_tui.engine.runtime.isolated import IsolatedEngine
from ttchat_tui.engine.runtime.step_timeout import StepTimeout
from ttchat_tui.engine.runtime.wire import Channel, ChildAnswer, Command, Launch

SPEC = ModelSpec(name="m")
REQUEST = GenerationRequest(
    id=1, messages=(ChatMessage("user", "hello"),), sampling=SamplingParams(max_tokens=50), seed=1
)
Make = Callable[..., IsolatedEngine]


@pytest.fixture
def log_path(tmp_path: Path) -> Path:
    return tmp_path / "engine.log"


@pytest.fixture
def make(log_path: Path) -> Iterator[Make]:
    """Makes isolated scripted engines; all are closed at the end."""
    engines: list[IsolatedEngine] = []

    def make(script: Script | None = None, **options: object) -> IsolatedEngine:
        environment = (script or Script()).environment()
        engine = IsolatedEngine(log_path, factory=SCRIPTED, environment=environment, **options)  # type: ignore[arg-type]
        engines.append(engine)
        return engine

    yield make
    for engine in engines:
        engine.kill()
        engine.close()


def ignore(_progress: LoadProgress) -> None:
    """A reporter that does nothing."""


def reply(engine: IsolatedEngine, control: GenerationControl | None = None) -> list[GenerationEvent]:
    return list(engine.generate(REQUEST, control or GenerationControl(REQUEST.sampling)))


def is_gone(pid: int) -> bool:
    """Whether the process has ended. A zombie counts, too: its parent may not have reaped it yet."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True


def finds_it_dead(engine: IsolatedEngine) -> bool:
    """Whether `check` raises. It does so only after the last thread has ended, later than the process becomes a zombie."""
    try:
        engine.check()
    except EngineDied:
        return True
    return False


def test_starting_does_not_wait_for_the_child(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "never_imported.py").write_text("import time; time.sleep(3600)")
    monkeypatch.syspath_prepend(tmp_path)
    engine = make(warm=("never_imported",))
    assert engine.pid is None
    engine.start()
    first = engine.pid
    engine.start()
    assert engine.pid == first, "a second start does nothing"


def test_importing_the_module_loads_nothing_heavy() -> None:
    code = (
        "import sys, ttchat_tui.engine.runtime.isolated, ttchat_tui.engine.runtime.host; print(*sys.modules)"
    )
    modules = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout.split()
    assert not {
        "torch",
        "numpy",
        "textual",
        "transformers",
        "tokenizers",
        "asyncio",
        "multiprocessing",
    } & set(modules)


def test_warm_modules_are_imported_before_the_first_command(make: Make, log_path: Path) -> None:
    engine = make(warm=("this", "no_such_module_here"))
    engine.load(SPEC, ignore)
    written = log_path.read_text()
    assert "Zen of Python" in written
    assert "no_such_module_here cannot be imported" in written


def test_closing_does_not_wait_for_imports_and_starts_no_other_child(
    make: Make,
    log_path: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A user who quits right after the start does not wait for torch."""
    (tmp_path / "slow_to_import.py").write_text("print('importing'); import time; time.sleep(50)")
    monkeypatch.syspath_prepend(tmp_path)
    caplog.set_level(logging.INFO, "ttchat_tui.engine.runtime.child")
    engine = make(warm=("slow_to_import",), timeouts=Timeouts(close_s=40, cancel_s=40))
    host = EngineHost(engine, lambda _name, _report: SPEC)
    host.start()
    host.load("any")
    assert wait_until(lambda: log_path.exists() and "importing" in log_path.read_text(), 20)
    pid = engine.pid
    assert host.shutdown(timeout_s=30)
    assert pid is not None
    assert is_gone(pid)
    assert [record.message for record in caplog.records] == [f"started the engine's process {pid}"]


def test_a_module_in_the_current_folder_does_not_replace_pythons_own(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "logging.py").write_text("raise SystemExit('shadowed')")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(
        sys, "path", [entry for entry in sys.path if entry] + [str(Path(__file__).parents[3])]
    )
    assert make().load(SPEC, ignore).label == "scripted"


def test_output_of_native_code_goes_to_the_private_log(
    make: Make, log_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    engine = make(Script(fault="noise", fault_at=2))
    engine.load(SPEC, ignore)
    assert reply(engine)[-1].reason == "stop"  # type: ignore[union-attr]
    assert capfd.readouterr() == ("", "")
    written = log_path.read_text()
    assert all(f"NOISE {where}" in written for where in ("on fd 1", "on fd 2", "by print", "on stderr"))
    assert stat.S_IMODE(log_path.stat().st_mode) == 0o600


@pytest.mark.parametrize(
    ("fault", "says"),
    [
        ("kill", "was killed (SIGKILL)"),
        ("abort", "crashed (SIGABRT): TT_FATAL: the script says so"),
        ("segfault", "crashed (SIGSEGV)"),
        ("exit", "ended by itself (exit status 7)"),
        (
            "unknown_kind",
            "sent an answer that the app cannot read: an invalid frame: Invalid enum value 'no_such_kind'",
        ),
    ],
)
def test_a_death_in_a_reply_is_reported_at_once_after_the_events_before_it(
    make: Make, log_path: Path, fault: Fault, says: str
) -> None:
    engine = make(Script(fault=fault, fault_at=3), timeouts=Timeouts(silence_s=60, step_s=60))
    engine.load(SPEC, ignore)
    events: list[GenerationEvent] = []
    began = time.monotonic()
    with pytest.raises(EngineDied) as caught:  # noqa: PT012 (the events before it count too)
        for event in engine.generate(REQUEST, GenerationControl(REQUEST.sampling)):
            events.append(event)  # noqa: PERF402 (the events before the exception are needed)
    assert time.monotonic() - began < 60, "no time-out passed"
    assert says in str(caught.value)
    assert str(log_path) in caught.value.info.cure
    assert len([event for event in events if isinstance(event, TokenEvent)]) == 3


def test_a_command_that_cannot_be_decoded_is_reported_as_such(make: Make) -> None:
    with pytest.raises(EngineDied, match=r"an invalid frame: Expected `str`, got `int` - at `\$.spec.name`"):
        make().load(ModelSpec(name=7), ignore)  # type: ignore[arg-type]


def test_a_death_in_a_load_is_reported_and_the_next_load_starts_another_process(
    make: Make, tmp_path: Path
) -> None:
    engine = make(Script(stepped_load=True, gate=str(tmp_path / "gate")))
    gate = Gate(str(tmp_path / "gate"))
    killer = threading.Event()

    def kill_once(progress: LoadProgress) -> None:
        if not killer.is_set():
            killer.set()
            engine.kill()

    with pytest.raises(EngineDied, match="SIGKILL"):
        engine.load(SPEC, kill_once)
    gate.open()
    assert engine.load(SPEC, ignore).model == "m"


def test_a_load_that_hangs_is_reported_before_it_is_killed(make: Make, log_path: Path) -> None:
    timeouts = Timeouts(heartbeat_s=0.1, silence_s=1.0, load_silence_s=3.0)
    engine = make(Script(fault="hang_gil", fault_at="load"), timeouts=timeouts, warm=("this",))
    engine.start()
    # The start of a process has no heartbeats, and on a busy machine it takes longer than 3 s.
    assert wait_until(lambda: "Zen of Python" in log_path.read_text(), 60)
    reported: list[LoadProgress] = []
    with pytest.raises(EngineDied, match=r"no sign of life for 3 s"):
        engine.load(SPEC, reported.append)
    reading = ["no sign of life" in progress.detail for progress in reported if progress.phase == "read"]
    assert reading == sorted(reading)
    assert (reading[0], reading[-1]) == (False, True)


def test_a_death_while_idle_is_noticed_by_check(make: Make) -> None:
    engine = make()
    engine.check()
    engine.load(SPEC, ignore)
    engine.check()
    pid = engine.pid
    assert pid is not None
    os.kill(pid, signal.SIGSEGV)
    assert wait_until(lambda: finds_it_dead(engine), 5)
    with pytest.raises(EngineDied, match="SIGSEGV"):
        engine.check()
    with pytest.raises(EngineDied):
        reply(engine)
    engine.unload()
    assert engine.load(SPEC, ignore).model == "m"


def test_a_child_that_cannot_start_says_why(log_path: Path) -> None:
    engine = IsolatedEngine(log_path, factory="no_such_module:create")
    with pytest.raises(EngineDied, match="no_such_module"):
        engine.load(SPEC, ignore)
    engine.close()


@pytest.mark.parametrize(
    ("fault", "timeouts", "says"),
    [
        ("hang_gil", Timeouts(heartbeat_s=0.1, silence_s=0.5), "no sign of life for 0.5 s"),
        ("hang", Timeouts(heartbeat_s=0.1, step_s=0.5), "no progress for 0.5 s"),
    ],
)
def test_a_hanging_child_is_killed_and_its_stack_is_in_the_log(
    make: Make, log_path: Path, fault: Fault, timeouts: Timeouts, says: str
) -> None:
    engine = make(Script(fault=fault, fault_at=1), timeouts=timeouts)
    engine.load(SPEC, ignore)
    pid = engine.pid
    assert pid is not None
    with pytest.raises(EngineDied, match=says):
        reply(engine)
    assert is_gone(pid)
    assert "in fail" in log_path.read_text(), "the hanging function"


def test_a_hang_in_mid_reply_is_noticed_at_the_pace_of_the_reply(make: Make) -> None:
    engine = make(
        Script(fault="hang", fault_at=6), timeouts=Timeouts(heartbeat_s=0.1, step_s=60, min_step_s=0.8)
    )
    engine.load(SPEC, ignore)
    with pytest.raises(EngineDied, match=r"no progress for 0\.8 s"):
        reply(engine)


def test_a_pause_has_no_time_out(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = list[bool]()
    control = GenerationControl(REQUEST.sampling)

    def limit_s(_timeout: StepTimeout) -> None:
        asked.append(control.is_paused)

    monkeypatch.setattr(StepTimeout, "limit_s", limit_s)
    engine = make()
    engine.load(SPEC, ignore)
    control.pause()
    for event in engine.generate(REQUEST, control):
        if isinstance(event, PrefillProgress | TokenEvent):
            control.step()
        if isinstance(event, TokenEvent) and event.pauses:
            control.cancel()
    assert True not in asked


def test_time_without_a_limit_does_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    now_s = itertools.count(0.0, 0.25)
    monkeypatch.setattr(child, "time", SimpleNamespace(monotonic=lambda: next(now_s)))
    silent = child.Child.__new__(child.Child)
    monkeypatch.setattr(silent, "_channel", SimpleNamespace(receive=lambda *_: None), raising=False)
    monkeypatch.setattr(silent, "_kill_hung", EngineDied, raising=False)
    limits = iter([*[None] * 100, *[5.0] * 100])
    answers = silent.answers(1e9, lambda: next(limits))
    assert [next(answers) for _ in range(105)] == [None] * 105, "100 of them without a limit"
    with pytest.raises(EngineDied, match="no progress for 5 s"):
        list(answers)


def test_a_stopped_child_counts_as_hung(make: Make) -> None:
    engine = make(timeouts=Timeouts(heartbeat_s=0.1, silence_s=0.4))
    engine.load(SPEC, ignore)
    assert engine.pid is not None
    os.kill(engine.pid, signal.SIGSTOP)
    with pytest.raises(EngineDied, match="no sign of life"):
        engine.count(1, REQUEST.messages)


def test_a_slow_step_with_heartbeats_is_no_hang(make: Make, tmp_path: Path) -> None:
    engine = make(
        Script(stepped=True, gate=str(tmp_path / "gate")),
        timeouts=Timeouts(heartbeat_s=0.05, silence_s=2.0, step_s=None),
    )
    gate = Gate(str(tmp_path / "gate"))
    engine.load(SPEC, ignore)
    threading.Timer(3.0, gate.open).start()
    assert reply(engine)[-1].reason == "stop"  # type: ignore[union-attr]


def test_an_unexpected_exception_in_the_child_is_reported_and_ends_nothing(
    make: Make, log_path: Path
) -> None:
    engine = make(Script(fault="bug", fault_at="count"))
    engine.load(SPEC, ignore)
    pid = engine.pid
    with pytest.raises(EngineError) as caught:
        engine.count(1, REQUEST.messages)
    assert caught.value.info.kind == "internal"
    assert "ZeroDivisionError" in str(caught.value)
    assert "Traceback" in log_path.read_text()
    assert reply(engine)[-1].reason == "stop"  # type: ignore[union-attr]
    assert engine.pid == pid


def test_a_cancelled_load_leaves_the_same_child_ready_for_the_next(make: Make, tmp_path: Path) -> None:
    engine = make(Script(stepped_load=True, gate=str(tmp_path / "gate")), timeouts=Timeouts(cancel_s=40))
    gate = Gate(str(tmp_path / "gate"))
    engine.start()
    pid = engine.pid
    with pytest.raises(LoadCancelled):
        engine.load(SPEC, cancelling(after=2))
    gate.open()
    assert engine.load(SPEC, ignore).model == "m"
    assert engine.pid == pid


def test_cancelling_a_load_that_hangs_in_native_code_replaces_the_child(make: Make) -> None:
    engine = make(Script(fault="hang_gil", fault_at="load"), timeouts=Timeouts(cancel_s=0.3))
    engine.start()
    pid = engine.pid
    assert pid is not None

    def cancel_where_it_hangs(progress: LoadProgress) -> None:
        if progress.done == 1:  # The last report before the hang. A cancel before it would work.
            raise LoadCancelled("cancelled")

    with pytest.raises(LoadCancelled):
        engine.load(SPEC, cancel_where_it_hangs)
    assert is_gone(pid)
    assert engine.pid not in (None, pid)


def cancelling(after: int) -> Callable[[LoadProgress], None]:
    """A reporter that cancels at its n-th call."""
    calls = itertools.count(1)

    def report(_progress: LoadProgress) -> None:
        if next(calls) >= after:
            raise LoadCancelled("cancelled")

    return report


def test_a_reply_that_nobody_reads_is_cancelled_and_the_engine_stays_ready(
    make: Make, tmp_path: Path
) -> None:
    engine = make(Script(stepped=True, gate=str(tmp_path / "gate")))
    gate = Gate(str(tmp_path / "gate"))
    engine.load(SPEC, ignore)
    events = engine.generate(REQUEST, GenerationControl(REQUEST.sampling))
    next(iter(events))
    events.close()  # type: ignore[attr-defined]
    gate.open()
    assert reply(engine)[-1].reason == "stop"  # type: ignore[union-attr]


def test_cancel_from_another_thread_arrives_without_waiting_for_a_token(make: Make, tmp_path: Path) -> None:
    engine = make(Script(stepped=True, gate=str(tmp_path / "gate")))
    Gate(str(tmp_path / "gate"))
    engine.load(SPEC, ignore)
    control = GenerationControl(REQUEST.sampling)
    threading.Timer(0.05, control.cancel).start()
    last = reply(engine, control)[-1]  # no token ever comes
    assert isinstance(last, GenerationFinished)
    assert last.reason == "cancelled"


def test_tokens_are_received_in_bursts(make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """During the pause of the parent the child sends the rest of the reply, and one read receives it."""
    gate = Gate(str(tmp_path / "gate"))
    engine = make(Script(stepped=True, gate=str(tmp_path / "gate")))
    engine.load(SPEC, ignore)
    pauses: list[float] = []

    def pause(channel: Channel[Command, ChildAnswer], duration_s: float, wake_fd: int = -1) -> None:
        if not pauses:
            gate.open()
            assert wait_until(lambda: b"GenerationFinished" in waiting(channel), 5)
        pauses.append(duration_s)

    monkeypatch.setattr(Channel, "pause", pause)
    reads = 0
    fill = Channel[Command, ChildAnswer]._read

    def count(channel: Channel[Command, ChildAnswer]) -> None:
        nonlocal reads
        reads += bool(pauses)
        fill(channel)

    monkeypatch.setattr(Channel, "_read", count)
    gate.release()
    tokens = [event for event in reply(engine) if isinstance(event, TokenEvent)]
    assert len(tokens) > 5
    assert pauses == [TOKEN_PAUSE_S] * len(tokens)
    assert reads == 1


def waiting(channel: Channel[Command, ChildAnswer]) -> bytes:
    """Bytes that have arrived and were not read."""
    try:
        return channel._socket.recv(1 << 16, socket.MSG_PEEK)
    except BlockingIOError:
        return b""


def test_closing_ends_the_child_and_may_be_repeated(make: Make) -> None:
    engine = make()
    engine.load(SPEC, ignore)
    pid = engine.pid
    assert pid is not None
    engine.close()
    assert is_gone(pid)
    engine.close()
    assert engine.pid is None


PARENT = """
import sys
from pathlib import Path
from tests.fakes import SCRIPTED, Script
from ttchat_tui.domain.events import GenerationFinished, TokenEvent
from tests.engine.runtime.test_isolated import REQUEST, SPEC, ignore
from ttchat_tui.domain.generation import GenerationControl
from ttchat_tui.engine.runtime import child, worker
from ttchat_tui.engine.runtime.child import TOKEN_PAUSE_S, Timeouts
from ttchat_tui.engine.runtime.commands import Unload
from ttchat_tui.engine.runtime.host import EngineHost
from ttchat_tui.engine.runtime.isolated import IsolatedEngine
from ttchat_tui.engine.runtime.commands import Command
from ttchat_tui.engine.runtime.step_timeout import StepTimeout
from ttchat_tui.engine.runtime.wire import ChildAnswer, Channel

script = Script(fault={fault!r}, fault_at=1)
timeouts = Timeouts(heartbeat_s=0.1, load_silence_s=8.0, silence_s=60)
engine = IsolatedEngine(Path(sys.argv[1]), factory=SCRIPTED, environment=script.environment(), timeouts=timeouts)
engine.load(SPEC, ignore)
for event in engine.generate(REQUEST, GenerationControl(REQUEST.sampling)):
    if isinstance(event, TokenEvent if script.fault else GenerationFinished):
        print(engine.pid, flush=True)
sys.stdin.read()
"""


@pytest.mark.parametrize("fault", ["", "hang", "hang_gil"])
def test_no_child_outlives_a_killed_parent(tmp_path: Path, fault: str) -> None:
    """Idle, in native code, and in native code that holds the GIL (only the dead man's switch works then)."""
    parent = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(PARENT.format(fault=fault)), str(tmp_path / "engine.log")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=Path(__file__).parents[3],
    )
    assert parent.stdout is not None
    pid = int(parent.stdout.readline())
    parent.kill()
    parent.communicate()
    assert wait_until(lambda: is_gone(pid), 60.0)


def test_the_dead_mans_switch_is_set_before_a_command_can_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """A command may take the GIL in its first instruction and keep it: then no thread can set the switch any more."""
    order: list[str] = []
    switch = SimpleNamespace(dump_traceback_later=lambda _after_s, exit: order.append("set"))
    monkeypatch.setattr(worker, "faulthandler", switch)
    launch = Launch(socket_fd=-1, factory="", heartbeat_s=1.0, deadman_s=5.0, close_s=1.0)
    channel: Channel[ChildAnswer, Command] = Channel(socket.socket(), Command)
    idle = worker.Worker(channel, ScriptedEngine(), launch)
    monkeypatch.setattr(idle, "_commands", SimpleNamespace(put=lambda _command: order.append("queued")))
    idle._dispatch(Unload())
    assert order == ["set", "queued"]
