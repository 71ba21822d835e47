"""The engine of a second model, beside the session's own: made when two models are compared, closed afterwards."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Final

from ttchat_tui.domain.events import LoadProgress, ProgressReporter
from ttchat_tui.domain.model_spec import EngineInfo, ModelSpec
from ttchat_tui.engine.base import Engine, OutOfMemory
from ttchat_tui.engine.factory import ENGINES
from ttchat_tui.engine.runtime.host import EngineHost
from ttchat_tui.engine.runtime.load_queue import Prepare

_CLOSING_CHECK_S: Final = 0.2
"""How often a load that waits for the end of a second engine reports, so that it can be cancelled."""


class SecondEngine:
    """Makes its hosts, one after the other. The memory or the card of one that closes is free before the next load."""

    def __init__(
        self,
        make_engine: Callable[[], Engine],
        prepare: Prepare,
        request_ids: Iterator[int],
        first: Callable[[], EngineInfo | None],
    ) -> None:
        """
        Args:
            prepare: of the first engine.
            request_ids: those of the first host.
            first: the model that the first engine holds.
        """
        self._make_engine = make_engine
        self._prepare = prepare
        self._request_ids = request_ids
        self._first = first
        self.hosts: list[EngineHost] = []
        """Those whose threads may still run."""

    def make_host(self) -> EngineHost:
        """A new host, started. On the UI's thread."""
        self.hosts = [host for host in self.hosts if host.is_alive]
        closing = tuple(self.hosts)

        def prepare(name: str, report: ProgressReporter) -> ModelSpec:
            _await_end(closing, report)
            return self._require_room(self._prepare(name, report))

        host = EngineHost(self._make_engine(), prepare, request_ids=self._request_ids)
        self.hosts.append(host)
        host.start()
        return host

    def prepare_first(self, name: str, report: ProgressReporter) -> ModelSpec:
        """`prepare` for the first engine, once no second one is closing."""
        _await_end([host for host in self.hosts if host.is_closing], report)
        return self._prepare(name, report)

    def _require_room(self, spec: ModelSpec) -> ModelSpec:
        first = self._first()
        if first is not None and first.engine == spec.engine and ENGINES[spec.engine].is_alone:
            raise OutOfMemory(f"The device of {first.label} holds one model at a time.")
        return spec


def _await_end(hosts: Sequence[EngineHost], report: ProgressReporter) -> None:
    """Wait on an engine thread until these have closed. Raises what `report` raises: the load is cancelled."""
    for host in hosts:
        while not host.shutdown(timeout_s=_CLOSING_CHECK_S):
            report(LoadProgress(phase="start", detail="the second model is being freed"))
