"""An `Engine` in a child process: if native code crashes, aborts or hangs, only that process dies, never the UI.

Importing this module is cheap and `start()` does not wait, so the child starts while the UI's libraries are imported.
Threads other than the engine thread may only use `pid` and `kill`.
"""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final, get_args

import msgspec

from ttchat_tui.domain.chat import ChatMessage
from ttchat_tui.domain.errors import LOAD_AGAIN, ErrorInfo
from ttchat_tui.domain.events import (
    EngineLoaded,
    GenerationEvent,
    GenerationFinished,
    LoadProgress,
    ProgressReporter,
    PromptCounted,
    TokenEvent,
)
from ttchat_tui.domain.generation import GenerationControl, GenerationRequest
from ttchat_tui.domain.model_spec import EngineInfo, ModelSpec
from ttchat_tui.domain.sampling import DEFAULTS, SamplingParams
from ttchat_tui.engine.base import EngineClosing, EngineDied, EngineError, LoadCancelled
from ttchat_tui.engine.declaration import load_again
from ttchat_tui.engine.factory import FACTORY
from ttchat_tui.engine.runtime.child import Child, Timeouts
from ttchat_tui.engine.runtime.commands import (
    Cancel,
    CancelLoad,
    Close,
    Command,
    CountTokens,
    Force,
    Generate,
    Load,
    SetPacing,
    SetPreviewed,
    SetSampling,
    StopRows,
    Unload,
)
from ttchat_tui.engine.runtime.step_timeout import StepTimeout
from ttchat_tui.engine.runtime.wire import ChildAnswer, Failed

_DEFAULT_TIMEOUTS: Final = Timeouts()
_GENERATION_EVENTS: Final[tuple[type[GenerationEvent], ...]] = get_args(GenerationEvent)


class IsolatedEngine:
    """An `Engine` whose body runs in a child process. See `Engine` for the contract of each method."""

    def __init__(
        self,
        log_path: Path,
        *,
        factory: str = FACTORY,
        warm: tuple[str, ...] = (),
        timeouts: Timeouts = _DEFAULT_TIMEOUTS,
        environment: Mapping[str, str] | None = None,
        advice: Callable[[str], str] = load_again,
    ) -> None:
        """Does not start the child.

        Args:
            log_path: the file for all output of the child (file descriptors 1 and 2); created with mode 0600.
            factory: `module:callable` that makes an engine from an `EngineKind`, in the child.
            warm: modules that the child imports before its first command (`EngineDeclaration.warm_modules`).
            timeouts: when the child counts as hung.
            environment: variables for the child, in addition to this process's environment.
            advice: what to do if the child dies (see `exit_report`).
        """
        self._log_path = log_path
        self._factory = factory
        self._warm = warm
        self._timeouts = timeouts
        self._environment = dict(environment or {})
        self._advice = advice
        self._child: Child | None = None
        self._wake_reader, self._wake_writer = socket.socketpair()
        self._wake_reader.setblocking(False)
        self._wake_writer.setblocking(False)

    @property
    def pid(self) -> int | None:
        """The child's process id; None without a child."""
        child = self._child
        return child.pid if child is not None else None

    def start(self) -> None:
        """Spawn the child unless it is running. Returns at once. `load` calls it too."""
        if self._child is not None and self._child.is_running:
            return
        if self._child is not None:
            self._child.reap(timeout_s=0)
        self._child = Child(
            self._log_path, self._factory, self._warm, self._timeouts, self._environment, self._advice
        )

    def check(self) -> None:
        """Raise `EngineDied` if the child has ended since its start. For the time between commands."""
        if self._child is not None and not self._child.is_running:
            raise self._child.exit_error()

    def kill(self) -> None:
        """End the child at once, from any thread. A running call raises `EngineDied`."""
        child = self._child
        if child is not None:
            child.kill()

    def load(self, spec: ModelSpec, report: ProgressReporter) -> EngineInfo:
        self.start()
        child = self._running_child()
        child.send(Load(spec))
        progress = LoadProgress(phase="start")
        for answer in child.answers(self._timeouts.load_silence_s):
            match answer:
                case EngineLoaded(info):
                    return info
                case Failed(error):
                    raise _engine_error(error)
                case LoadProgress():
                    progress = answer
                case _:
                    pass
            try:
                # Also without an answer: `report` raises when the load is cancelled.
                report(_with_silence(progress, child.silent_s, self._timeouts.silence_s))
            except EngineClosing:
                with contextlib.suppress(EngineDied):
                    child.send(CancelLoad())  # `close` waits for its effect
                raise
            except BaseException:
                self._abandon_load(child)
                raise
        raise AssertionError("answers never end")

    def count(
        self,
        count_id: int,
        messages: Sequence[ChatMessage],
        sampling: SamplingParams = DEFAULTS,
        keep: Collection[int] = (),
    ) -> PromptCounted:
        command = CountTokens(count_id, tuple(messages), sampling, tuple(keep))
        answer = self._request(command, self._timeouts.silence_s)
        assert isinstance(answer, PromptCounted), answer
        return answer

    def generate(self, request: GenerationRequest, control: GenerationControl) -> Iterator[GenerationEvent]:
        child = self._running_child()
        control.subscribe(self._wake)
        command = Generate(request, control.pacing, control.forced, control.is_previewed)
        child.send(command)
        is_finished = False
        try:
            for answer in self._controlled_answers(child, command, control):
                is_finished = isinstance(answer, GenerationFinished | Failed)
                if isinstance(answer, Failed):
                    raise _engine_error(answer.error)
                if isinstance(answer, _GENERATION_EVENTS):
                    yield answer
                if is_finished:
                    return
        except EngineDied:
            is_finished = True
            raise
        finally:
            if not is_finished:  # the caller closed this generator
                self._abandon_reply(child, request.id)

    def unload(self) -> None:
        if self._child is not None and self._child.is_running:
            self._request(Unload(), self._timeouts.load_silence_s)

    def close(self) -> None:
        self._wake_reader.close()
        self._wake_writer.close()
        self.stop()

    def stop(self) -> None:
        """End the child, if there is one; the next `load` starts another one."""
        child = self._child
        if child is None:
            return
        with contextlib.suppress(EngineDied):  # it has ended already
            child.send(Close())
        child.reap(self._timeouts.close_s)
        self._child = None  # only now, so that `kill` works while we wait

    def _running_child(self) -> Child:
        if self._child is None or not self._child.is_running:
            raise EngineDied("The engine's process is not running.", cure=LOAD_AGAIN)
        return self._child

    def _request(self, command: Command, silence_s: float) -> ChildAnswer:
        """Send a command that has one answer, and wait for it."""
        child = self._running_child()
        child.send(command)
        answer = next(answer for answer in child.answers(silence_s) if answer is not None)
        if isinstance(answer, Failed):
            raise _engine_error(answer.error)
        return answer

    def _controlled_answers(
        self, child: Child, command: Generate, control: GenerationControl
    ) -> Iterator[ChildAnswer]:
        """The answers to a running request. Changes of `control` are sent to the child at once."""
        request, pacing, is_previewed = command.request, command.pacing, command.is_previewed
        sampling, forced, is_cancelled = request.sampling, len(command.forced), False
        stopped = frozenset[int]()
        timeouts = self._timeouts
        step_timeout = StepTimeout(timeouts.step_s, timeouts.min_step_s)
        wake_fd = self._wake_reader.fileno()

        def limit_s() -> float | None:
            return None if control.is_paused else step_timeout.limit_s()

        for answer in child.answers(timeouts.silence_s, limit_s, wake_fd):
            if isinstance(answer, TokenEvent):
                step_timeout.observe(answer)
            if answer is None:
                self._clear_wakes()
                control.cancel_if_deserted()
            if control.sampling is not sampling:
                sampling = control.sampling
                child.send(SetSampling(request.id, sampling))
            if len(control.forced) > forced:  # this and a stop before a resumption that follows them
                new = control.forced[forced:]
                forced += len(new)
                child.send(Force(request.id, new))
            if control.stopped_rows != stopped:
                stopped = control.stopped_rows
                child.send(StopRows(request.id, stopped))
            if control.pacing != pacing:
                pacing = control.pacing
                child.send(SetPacing(request.id, pacing))
            if control.is_previewed != is_previewed:
                is_previewed = control.is_previewed
                child.send(SetPreviewed(request.id, is_previewed))
            if control.is_cancelled and not is_cancelled:
                is_cancelled = True
                child.send(Cancel(request.id))
            if answer is not None:
                yield answer
            if isinstance(answer, TokenEvent):
                child.pause(wake_fd)

    def _abandon_load(self, child: Child) -> None:
        """Cancel the child's load; replace the child if native code does not return in time."""
        deadline = time.monotonic() + self._timeouts.cancel_s
        try:
            child.send(CancelLoad())
            for answer in child.answers(self._timeouts.load_silence_s):
                if isinstance(answer, Failed):
                    return
                if isinstance(answer, EngineLoaded):  # the load ended before the cancel arrived
                    self._request(Unload(), self._timeouts.load_silence_s)
                    return
                if time.monotonic() > deadline:
                    break
            child.reap(timeout_s=0)
        except EngineDied:
            pass  # replaced below as well
        self.start()

    def _abandon_reply(self, child: Child, request_id: int) -> None:
        """Cancel a reply whose events nobody reads. If the child dies of it, the next call raises `EngineDied`."""
        deadline = time.monotonic() + self._timeouts.cancel_s
        with contextlib.suppress(EngineDied):
            child.send(Cancel(request_id))
            for answer in child.answers(self._timeouts.silence_s):
                if isinstance(answer, GenerationFinished | Failed):
                    return
                if time.monotonic() > deadline:
                    child.reap(timeout_s=0)
                    return

    def _wake(self, _control: GenerationControl) -> None:
        """Make `_controlled_answers` read the control now. From any thread. If the buffer is full, a wake-up is pending."""
        with contextlib.suppress(OSError):
            self._wake_writer.send(b".")

    def _clear_wakes(self) -> None:
        with contextlib.suppress(BlockingIOError):
            self._wake_reader.recv(4096)


def _engine_error(error: ErrorInfo) -> EngineError:
    """The error that the child raised, for this process to raise."""
    if error.kind == LoadCancelled.kind:
        return LoadCancelled(error.message)
    return EngineError(error.message, error.cure, error.kind)


def _with_silence(progress: LoadProgress, silent_s: float, shown_from_s: float) -> LoadProgress:
    """`progress`, with the child's silence as its detail once that lasts `shown_from_s`.

    Large libraries may hold the interpreter that long, so the silence is shown before the child is killed for it.
    """
    if silent_s < shown_from_s:
        return progress
    return msgspec.structs.replace(progress, detail=f"no sign of life for {silent_s:.0f} s")
