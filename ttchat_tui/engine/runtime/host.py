"""The engine thread: its command queue, its events and its state.

The UI's thread calls the public methods, and only `shutdown` waits. The engine thread runs the commands in the order of
the calls; the UI's thread collects the events with `drain`.
"""

from __future__ import annotations

import itertools
import logging
import queue
import threading
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Final, Protocol, TypeAlias, runtime_checkable

from msgspec import structs
from typing_extensions import assert_never

from ttchat_tui.domain.chat import ChatMessage
from ttchat_tui.domain.errors import ErrorInfo
from ttchat_tui.domain.events import (
    EngineEvent,
    EngineState,
    EngineStateChanged,
    GenerationEvent,
    GenerationFinished,
    RequestAdapted,
    RowFinished,
    TokenEvent,
)
from ttchat_tui.domain.generation import FinishReason, GenerationControl, GenerationRequest
from ttchat_tui.domain.model_spec import EngineInfo
from ttchat_tui.domain.sampling import DEFAULTS, SamplingParams
from ttchat_tui.engine.base import Engine, EngineDied, not_loaded
from ttchat_tui.engine.runtime.commands import Close, CountTokens, Generate, Unload
from ttchat_tui.engine.runtime.error_info import error_info, unfinished_reply
from ttchat_tui.engine.runtime.event_queue import EventQueue
from ttchat_tui.engine.runtime.load_queue import LoadQueue, LoadRequest, Prepare
from ttchat_tui.engine.runtime.process_memory import resident_bytes

log = logging.getLogger(__name__)

IDLE_CHECK_S: Final = 1.0
"""How often the idle engine thread checks that the engine's process and the main thread are alive."""


@runtime_checkable
class ProcessEngine(Protocol):
    """The additional methods of an engine that runs in a process of its own."""

    @property
    def pid(self) -> int | None: ...

    def check(self) -> None:
        """Raise `EngineDied` if the process has ended."""
        ...

    def kill(self) -> None: ...


HostCommand: TypeAlias = LoadRequest | CountTokens | Generate | Unload | Close


class EngineHost:
    """Runs one engine on one thread, for the life of the app."""

    def __init__(
        self,
        engine: Engine,
        prepare: Prepare,
        clock: Callable[[], float] = time.perf_counter,
        request_ids: Iterator[int] | None = None,
    ) -> None:
        """`clock` measures load times and when events come, in seconds; engines have the same. `request_ids`: shared by the
        hosts of a session."""
        self.clock = clock
        self._engine = engine
        self._process_engine = engine if isinstance(engine, ProcessEngine) else None
        self._commands: queue.SimpleQueue[HostCommand] = queue.SimpleQueue()
        self._events = EventQueue()
        self._state: EngineState = "empty"
        self._controls: dict[int, GenerationControl] = {}
        self._loads = LoadQueue(
            engine,
            prepare,
            post=self._events.post,
            set_state=self._set_state,
            is_shutting_down=self._is_shutting_down,
            clock=clock,
        )
        self._request_ids = itertools.count(1) if request_ids is None else request_ids
        self._count_ids = itertools.count(1)
        self._last_count_id = 0
        self._is_closing = False
        self._is_previewed = False
        # Not a daemon, so that the device is closed even after the UI has crashed (see `_next_command`).
        self._thread = threading.Thread(target=self._run, name="engine", daemon=False)

    # -- for the UI's thread

    @property
    def state(self) -> EngineState:
        """The state of the engine thread now. It may be ahead of the events that were drained."""
        return self._state

    @property
    def info(self) -> EngineInfo | None:
        """The loaded model; None without one."""
        return self._loads.info

    @property
    def loaded_model(self) -> str:
        """The name that the loaded model was requested by, as an argument of `--model`; empty without one."""
        return self._loads.loaded_model

    @property
    def is_loading(self) -> bool:
        """Whether a load is running or queued."""
        return self._loads.is_loading

    @property
    def is_closing(self) -> bool:
        """`shutdown` was called."""
        return self._is_closing

    @property
    def is_alive(self) -> bool:
        """Whether the engine thread is running."""
        return self._thread.is_alive()

    def start(self) -> None:
        """Start the engine thread. Call it once."""
        self._thread.start()

    def set_waker(self, waker: Callable[[], None] | None) -> None:
        """Call `waker`, on the engine thread, when there are events: at most once until the next `drain`."""
        self._events.set_waker(waker)

    def drain(self) -> list[EngineEvent]:
        """All events since the last call, in order."""
        return self._events.drain()

    def load(self, name: str) -> None:
        """Load a model in place of the current one. Cancels running and queued loads and replies."""
        request = self._loads.request(name)
        self._cancel_replies()
        self._commands.put(request)

    def cancel_load(self) -> None:
        """Cancel running and queued loads. Each ends with `EngineFailed`, kind `load_cancelled`. The previous model stays, or
        is loaded again."""
        self._loads.cancel()

    def unload(self) -> None:
        """Free the model. Cancels loads and replies first."""
        self._loads.cancel_for_unload()
        self._cancel_replies()
        self._commands.put(Unload())

    def new_request_id(self) -> int:
        """The id for a new request."""
        return next(self._request_ids)

    def generate(self, request: GenerationRequest) -> GenerationControl:
        """Queue a reply. It always ends with `GenerationFinished`: with error kind `not_ready` if no model is loaded when its
        turn comes. A request made during a load waits for the load."""
        control = GenerationControl(request.sampling)
        control.set_previewed(self._is_previewed)
        self._controls[request.id] = control
        self._commands.put(Generate(request))
        if self._is_closing and not self.is_alive:
            self._cancel_queued()
        return control

    def set_previewed(self, is_previewed: bool) -> None:
        """Whether replies report `StepScores`: the running one from now on, and all that follow."""
        self._is_previewed = is_previewed
        for control in list(self._controls.values()):
            control.set_previewed(is_previewed)

    def count(
        self,
        messages: Sequence[ChatMessage],
        sampling: SamplingParams = DEFAULTS,
        keep: Collection[int] = (),
    ) -> int:
        """Count the tokens of a prompt, as in `Engine.count`. Returns the id that `PromptCounted` will have. There is no answer if a newer count
        follows before its turn, or without a loaded model."""
        self._last_count_id = next(self._count_ids)
        self._commands.put(CountTokens(self._last_count_id, tuple(messages), sampling, tuple(keep)))
        return self._last_count_id

    def memory_bytes(self) -> int | None:
        """Resident memory of the engine's process; None where the system does not report it."""
        return resident_bytes(self._process_engine.pid if self._process_engine is not None else None)

    def shutdown(self, force: bool = False, timeout_s: float = 5.0) -> bool:
        """Cancel all work, unload, close, and end the thread. Idempotent.

        Args:
            force: kill the engine's process, for a user who quits twice. An engine in this process cannot be killed.
            timeout_s: how long to wait for the end of the thread; 0 does not wait.

        Returns:
            Whether the thread has ended.
        """
        is_first = not self._is_closing
        self._is_closing = True  # before the cancel: a running load checks it
        self._loads.cancel()
        self._cancel_replies()
        if is_first:
            self._commands.put(Close())
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
            while not isinstance(command := self._next_command(), Close):
                self._run_command(command)
            self._unload()
        except Exception:
            log.exception("the engine thread failed")
            self._set_state("failed", "internal error")
        finally:
            self._is_closing = True
            self._close_engine()
            self._cancel_queued()

    def _close_engine(self) -> None:
        try:
            self._engine.close()
        except Exception:
            log.exception("the engine failed to close")

    def _next_command(self) -> HostCommand:
        """The next command; `Close` if the main thread has ended, after a crash of the UI."""
        while True:
            try:
                return self._commands.get(timeout=IDLE_CHECK_S)
            except queue.Empty:
                pass
            if not threading.main_thread().is_alive():
                return Close()
            self._check_process()

    def _check_process(self) -> None:
        """Notice when an idle engine's process has died."""
        if self._process_engine is None or self._state != "ready":
            return
        try:
            self._process_engine.check()
        except EngineDied as error:
            self._loads.fail(error)

    def _run_command(self, command: HostCommand) -> None:
        match command:
            case LoadRequest():
                self._loads.run(command)
            case Unload():
                self._unload()
            case Generate(request):
                self._generate(request, self._controls[request.id])
            case CountTokens():
                self._count(command)
            case Close():
                pass
            case _:
                assert_never(command)

    def _is_shutting_down(self) -> bool:
        return self._is_closing or not threading.main_thread().is_alive()

    def _unload(self) -> None:
        if self._loads.unload() and self._state != "empty":
            self._set_state("empty")

    def _count(self, command: CountTokens) -> None:
        if command.count_id != self._last_count_id or self._state != "ready":
            return
        try:
            counted = self._engine.count(command.count_id, command.messages, command.sampling, command.keep)
            self._events.post(counted)
        except EngineDied as error:
            self._loads.fail(error)
        except Exception:
            log.exception("counting a prompt failed")

    def _generate(self, request: GenerationRequest, control: GenerationControl) -> None:
        if control.is_cancelled:
            self._finish(request, "cancelled")
        elif self._state != "ready":
            self._finish(request, "error", not_loaded().info)
        else:
            self._set_state("generating")
            if not request.is_varied:  # what the user has changed while it waited is there from the beginning
                request = structs.replace(request, sampling=control.sampling)
            self._run_reply(request, control)

    def _run_reply(self, request: GenerationRequest, control: GenerationControl) -> None:
        """Post a reply's events. Whatever the engine does, the reply ends with exactly one `GenerationFinished`."""
        try:
            for event in self._engine.generate(request, control):
                if isinstance(event, GenerationFinished):
                    self._post_finished(structs.replace(event, arrived_s=self.clock()))
                    self._set_state("ready")
                    return
                if isinstance(event, RequestAdapted) and event.capabilities is not None:
                    self._loads.set_capabilities(event.capabilities)
                self._events.post(_stamped(event, self.clock()))
                if not threading.main_thread().is_alive():
                    control.cancel()
            raise unfinished_reply()
        except EngineDied as died:
            self._finish(request, "error", died.info)
            self._loads.forget()
            self._set_state("failed", died.info.message)
        except Exception as error:  # noqa: BLE001 (posted with the reply's end)
            self._finish(request, "error", error_info(error))
            self._set_state("ready")

    def _finish(
        self, request: GenerationRequest, reason: FinishReason, error: ErrorInfo | None = None
    ) -> None:
        self._post_finished(GenerationFinished(request.id, reason, error=error))

    def _post_finished(self, event: GenerationFinished) -> None:
        self._controls.pop(event.request_id, None)
        self._events.post(event)

    def _cancel_queued(self) -> None:
        """Finish the requests that are still in the queue, after the end of the thread."""
        while not self._commands.empty():
            command = self._commands.get()
            if isinstance(command, Generate):
                self._finish(command.request, "cancelled")

    def _set_state(self, state: EngineState, detail: str = "") -> None:
        self._state = state
        self._events.post(EngineStateChanged(state, detail))


def _stamped(event: GenerationEvent, now_s: float) -> GenerationEvent:
    """With the time of its arrival, where it has text."""
    if isinstance(event, TokenEvent):
        return structs.replace(event, arrived_s=(now_s,) * len(event.times_s))
    return structs.replace(event, arrived_s=now_s) if isinstance(event, RowFinished) else event
