"""The contract of every engine: load, count, generate, unload, close. Synchronous, on one thread for life."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Protocol

from ttchat_tui.domain.chat import ChatMessage
from ttchat_tui.domain.errors import AppError, ErrorInfo
from ttchat_tui.domain.events import (
    GenerationEvent,
    GenerationFinished,
    ProgressReporter,
    PromptCounted,
)
from ttchat_tui.domain.generation import GenerationControl, GenerationRequest, GenerationStats
from ttchat_tui.domain.model_spec import EngineInfo, ModelSpec
from ttchat_tui.domain.sampling import DEFAULTS, SamplingParams


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
    """The request has more rows than the engine generates at once."""

    kind = "batch_too_large"


class UnusableConstraint(EngineError):
    """The constraint cannot be compiled, no reply of this model can meet it, or the engine has no constraints."""

    kind = "constraint"


class CannotFollow(EngineError):
    """The engine does not give the probabilities of given tokens."""

    kind = "cannot_follow"


class PromptTooLong(EngineError):
    """A single message (with the system prompt) does not fit into the context."""

    kind = "prompt_too_long"


class EngineDied(EngineError):
    """The engine's process ended or hung."""

    kind = "engine_died"


class LoadCancelled(EngineError):
    kind = "load_cancelled"


class EngineClosing(LoadCancelled):
    """The load was cancelled because the app ends: nothing is loaded after it."""


class Engine(Protocol):
    """What the host drives. Every method is called on the engine thread only, one at a time."""

    def load(self, spec: ModelSpec, report: ProgressReporter) -> EngineInfo:
        """Load `spec`, reporting as it goes. An engine that holds a model unloads it first.

        Raises:
            EngineError: with a message and a cure; the engine is then empty.
            LoadCancelled: from `report`; the engine is then empty.
        """
        ...

    def count(
        self,
        count_id: int,
        messages: Sequence[ChatMessage],
        sampling: SamplingParams = DEFAULTS,
        keep: Collection[int] = (),
    ) -> PromptCounted:
        """The length of the prompt for `messages`, the share of each, and which of them do not fit into it. Of `sampling`,
        `TEMPLATE_FIELDS` matter. `keep`: as in `GenerationRequest`.

        Raises:
            EngineError: no model is loaded, or the chat template refuses the messages.
        """
        ...

    def generate(self, request: GenerationRequest, control: GenerationControl) -> Iterator[GenerationEvent]:
        """Stream one reply: `GenerationStarted`, progress and tokens, and always `GenerationFinished` at the end.

        An error ends the stream with `GenerationFinished(reason="error")`, also when no model is loaded. Only
        `EngineDied` is raised: the engine then needs a new `load`. A request with candidates is a batch: tokens carry
        their row, each row ends with a `RowFinished`, and row i equals the reply to a single request with row i's seed
        and sampling. More rows than the largest of `Capabilities.batch_sizes` are refused (`require_rows`).

        With `request.given` tokens are followed instead of drawn, also a text without messages. Each token's event is as of one
        that was drawn. Engines without `Capabilities.follows` refuse that with `CannotFollow`.
        """
        ...

    def unload(self) -> None:
        """Free the model. Idempotent; the engine can load another."""
        ...

    def close(self) -> None:
        """Release everything (process, device). Idempotent; the engine cannot be used afterwards."""
        ...


class TokenCounter(Protocol):
    """Counts prompts, and finds tokens, without the engine that runs the model."""

    has_template: bool
    """False: the model's own template is missing. Counts leave out the tokens around the messages, and are estimates."""

    def bias_ids(self, bias: Mapping[str, float]) -> dict[int, float]:
        """The tokens of a logit bias. Raises EngineError: a text is not one token."""
        ...

    def count(self, messages: Sequence[ChatMessage]) -> int:
        """Tokens of the prompt for these messages.

        Raises:
            EngineError: the chat template refuses them.
        """
        ...


def require_rows(rows: int, batch_sizes: Sequence[int]) -> None:
    """Check that an engine with these batch sizes can generate `rows` rows at once.

    Raises:
        BatchTooLarge: the largest batch has fewer rows.
    """
    largest = max(batch_sizes)
    if rows > largest:
        can = f"generates at most {largest} at once" if largest > 1 else "generates one reply at a time"
        raise BatchTooLarge(
            f"{rows} candidates were asked for; this engine {can}.",
            cure=f"Ask for {largest} or fewer." if largest > 1 else "Ask without candidates.",
        )


def require_no_constraint(request: GenerationRequest, reason: str, cure: str = "") -> None:
    """For an engine that cannot constrain replies: it refuses, rather than answer in another form.

    Raises:
        UnusableConstraint: a row has a constraint.
    """
    own = (row.sampling.constraint for row in request.candidates if row.sampling is not None)
    if request.sampling.constraint is not None or any(own):
        raise UnusableConstraint(reason, cure)


def problem_of(attempt: Callable[[], object]) -> ErrorInfo | None:
    """The error that `attempt` ends in, or None."""
    try:
        attempt()
    except EngineError as error:
        return error.info
    return None


def not_loaded() -> EngineError:
    """The error of an engine without a model."""
    return EngineError("No model is loaded.", "Load a model first.", "not_ready")


def refusal(request: GenerationRequest, error: ErrorInfo) -> GenerationFinished:
    """The only event of a request that the engine refuses."""
    return GenerationFinished(request_id=request.id, reason="error", stats=GenerationStats(), error=error)
