"""The one contract for every engine: load, count, generate, unload; synchronous, on one thread for life."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Protocol, TypeAlias

from ttchat_tui.domain.chat import ChatMessage
from ttchat_tui.domain.errors import AppError, ErrorInfo
from ttchat_tui.domain.events import (
    GenerationEvent,
    GenerationFinished,
    LoadProgress,
    PromptCounted,
)
from ttchat_tui.domain.generation import GenerationControl, GenerationRequest, GenerationStats
from ttchat_tui.domain.model_spec import EngineInfo, ModelSpec

ProgressReporter: TypeAlias = Callable[[LoadProgress], None]
"""Called by `load` between its steps; raises `LoadCancelled` when the user has changed their mind."""


class EngineError(AppError):
    """Base of the errors that an engine raises."""

    kind = "engine_error"


class ModelLoadError(EngineError):
    """The model cannot be loaded: missing, unreadable, of an unknown kind."""

    kind = "model_load"


class MissingDependency(EngineError):
    """A package that this engine needs is not installed."""

    kind = "missing_dependency"


class OutOfMemory(EngineError):
    kind = "out_of_memory"


class BatchTooLarge(EngineError):
    """More rows were asked for than the engine generates at once."""

    kind = "batch_too_large"


class PromptTooLong(EngineError):
    """A single message (with the system prompt) does not fit into the context."""

    kind = "prompt_too_long"


class EngineDied(EngineError):
    """The engine's process ended, or stopped answering."""

    kind = "engine_died"


class LoadCancelled(EngineError):
    kind = "load_cancelled"


class EngineClosing(LoadCancelled):
    """The load was cancelled because the app ends: nothing will be loaded after it."""


class Engine(Protocol):
    """What the host drives. Every method is called on the engine thread only, one at a time."""

    def load(self, spec: ModelSpec, report: ProgressReporter) -> EngineInfo:
        """Load `spec`, reporting as it goes. An engine that holds a model unloads it first.

        Raises:
            EngineError: with a sentence and a cure; the engine is then empty.
            LoadCancelled: passed on from `report`; the engine is then empty.
        """
        ...

    def count(self, count_id: int, messages: Sequence[ChatMessage]) -> PromptCounted:
        """How many tokens `messages` would take through the chat template, and how many old ones would fall out."""
        ...

    def generate(self, request: GenerationRequest, control: GenerationControl) -> Iterator[GenerationEvent]:
        """Stream one reply: `GenerationStarted`, then progress and tokens, last `GenerationFinished`, always.

        Errors end the stream as `GenerationFinished(reason="error")`; only `EngineDied` is raised, when nothing can
        be generated any more without a new `load`. A request with candidates is a batch: tokens carry their row, each
        row ends with a `RowFinished`, and row i is what a request of its own with row i's seed and sampling would
        give. One with more rows than the largest of `Capabilities.batch_sizes` is refused (`require_batch`).
        """
        ...

    def unload(self) -> None:
        """Free the model. Idempotent; the engine can load again."""
        ...

    def close(self) -> None:
        """Release everything (process, device). Idempotent; the engine is of no use afterwards."""
        ...


class TokenCounter(Protocol):
    """Counts prompts without the engine that runs the model."""

    has_template: bool
    """Without the model's own template a count leaves out what stands around messages: it is an estimate."""

    def count(self, messages: Sequence[ChatMessage]) -> int:
        """Tokens of the prompt that these messages make.

        Raises:
            EngineError: they make none.
        """
        ...


def require_batch(request: GenerationRequest, batch_sizes: Sequence[int]) -> None:
    """Check that an engine with these batch sizes can take `request`.

    Raises:
        BatchTooLarge: it has more rows than the largest of them.
    """
    require_rows(request.rows, batch_sizes)


def require_rows(rows: int, batch_sizes: Sequence[int]) -> None:
    """As `require_batch`, before there is a request."""
    largest = max(batch_sizes)
    if rows > largest:
        can = f"generates at most {largest} at once" if largest > 1 else "generates one reply at a time"
        raise BatchTooLarge(
            f"{rows} candidates were asked for; this engine {can}.",
            cure=f"Ask for {largest} or fewer." if largest > 1 else "Ask without candidates.",
        )


def not_loaded() -> EngineError:
    """For whoever asks an empty engine."""
    return EngineError("No model is loaded.", "Load a model first.", "not_ready")


def refusal(request: GenerationRequest, error: ErrorInfo) -> GenerationFinished:
    """The one event of a request that was not begun."""
    return GenerationFinished(request_id=request.id, reason="error", stats=GenerationStats(), error=error)
