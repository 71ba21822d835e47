"""Two engines as one: models of this machine run in the engine's process, served ones in the engine thread itself.

A client of a server needs no process of its own: nothing in it can abort or hang the app. Whichever holds no model
holds nothing else either: the process ends when a served model is loaded, and comes back with the next local one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from ttchat_tui.domain.chat import ChatMessage
from ttchat_tui.domain.events import GenerationEvent, PromptCounted
from ttchat_tui.domain.generation import GenerationControl, GenerationRequest
from ttchat_tui.domain.model_spec import EngineInfo, EngineKind, ModelSpec
from ttchat_tui.engine.base import Engine, ProgressReporter, not_loaded, refusal
from ttchat_tui.engine.runtime.isolated import IsolatedEngine


class RoutingEngine:
    """An `Engine`, and a `ProcessEngine` while the local one is at work."""

    def __init__(self, isolated: IsolatedEngine, create: Callable[[EngineKind], Engine]) -> None:
        """`create` makes the remote engine, at its first load."""
        self._isolated = isolated
        self._create = create
        self._remote: Engine | None = None
        self._active: Engine | None = None

    @property
    def pid(self) -> int | None:
        return self._isolated.pid

    def start(self) -> None:
        """Spawn the engine's process, where the first model will need it. Returns at once."""
        self._isolated.start()

    def check(self) -> None:
        if self._active is self._isolated:
            self._isolated.check()

    def kill(self) -> None:
        self._isolated.kill()

    def load(self, spec: ModelSpec, report: ProgressReporter) -> EngineInfo:
        self.unload()
        if spec.engine == "remote":
            self._isolated.stop()
            self._remote = self._remote or self._create("remote")
            engine = self._remote
        else:
            engine = self._isolated
        self._active = engine
        return engine.load(spec, report)

    def count(self, count_id: int, messages: Sequence[ChatMessage]) -> PromptCounted:
        if self._active is None:
            raise not_loaded()
        return self._active.count(count_id, messages)

    def generate(self, request: GenerationRequest, control: GenerationControl) -> Iterator[GenerationEvent]:
        if self._active is None:
            yield refusal(request, not_loaded().info)
            return
        yield from self._active.generate(request, control)

    def unload(self) -> None:
        active, self._active = self._active, None
        if active is not None:
            active.unload()

    def close(self) -> None:
        self._active = None
        if self._remote is not None:
            self._remote.close()
        self._isolated.close()
