"""The one engine thread, the commands it takes, the events it gives, and the state it is in.

The UI's thread calls; nothing it calls waits, except `shutdown`. The engine thread does all the work, in the order of
the calls; what it has to say is taken with `drain`.
"""

from __future__ import annotations

import itertools
import logging
import queue
import threading
import time
from collections.abc import Callable, Sequence
from typing import Final, Protocol, TypeAlias, runtime_checkable

import msgspec
from typing_extensions import assert_never

from ttchat_tui.domain.chat import ChatMessage
from ttchat_tui.domain.errors import ErrorInfo
from ttchat_tui.domain.events import (
    EngineEvent,
    EngineState,
    EngineStateChanged,
    GenerationFinished,
    RequestAdapted,
)
from ttchat_tui.domain.generation import FinishReason, GenerationControl, GenerationRequest, GenerationStats
from ttchat_tui.domain.meter import Meter
from ttchat_tui.domain.model_spec import EngineInfo
from ttchat_tui.engine.base import Engine, EngineDied, not_loaded
from ttchat_tui.engine.runtime.error_info import error_info
from ttchat_tui.engine.runtime.event_queue import EventQueue
from ttchat_tui.engine.runtime.load_queue import Loader, Order, Prepare
from ttchat_tui.engine.runtime.process_memory import resident_bytes

log = logging.getLogger(__name__)

LOOK_UP_S: Final = 1.0
"""How often the idle engine thread looks whether the engine's process and the main thread still live."""


@runtime_checkable
class ProcessEngine(Protocol):
    """What an engine offers besides, whose body runs in a process of its own."""

    @property
    def pid(self) -> int | None: ...

    def check(self) -> None:
        """Raises EngineDied if the process has ended."""
        ...

    def kill(self) -> None: ...


class _Unload(msgspec.Struct, frozen=True):
    pass


class _Generate(msgspec.Struct, frozen=True):
    request: GenerationRequest
    control: GenerationControl


class _Count(msgspec.Struct, frozen=True):
    count_id: int
    messages: tuple[ChatMessage, ...]


class _Close(msgspec.Struct, frozen=True):
    pass


_Command: TypeAlias = Order | _Unload | _Generate | _Count | _Close


class EngineHost:
    """Runs one engine on one thread for life. See the module's docstring for who may call what."""

    def __init__(
        self, engine: Engine, prepare: Prepare, clock: Callable[[], float] = time.perf_counter
    ) -> None:
        """`clock` is for load times, seconds."""
        self._engine = engine
        self._process_engine = engine if isinstance(engine, ProcessEngine) else None
        self._commands: queue.SimpleQueue[_Command] = queue.SimpleQueue()
        self._events = EventQueue()
        self._state: EngineState = "empty"
        self._controls: dict[int, GenerationControl] = {}
        self._loader = Loader(
            engine,
            prepare,
            post=self._events.post,
            set_state=self._set_state,
            is_leaving=self._is_leaving,
            clock=clock,
        )
        self._count_ids = itertools.count(1)
        self._last_count_id = 0
        self._is_closing = False
        # Not a daemon: the device is closed even when the UI crashed (see `_next`).
        self._thread = threading.Thread(target=self._run, name="engine", daemon=False)

    # -- for the UI's thread

    @property
    def state(self) -> EngineState:
        """Where the engine thread is now: it may be ahead of the events that were drained."""
        return self._state

    @property
    def info(self) -> EngineInfo | None:
        """The loaded model; None while there is none."""
        return self._loader.info

    @property
    def is_loading(self) -> bool:
        """A load runs or waits for its turn."""
        return self._loader.is_loading

    @property
    def is_alive(self) -> bool:
        """The engine thread runs."""
        return self._thread.is_alive()

    def start(self) -> None:
        """Start the engine thread. Once."""
        self._thread.start()

    def set_waker(self, waker: Callable[[], None] | None) -> None:
        """Call `waker`, on the engine thread, when there are events: at most once until the next `drain`."""
        self._events.set_waker(waker)

    def drain(self) -> list[EngineEvent]:
        """All events since the last call, in order."""
        return self._events.drain()

    def load(self, name: str) -> None:
        """Load a model in place of what is loaded, loading or generating: that is cancelled first."""
        order = self._loader.order(name)
        self._cancel_replies()
        self._commands.put(order)

    def cancel_load(self) -> None:
        """Give up loads that run or wait. Each ends with `EngineFailed`, kind `load_cancelled`; what was loaded before
        stays, or is loaded again."""
        self._loader.cancel()

    def unload(self) -> None:
        """Free the model, after cancelling what runs."""
        self._loader.give_up()
        self._cancel_replies()
        self._commands.put(_Unload())

    def generate(self, request: GenerationRequest) -> GenerationControl:
        """Queue a reply. It always ends with `GenerationFinished`; with kind `not_ready` if, when its turn comes, no
        model is loaded. A request made during a load waits for it."""
        control = GenerationControl(request.sampling)
        self._controls[request.id] = control
        self._commands.put(_Generate(request, control))
        if self._is_closing and not self.is_alive:
            self._leave_undone()
        return control

    def count(self, messages: Sequence[ChatMessage]) -> int:
        """Ask what a prompt would cost; returns the id that `PromptCounted` will carry. No answer comes to a count
        that is overtaken by a newer one, or while no model is loaded."""
        self._last_count_id = next(self._count_ids)
        self._commands.put(_Count(self._last_count_id, tuple(messages)))
        return self._last_count_id

    def memory_bytes(self) -> int | None:
        """Resident memory of the process that the engine runs in; None where the system does not tell."""
        return resident_bytes(self._process_engine.pid if self._process_engine is not None else None)

    def shutdown(self, force: bool = False, timeout_s: float = 5.0) -> bool:
        """Cancel everything, unload, close, end the thread. Idempotent; `timeout_s=0` only begins.

        `force` (for a second wish to quit) kills the engine's process; an engine in this process cannot be killed.

        Returns:
            Whether the thread has ended.
        """
        is_first = not self._is_closing
        self._is_closing = True  # before the cancel, which a load understands by it
        self._loader.cancel()
        self._cancel_replies()
        if is_first:
            self._commands.put(_Close())
        if force and self._process_engine is not None:
            self._process_engine.kill()
        if self.is_alive:
            self._thread.join(timeout_s)
        return not self.is_alive

    def _cancel_replies(self) -> None:
        for control in list(self._controls.values()):
            control.cancel()

    # -- the engine thread

    def _run(self) -> None:
        try:
            while not isinstance(command := self._next(), _Close):
                self._do(command)
            self._unload_now()
        except Exception:
            log.exception("the engine thread ends")
            self._set_state("failed", "internal error")
        finally:
            self._is_closing = True
            self._close_engine()
            self._leave_undone()

    def _close_engine(self) -> None:
        try:
            self._engine.close()
        except Exception:
            log.exception("the engine did not close properly")

    def _next(self) -> _Command:
        """The next command; `_Close` when the UI crashed and the main thread waits for this one to end."""
        while True:
            try:
                return self._commands.get(timeout=LOOK_UP_S)
            except queue.Empty:
                pass
            if not threading.main_thread().is_alive():
                return _Close()
            self._check()

    def _check(self) -> None:
        """Notice the death of an idle engine."""
        if self._process_engine is None or self._state != "ready":
            return
        try:
            self._process_engine.check()
        except EngineDied as error:
            self._loader.fail(error)

    def _do(self, command: _Command) -> None:
        match command:
            case Order():
                self._loader.run(command)
            case _Unload():
                self._unload_now()
            case _Generate():
                self._generate_now(command)
            case _Count():
                self._count_now(command)
            case _Close():
                pass
            case _:
                assert_never(command)

    def _is_leaving(self) -> bool:
        return self._is_closing or not threading.main_thread().is_alive()

    def _unload_now(self) -> None:
        if self._loader.unload() and self._state != "empty":
            self._set_state("empty")

    def _count_now(self, command: _Count) -> None:
        if command.count_id != self._last_count_id or self._state != "ready":
            return
        try:
            self._events.post(self._engine.count(command.count_id, command.messages))
        except EngineDied as error:
            self._loader.fail(error)
        except Exception:
            log.exception("a prompt could not be counted")

    def _generate_now(self, command: _Generate) -> None:
        request, control = command.request, command.control
        if control.is_cancelled:
            self._finish(request, "cancelled")
        elif self._state != "ready":
            self._finish(request, "error", not_loaded().info)
        else:
            self._set_state("generating")
            self._run_reply(request, control)

    def _run_reply(self, request: GenerationRequest, control: GenerationControl) -> None:
        """Pass a reply's events on; whatever the engine does, end it with exactly one GenerationFinished."""
        meter = Meter()
        try:
            for event in self._engine.generate(request, control):
                if isinstance(event, GenerationFinished):
                    self._close_reply(event)
                    self._set_state("ready")
                    return
                if isinstance(event, RequestAdapted):
                    self._loader.adapt(event.capabilities)
                meter.observe(event)
                self._events.post(event)
                if not threading.main_thread().is_alive():
                    control.cancel()
            error = ErrorInfo(kind="internal", message="The engine ended the reply without saying how.")
        except EngineDied as died:
            self._finish(request, "error", died.info, meter.stats())
            self._loader.lose()
            self._set_state("failed", died.info.message)
            return
        except Exception as raised:  # noqa: BLE001 (told, never dropped)
            error = error_info(raised)
        self._finish(request, "error", error, meter.stats())
        self._set_state("ready")

    def _finish(
        self,
        request: GenerationRequest,
        reason: FinishReason,
        error: ErrorInfo | None = None,
        stats: GenerationStats | None = None,
    ) -> None:
        self._close_reply(GenerationFinished(request.id, reason, stats or GenerationStats(), error=error))

    def _close_reply(self, event: GenerationFinished) -> None:
        self._controls.pop(event.request_id, None)
        self._events.post(event)

    def _leave_undone(self) -> None:
        """After the end: requests that still wait are cancelled."""
        while not self._commands.empty():
            command = self._commands.get()
            if isinstance(command, _Generate):
                self._finish(command.request, "cancelled")

    def _set_state(self, state: EngineState, detail: str = "") -> None:
        self._state = state
        self._events.post(EngineStateChanged(state, detail))
