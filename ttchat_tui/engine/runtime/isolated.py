"""The same `Engine` in a child process: a crash, an abort or a hang of native code takes that process, never the UI.

Importing this module is cheap, and `start()` does not wait: the child is under way before the UI's own libraries are
imported. Only `pid` and `kill` are for other threads than the engine's.
"""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

import msgspec

from ttchat_tui.domain.chat import ChatMessage
from ttchat_tui.domain.errors import ErrorInfo
from ttchat_tui.domain.events import (
    EngineLoaded,
    GenerationEvent,
    GenerationFinished,
    GenerationStarted,
    LoadProgress,
    PrefillProgress,
    PromptCounted,
    RequestAdapted,
    Retrying,
    RowFinished,
    TokenEvent,
)
from ttchat_tui.domain.generation import GenerationControl, GenerationRequest
from ttchat_tui.domain.model_spec import EngineInfo, ModelSpec
from ttchat_tui.engine.base import EngineClosing, EngineDied, EngineError, LoadCancelled, ProgressReporter
from ttchat_tui.engine.factory import FACTORY
from ttchat_tui.engine.runtime.child import Child, Patience
from ttchat_tui.engine.runtime.step_timeout import StepPatience
from ttchat_tui.engine.runtime.wire import (
    Cancel,
    CancelLoad,
    Close,
    Command,
    Count,
    Failed,
    Generate,
    Load,
    Reply,
    SetSampling,
    Unload,
)

_DEFAULT_PATIENCE: Final = Patience()
_GENERATION_EVENTS: Final = (
    GenerationStarted,
    PrefillProgress,
    RequestAdapted,
    Retrying,
    TokenEvent,
    RowFinished,
    GenerationFinished,
)


class IsolatedEngine:
    """An `Engine` whose body runs in a child process. See `Engine` for the contract of each method."""

    def __init__(
        self,
        log_path: Path,
        *,
        factory: str = FACTORY,
        warm: tuple[str, ...] = (),
        patience: Patience = _DEFAULT_PATIENCE,
        environment: Mapping[str, str] | None = None,
        advice: str = "",
    ) -> None:
        """Starts nothing yet.

        Args:
            log_path: gets all output of the child, file descriptors 1 and 2 included; created with mode 0600.
            factory: `module:callable` that makes an engine from an `EngineKind`, in the child.
            warm: modules the child imports before its first command (`factory.WARM_MODULES`).
            patience: when the child counts as hung.
            environment: variables for the child on top of this process's own.
            advice: what to do, besides a new load, when the child died; a sentence.
        """
        self._log_path = log_path
        self._factory = factory
        self._warm = warm
        self._patience = patience
        self._environment = dict(environment or {})
        self._advice = advice
        self._child: Child | None = None
        self._wake_reader, self._wake_writer = socket.socketpair()
        self._wake_reader.setblocking(False)
        self._wake_writer.setblocking(False)

    @property
    def pid(self) -> int | None:
        """The child's process id; None while there is none."""
        child = self._child
        return child.pid if child is not None else None

    def start(self) -> None:
        """Spawn the child unless it runs already. Returns at once; `load` does it too."""
        if self._child is not None and self._child.is_running:
            return
        if self._child is not None:
            self._child.reap(timeout_s=0)
        self._child = Child(
            self._log_path, self._factory, self._warm, self._patience, self._environment, self._advice
        )

    def check(self) -> None:
        """Raise `EngineDied` if the child has ended since it was started: for times when nobody talks to it."""
        if self._child is not None and not self._child.is_running:
            raise self._child.died()

    def kill(self) -> None:
        """End the child at once. From any thread; the call that is under way raises `EngineDied`."""
        child = self._child
        if child is not None:
            child.kill()

    def load(self, spec: ModelSpec, report: ProgressReporter) -> EngineInfo:
        self.start()
        child = self._living()
        child.send(Load(spec))
        progress = LoadProgress(phase="start")
        for reply in child.replies(self._patience.load_silence_s):
            match reply:
                case EngineLoaded(info):
                    return info
                case Failed(error):
                    raise _exception(error)
                case LoadProgress():
                    progress = reply
                case _:
                    pass
            try:
                # Without news too: raising here is how a cancel reaches a load.
                report(_or_silence(progress, child.silent_s, self._patience.silence_s))
            except EngineClosing:
                with contextlib.suppress(EngineDied):
                    child.send(CancelLoad())  # `close` waits for it
                raise
            except BaseException:
                self._abandon_load(child)
                raise
        raise AssertionError("replies never end")

    def count(self, count_id: int, messages: Sequence[ChatMessage]) -> PromptCounted:
        reply = self._ask(Count(count_id, tuple(messages)), self._patience.silence_s)
        assert isinstance(reply, PromptCounted), reply
        return reply

    def generate(self, request: GenerationRequest, control: GenerationControl) -> Iterator[GenerationEvent]:
        child = self._living()
        control.subscribe(self._wake)
        child.send(Generate(request))
        is_finished = False
        try:
            for reply in self._steered_replies(child, request, control):
                is_finished = isinstance(reply, GenerationFinished | Failed)
                if isinstance(reply, Failed):
                    raise _exception(reply.error)
                if isinstance(reply, _GENERATION_EVENTS):
                    yield reply
                if is_finished:
                    return
        except EngineDied:
            is_finished = True
            raise
        finally:
            if not is_finished:  # whoever listened has gone away
                self._abandon_reply(child, request.id)

    def unload(self) -> None:
        if self._child is not None and self._child.is_running:
            self._ask(Unload(), self._patience.load_silence_s)

    def close(self) -> None:
        self._wake_reader.close()
        self._wake_writer.close()
        self.stop()

    def stop(self) -> None:
        """End the child, if there is one; the next `load` starts another."""
        child = self._child
        if child is None:
            return
        with contextlib.suppress(EngineDied):  # ended already: all the better
            child.send(Close())
        child.reap(self._patience.farewell_s)
        self._child = None  # only now: until then it can be killed

    def _living(self) -> Child:
        if self._child is None or not self._child.is_running:
            raise EngineDied("The engine's process is not running.", cure="Load the model again.")
        return self._child

    def _ask(self, command: Command, silence_s: float) -> Reply:
        """Send a command that has one reply, and wait for it."""
        child = self._living()
        child.send(command)
        reply = next(reply for reply in child.replies(silence_s) if reply is not None)
        if isinstance(reply, Failed):
            raise _exception(reply.error)
        return reply

    def _steered_replies(
        self, child: Child, request: GenerationRequest, control: GenerationControl
    ) -> Iterator[Reply]:
        """The replies to a running request; between them, what the user changes goes out at once."""
        sampling, is_cancelled = request.sampling, False
        patience = self._patience
        steps = StepPatience(patience.step_s, patience.least_step_s)
        wake_fd = self._wake_reader.fileno()
        for reply in child.replies(patience.silence_s, steps.limit_s, wake_fd):
            if isinstance(reply, TokenEvent):
                steps.saw(reply)
            if reply is None:
                self._swallow_wakes()
            if control.sampling is not sampling:
                sampling = control.sampling
                child.send(SetSampling(request.id, sampling))
            if control.is_cancelled and not is_cancelled:
                is_cancelled = True
                child.send(Cancel(request.id))
            if reply is not None:
                yield reply
            if isinstance(reply, TokenEvent):
                child.rest(wake_fd)

    def _abandon_load(self, child: Child) -> None:
        """Get the child out of a load; a new child, where native code does not let go in time."""
        deadline = time.monotonic() + self._patience.cancel_s
        try:
            child.send(CancelLoad())
            for reply in child.replies(self._patience.load_silence_s):
                if isinstance(reply, Failed):
                    return
                if isinstance(reply, EngineLoaded):  # it was just ready
                    self._ask(Unload(), self._patience.load_silence_s)
                    return
                if time.monotonic() > deadline:
                    break
            child.reap(timeout_s=0)
        except EngineDied:
            pass  # a new one is needed as well
        self.start()

    def _abandon_reply(self, child: Child, request_id: int) -> None:
        """Get the child out of a reply that nobody listens to any more; the next call notices if that ends it."""
        deadline = time.monotonic() + self._patience.cancel_s
        with contextlib.suppress(EngineDied):
            child.send(Cancel(request_id))
            for reply in child.replies(self._patience.silence_s):
                if isinstance(reply, GenerationFinished | Failed):
                    return
                if time.monotonic() > deadline:
                    child.reap(timeout_s=0)
                    return

    def _wake(self, _control: GenerationControl) -> None:
        """From any thread: look at the control now. A full buffer will wake just as well."""
        with contextlib.suppress(OSError):
            self._wake_writer.send(b".")

    def _swallow_wakes(self) -> None:
        with contextlib.suppress(BlockingIOError):
            self._wake_reader.recv(4096)


def _exception(error: ErrorInfo) -> EngineError:
    """The exception in this process for one that was raised in the child."""
    if error.kind == LoadCancelled.kind:
        return LoadCancelled(error.message)
    return EngineError(error.message, error.cure, error.kind)


def _or_silence(progress: LoadProgress, silent_s: float, remarkable_s: float) -> LoadProgress:
    """What is known of the load; that nothing more is heard, where that has lasted. Large libraries may hold the
    interpreter for longer, so that it is told before it is acted on."""
    if silent_s < remarkable_s:
        return progress
    return msgspec.structs.replace(progress, detail=f"no sign of life for {silent_s:.0f} s")
