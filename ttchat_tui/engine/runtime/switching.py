"""One engine in front of all kinds: makes the engine that a model needs when the model is loaded."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from typing import TYPE_CHECKING

from ttchat_tui.domain.chat import ChatMessage
from ttchat_tui.domain.events import GenerationEvent, ProgressReporter, PromptCounted
from ttchat_tui.domain.generation import GenerationControl, GenerationRequest
from ttchat_tui.domain.model_spec import EngineInfo, EngineKind, ModelSpec
from ttchat_tui.domain.sampling import DEFAULTS, SamplingParams
from ttchat_tui.engine.base import Engine, not_loaded, refusal
from ttchat_tui.engine.factory import ENGINES

if TYPE_CHECKING:  # the engine's process runs this class too, without another process below it
    from ttchat_tui.engine.runtime.isolated import IsolatedEngine


class SwitchingEngine:
    """An `Engine`, and a `ProcessEngine` while a model runs in the engine's process.

    Engines that are declared as isolated run in that process; the others, or all if there is none, run in this thread.
    The process ends when a model of this thread is loaded, and starts again with the next one that needs it. The engine
    in this thread stays for later loads, until another kind takes its place: it may have learned about its models.
    """

    def __init__(
        self, create: Callable[[EngineKind], Engine], isolated: IsolatedEngine | None = None
    ) -> None:
        """
        Args:
            create: makes the engines of this thread.
            isolated: the engine's process; None runs every kind in this thread.
        """
        self._create = create
        self._isolated = isolated
        self._local: Engine | None = None
        self._local_kind: EngineKind | None = None
        self._active: Engine | None = None
        """The engine that the last load went to; None before it and after `unload`."""

    @property
    def pid(self) -> int | None:
        """The process's id; None while there is none."""
        return self._isolated.pid if self._isolated is not None else None

    def start(self, kind: EngineKind) -> None:
        """Start the engine's process if a model of this kind will need it. Returns at once."""
        if (isolated := self._isolated_for(kind)) is not None:
            isolated.start()

    def check(self) -> None:
        """Raises `EngineDied` if the process has ended under a loaded model."""
        if self._isolated is not None and self._active is self._isolated:
            self._isolated.check()

    def kill(self) -> None:
        """End the process at once, from any thread; nothing happens without one."""
        if self._isolated is not None:
            self._isolated.kill()

    def load(self, spec: ModelSpec, report: ProgressReporter) -> EngineInfo:
        engine: Engine | None = self._isolated_for(spec.engine)
        if engine is None:
            engine = self._local_for(spec.engine)
        elif self._active is self._local:
            self.unload()
        self._active = engine
        return engine.load(spec, report)

    def count(
        self,
        count_id: int,
        messages: Sequence[ChatMessage],
        sampling: SamplingParams = DEFAULTS,
        keep: Collection[int] = (),
    ) -> PromptCounted:
        if self._active is None:
            raise not_loaded()
        return self._active.count(count_id, messages, sampling, keep)

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
        self._close_local()
        if self._isolated is not None:
            self._isolated.close()

    def _isolated_for(self, kind: EngineKind) -> IsolatedEngine | None:
        return self._isolated if ENGINES[kind].is_isolated else None

    def _local_for(self, kind: EngineKind) -> Engine:
        """The engine of this thread for `kind`. Ends the process, and closes an engine of another kind."""
        self._active = None
        if self._isolated is not None:
            self._isolated.stop()
        if self._local is None or kind != self._local_kind:
            self._close_local()
            self._local, self._local_kind = self._create(kind), kind
        return self._local

    def _close_local(self) -> None:
        local, self._local = self._local, None
        if local is not None:
            local.close()
