"""One engine in front of all kinds: makes the one that a model asks for at the first load, on the engine's thread."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from ttchat_tui.domain.chat import ChatMessage
from ttchat_tui.domain.events import GenerationEvent, PromptCounted
from ttchat_tui.domain.generation import GenerationControl, GenerationRequest
from ttchat_tui.domain.model_spec import EngineInfo, EngineKind, ModelSpec
from ttchat_tui.engine.base import Engine, ProgressReporter, not_loaded, refusal


class SwitchingEngine:
    """An `Engine` that costs nothing until a model is loaded. What thread isolation runs, and what the child runs."""

    def __init__(self, create: Callable[[EngineKind], Engine]) -> None:
        self._create = create
        self._engine: Engine | None = None
        self._kind: EngineKind | None = None

    def load(self, spec: ModelSpec, report: ProgressReporter) -> EngineInfo:
        if self._engine is None or spec.engine != self._kind:
            self.close()
            self._engine, self._kind = self._create(spec.engine), spec.engine
        return self._engine.load(spec, report)

    def count(self, count_id: int, messages: Sequence[ChatMessage]) -> PromptCounted:
        if self._engine is None:
            raise not_loaded()
        return self._engine.count(count_id, messages)

    def generate(self, request: GenerationRequest, control: GenerationControl) -> Iterator[GenerationEvent]:
        if self._engine is None:
            return iter((refusal(request, not_loaded().info),))
        return self._engine.generate(request, control)

    def unload(self) -> None:
        if self._engine is not None:
            self._engine.unload()

    def close(self) -> None:
        engine, self._engine = self._engine, None
        if engine is not None:
            engine.close()
