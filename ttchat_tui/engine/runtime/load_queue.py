"""What is loaded, and how another model comes in its place: a change that fails leaves, or brings back, what was there.

The files of the new model are fetched while the old one stays loaded. Only the load itself needs its room: when that
fails, or is cancelled, the old one is loaded again.
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
)
from ttchat_tui.domain.model_spec import Capabilities, EngineInfo, ModelSpec
from ttchat_tui.engine.base import Engine, EngineClosing, LoadCancelled, ProgressReporter
from ttchat_tui.engine.runtime.error_info import error_info

log = logging.getLogger(__name__)

Prepare: TypeAlias = Callable[[str, ProgressReporter], ModelSpec]
"""From the name of a model to its files: fetches what is missing, on the engine thread. May raise anything; an
exception with an `info: ErrorInfo` is shown as it is."""


class Order(msgspec.Struct, frozen=True):
    """A load that was asked for."""

    name: str
    number: int
    cancelled: threading.Event


class _Loaded(msgspec.Struct, frozen=True):
    name: str
    spec: ModelSpec


class Loader:
    """Of one engine. The host's callers order and cancel; everything else happens on the engine thread."""

    def __init__(
        self,
        engine: Engine,
        prepare: Prepare,
        *,
        post: Callable[[EngineEvent], None],
        set_state: Callable[[EngineState, str], None],
        is_leaving: Callable[[], bool],
        clock: Callable[[], float],
    ) -> None:
        self._engine = engine
        self._prepare = prepare
        self._post = post
        self._set_state = set_state
        self._is_leaving = is_leaving
        self._clock = clock
        self._waiting: list[threading.Event] = []
        self._last_number = 0
        self._old: _Loaded | None = None
        """What is loaded, or was until another load began."""
        self.info: EngineInfo | None = None
        """The loaded model; None while there is none."""

    # -- for the host's callers

    @property
    def is_loading(self) -> bool:
        """A load runs or waits for its turn."""
        return bool(self._waiting)

    def order(self, name: str) -> Order:
        """Ask for a load, to be `run`; those before it are cancelled, and bring nothing back."""
        older = tuple(self._waiting)
        self._last_number += 1
        order = Order(name, self._last_number, self._new_event())
        self._cancel(older)
        return order

    def cancel(self) -> None:
        """Give up loads that run or wait. Each ends with `EngineFailed`, kind `load_cancelled`."""
        self._cancel(tuple(self._waiting))

    def give_up(self) -> None:
        """As `cancel`, and nothing is brought back: the model is to be unloaded."""
        self._last_number += 1
        self.cancel()

    # -- for the engine thread

    def run(self, order: Order) -> None:
        """One load, to its end."""
        try:
            self._replace(order)
        finally:
            self._forget(order.cancelled)

    def unload(self) -> bool:
        """Free the model; False: the engine failed at it, which has been told."""
        self._old = None
        try:
            self._free()
        except Exception as error:  # noqa: BLE001 (told, never dropped)
            self._fall(error)
            return False
        return True

    def fail(self, error: Exception) -> None:
        """There is no model any more."""
        self._old = None
        self._fall(error)

    def lose(self) -> None:
        """The model went with its process, which somebody else tells."""
        self.info = self._old = None

    def _replace(self, order: Order) -> None:
        self._set_state("loading", order.name)
        report = self._reporter(order.cancelled, order.number)
        try:
            spec = self._prepare(order.name, report)
        except Exception as error:  # noqa: BLE001 (told, never dropped)
            if self.info is None:
                self._fall(error)
            else:
                self._post(EngineFailed(error_info(error), "kept"))
                self._set_state("ready", "")
            return
        if self.info is not None:
            try:
                self._free()
            except Exception:
                log.exception(
                    "what was loaded could not be freed; a load begins with an engine that is empty"
                )
            self._set_state("loading", order.name)
        try:
            self._load(order.name, spec, report)
        except Exception as error:  # noqa: BLE001 (told, never dropped)
            old = self._old
            if old is None or order.number != self._last_number or self._is_leaving():
                self._fall(error)
            else:
                self._post(EngineFailed(error_info(error), "reloading"))
                self._bring_back(old)

    def _bring_back(self, old: _Loaded) -> None:
        cancelled = self._new_event()
        number = self._last_number
        self._set_state("loading", old.name)
        try:
            self._load(old.name, old.spec, self._reporter(cancelled, number))
        except Exception as error:  # noqa: BLE001 (told, never dropped)
            if number == self._last_number:
                self._old = None
            self._fall(error)
        finally:
            self._forget(cancelled)

    def _load(self, name: str, spec: ModelSpec, report: ProgressReporter) -> None:
        """Raises whatever the engine does; it is empty then."""
        self.info = load_timed(self._engine, spec, report, self._clock)
        self._old = _Loaded(name, spec)
        self._post(EngineLoaded(self.info))
        self._set_state("ready", "")

    def adapt(self, capabilities: Capabilities) -> None:
        """What is loaded can do other things than it said."""
        if self.info is not None:
            self.info = msgspec.structs.replace(self.info, capabilities=capabilities)

    def _free(self) -> None:
        """Raises whatever the engine does."""
        if self.info is not None:
            self._set_state("unloading", "")
            self.info = None
            self._engine.unload()

    def _fall(self, error: Exception) -> None:
        self.info = None
        info = error_info(error)
        is_cancelled = isinstance(error, LoadCancelled)
        self._set_state(*(("empty", "") if is_cancelled else ("failed", info.message)))
        self._post(EngineFailed(info))

    def _reporter(self, cancelled: threading.Event, number: int) -> ProgressReporter:
        """Posts progress that is news, and raises when the load was cancelled; engines call it for either."""
        last: LoadProgress | None = None

        def report(progress: LoadProgress) -> None:
            nonlocal last
            if self._is_leaving():
                raise EngineClosing("The app ends.")
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
            self._forget(cancelled)

    def _forget(self, cancelled: threading.Event) -> None:
        with suppress(ValueError):  # it was cancelled, and is forgotten already
            self._waiting.remove(cancelled)


def load_timed(
    engine: Engine, spec: ModelSpec, report: ProgressReporter, clock: Callable[[], float] = time.perf_counter
) -> EngineInfo:
    """`engine.load` with `load_s` of the whole wait: the start of the engine's process and its imports are in it, of
    which the engine itself does not know."""
    began_s = clock()
    info = engine.load(spec, report)
    return msgspec.structs.replace(info, load_s=clock() - began_s)
