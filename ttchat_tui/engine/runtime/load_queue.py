"""Load orchestration for one engine: running, replacing and cancelling loads.

The files of a new model are fetched while the previous one stays loaded. Then the previous one is unloaded, because both
may not fit into memory. If the load of the new one fails or is cancelled, the previous one is loaded again.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import TypeAlias

import msgspec

from ttchat_tui.domain.events import (
    EngineEvent,
    EngineFailed,
    EngineLoaded,
    EngineState,
    LoadProgress,
    ProgressReporter,
)
from ttchat_tui.domain.model_spec import Capabilities, EngineInfo, ModelSpec
from ttchat_tui.engine.base import Engine, EngineClosing, LoadCancelled
from ttchat_tui.engine.runtime.error_info import error_info

log = logging.getLogger(__name__)

Prepare: TypeAlias = Callable[[str, ProgressReporter], ModelSpec]
"""Finds the files of the model with this name and fetches missing ones, on the engine thread. May raise anything."""


class LoadRequest(msgspec.Struct, frozen=True):
    """A load that waits for the engine thread."""

    name: str
    number: int
    """Position in the order of all requests: a newer one has a higher number."""
    cancelled: threading.Event


class _CurrentModel(msgspec.Struct, frozen=True):
    name: str
    spec: ModelSpec


class LoadQueue:
    """The loads of one engine. The UI's thread requests and cancels; the engine thread does everything else."""

    def __init__(
        self,
        engine: Engine,
        prepare: Prepare,
        *,
        post: Callable[[EngineEvent], None],
        set_state: Callable[[EngineState, str], None],
        is_shutting_down: Callable[[], bool],
        clock: Callable[[], float],
    ) -> None:
        self._engine = engine
        self._prepare = prepare
        self._post = post
        self._set_state = set_state
        self._is_shutting_down = is_shutting_down
        self._clock = clock
        self._waiting: list[threading.Event] = []
        self._last_number = 0
        self._last_loaded: _CurrentModel | None = None
        """The loaded model; during a load, the one before it."""
        self.info: EngineInfo | None = None
        """The loaded model; None without one."""

    # -- for the UI's thread

    @property
    def loaded_model(self) -> str:
        """The name that the loaded model was requested by; empty without one."""
        current = self._last_loaded
        return current.name if current is not None else ""

    @property
    def is_loading(self) -> bool:
        """Whether a load is running or queued."""
        return bool(self._waiting)

    def request(self, name: str) -> LoadRequest:
        """Make the request for a load, which the engine thread has to `run`. Cancels the loads before it; they do not
        restore the previous model."""
        older = tuple(self._waiting)
        self._last_number += 1
        request = LoadRequest(name, self._last_number, self._new_event())
        self._cancel(older)
        return request

    def cancel(self) -> None:
        """Cancel running and queued loads. Each ends with `EngineFailed`, kind `load_cancelled`."""
        self._cancel(tuple(self._waiting))

    def cancel_for_unload(self) -> None:
        """Cancel all loads without restoring the previous model, because an unload follows."""
        self._last_number += 1
        self.cancel()

    # -- for the engine thread

    def run(self, request: LoadRequest) -> None:
        """Run one load. Its end, a failure included, is posted."""
        try:
            self._replace_model(request)
        finally:
            self._discard(request.cancelled)

    def unload(self) -> bool:
        """Free the model. Returns False if that failed; then the host is in state `failed`."""
        self._last_loaded = None
        try:
            self._unload_engine()
        except Exception as error:  # noqa: BLE001 (posted as EngineFailed)
            self._set_failed(error)
            return False
        return True

    def fail(self, error: Exception) -> None:
        """Report that the engine died. No model is loaded from here on."""
        self._last_loaded = None
        self._set_failed(error)

    def forget(self) -> None:
        """Drop the model after the engine died in a reply, which reports the error itself."""
        self.info = self._last_loaded = None

    def set_capabilities(self, capabilities: Capabilities) -> None:
        """Change what the loaded model can do, after a server refused a parameter."""
        if self.info is not None:
            self.info = msgspec.structs.replace(self.info, capabilities=capabilities)

    def _replace_model(self, request: LoadRequest) -> None:
        self._set_state("loading", request.name)
        report = self._reporter(request.cancelled, request.number)
        try:
            spec = self._prepare(request.name, report)
        except Exception as error:  # noqa: BLE001 (posted as EngineFailed)
            if self.info is None:
                self._set_failed(error)
            else:
                self._post(EngineFailed(error_info(error), "kept"))
                self._set_state("ready", "")
            return
        if self.info is not None:
            try:
                self._unload_engine()
            except Exception:
                log.exception("the previous model could not be unloaded; `load` unloads it again")
            self._set_state("loading", request.name)
        try:
            self._load(request.name, spec, report)
        except Exception as error:  # noqa: BLE001 (posted as EngineFailed)
            previous = self._last_loaded
            if previous is None or request.number != self._last_number or self._is_shutting_down():
                self._set_failed(error)
            else:
                self._post(EngineFailed(error_info(error), "reloading"))
                self._restore(previous)

    def _restore(self, previous: _CurrentModel) -> None:
        cancelled = self._new_event()
        number = self._last_number
        self._set_state("loading", previous.name)
        try:
            self._load(previous.name, previous.spec, self._reporter(cancelled, number))
        except Exception as error:  # noqa: BLE001 (posted as EngineFailed)
            if number == self._last_number:
                self._last_loaded = None
            self._set_failed(error)
        finally:
            self._discard(cancelled)

    def _load(self, name: str, spec: ModelSpec, report: ProgressReporter) -> None:
        """Load into the empty engine. Raises what the engine raises, and leaves it empty then."""
        self.info = load_timed(self._engine, spec, report, self._clock)
        self._last_loaded = _CurrentModel(name, spec)
        self._post(EngineLoaded(self.info))
        self._set_state("ready", "")

    def _unload_engine(self) -> None:
        """Raises what the engine raises."""
        if self.info is not None:
            self._set_state("unloading", "")
            self.info = None
            self._engine.unload()

    def _set_failed(self, error: Exception) -> None:
        self.info = None
        info = error_info(error)
        is_cancelled = isinstance(error, LoadCancelled)
        self._set_state(*(("empty", "") if is_cancelled else ("failed", info.message)))
        self._post(EngineFailed(info))

    def _reporter(self, cancelled: threading.Event, number: int) -> ProgressReporter:
        """A callback for `Engine.load`: posts progress that has changed, and raises when the load is cancelled."""
        last: LoadProgress | None = None

        def report(progress: LoadProgress) -> None:
            nonlocal last
            if self._is_shutting_down():
                raise EngineClosing("The app is closing.")
            if cancelled.is_set() or number != self._last_number:
                raise LoadCancelled("The load was cancelled.")
            if progress != last:
                last = progress
                self._post(progress)

        return report

    def _new_event(self) -> threading.Event:
        cancelled = threading.Event()
        self._waiting.append(cancelled)
        return cancelled

    def _cancel(self, events: tuple[threading.Event, ...]) -> None:
        for cancelled in events:
            cancelled.set()
            self._discard(cancelled)

    def _discard(self, cancelled: threading.Event) -> None:
        with suppress(ValueError):  # a cancel has removed it already
            self._waiting.remove(cancelled)


def load_timed(
    engine: Engine, spec: ModelSpec, report: ProgressReporter, clock: Callable[[], float] = time.perf_counter
) -> EngineInfo:
    """`engine.load` with the time of the whole call as `load_s`: the start of the engine's process is part of it, which the
    engine itself cannot measure."""
    began_s = clock()
    info = engine.load(spec, report)
    return msgspec.structs.replace(info, load_s=clock() - began_s)
