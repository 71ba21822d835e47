"""The CPU engine: `Engine` over a loaded model.

Imports no torch: the first `load` does, as its phase "start", in the way of `preload` that leaves other threads running.
"""

from __future__ import annotations

import ctypes
import gc
import importlib
import sys
import time
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from ttchat_tui.domain.chat import ChatMessage
from ttchat_tui.domain.events import (
    ErrorInfo,
    GenerationEvent,
    GenerationFinished,
    LoadProgress,
    PromptCounted,
    TokenEvent,
)
from ttchat_tui.domain.generation import GenerationControl, GenerationRequest, GenerationStats
from ttchat_tui.domain.model_spec import Capabilities, EngineInfo, ModelSpec
from ttchat_tui.engine.base import (
    EngineError,
    MissingDependency,
    OutOfMemory,
    ProgressReporter,
    require_batch,
)
from ttchat_tui.engine.prompt_builder import Prompt, PromptBuilder
from ttchat_tui.engine.text_stream import TextStream
from ttchat_tui.engine.torch_engine.preload import import_torch

if TYPE_CHECKING:
    from ttchat_tui.engine.lookup import LookupStepper
    from ttchat_tui.engine.torch_engine.loading import LoadedModel

_LOADING = "ttchat_tui.engine.torch_engine.loading"
_DECODE = "ttchat_tui.engine.decode"
_BATCH_DECODE = "ttchat_tui.engine.batch_decode"
_LARGEST_BATCH = 8
"""More rows still gain (a step of 8 costs about two of one row), but each holds a tail of keys and values."""
_NOT_LOADED = ErrorInfo(kind="not_ready", message="No model is loaded.", cure="Load a model first.")


class TorchEngine:
    """An `Engine`. The KV cache lives on between replies: a new turn computes only what it does not hold."""

    def __init__(self) -> None:
        self._model: LoadedModel | None = None
        self._prompts: PromptBuilder | None = None

    def load(self, spec: ModelSpec, report: ProgressReporter) -> EngineInfo:
        self.unload()
        started = time.perf_counter()
        report(LoadProgress(phase="start", detail="torch"))
        loading = _import_loading()
        try:
            model: LoadedModel = loading.load_model(spec, report)
        except MemoryError as error:
            raise _out_of_memory() from error
        except RuntimeError as error:
            if "allocate memory" in str(error):  # torch's allocator raises no MemoryError.
                raise _out_of_memory() from error
            raise
        finally:
            _release_memory()
        self._model = model
        self._prompts = PromptBuilder(model.template, model.tokenizer, model.context_length)
        return EngineInfo(
            model=spec.name,
            engine="cpu",
            label=model.label,
            context_length=model.context_length,
            vocab_size=model.vocab_size,
            load_s=time.perf_counter() - started,
            threads=model.threads,
            capabilities=Capabilities(logprobs=True, kv_reuse=True, batch_sizes=_batch_sizes(model)),
            recommended=model.recommended,
            parameters=model.parameters,
            is_speculating=model.lookup is not None,
            notes=model.notes,
        )

    def count(self, count_id: int, messages: Sequence[ChatMessage]) -> PromptCounted:
        if self._model is None or self._prompts is None:
            raise EngineError(_NOT_LOADED.message, _NOT_LOADED.cure, _NOT_LOADED.kind)
        plan = self._prompts.count(messages)
        return PromptCounted(
            count_id=count_id,
            prompt_tokens=plan.tokens,
            context_length=self._model.context_length,
            dropped_messages=plan.dropped,
        )

    def generate(self, request: GenerationRequest, control: GenerationControl) -> Iterator[GenerationEvent]:
        received_s = time.perf_counter()
        if self._model is None or self._prompts is None:
            yield _refusal(request, _NOT_LOADED)
            return
        try:
            require_batch(request, _batch_sizes(self._model))
            prompt = self._prompts.build(request.messages, continue_last=request.continue_last)
        except EngineError as error:
            yield _refusal(request, error.info)
            return
        reply_ids: list[int] = []
        try:
            for event in _run(self._model, request, control, prompt, received_s):
                if isinstance(event, TokenEvent) and event.row == 0:
                    reply_ids.extend(event.token_ids)
                yield event if request.candidates else _with_forwards(event, self._model.lookup)
        finally:
            self._prompts.remember(prompt, reply_ids, self._model.tokenizer.decode(reply_ids))

    def unload(self) -> None:
        if self._model is None:
            return
        self._model = self._prompts = None
        _release_memory()

    def close(self) -> None:
        self.unload()


def _run(
    model: LoadedModel,
    request: GenerationRequest,
    control: GenerationControl,
    prompt: Prompt,
    received_s: float,
) -> Iterator[GenerationEvent]:
    samplings = (request.sampling, *(row.sampling or request.sampling for row in request.candidates))
    texts = [
        TextStream(
            model.tokenizer.new_decoder(is_start=not request.continue_last),
            (*sampling.stop, *model.template.stop),
        )
        for sampling in samplings
    ]
    common: dict[str, Any] = {
        "prompt_ids": prompt.ids,
        "stop_ids": model.tokenizer.end_ids,
        "context_length": model.context_length,
        "clock": time.perf_counter,
        "received_s": received_s,
        "dropped_messages": prompt.dropped,
    }
    if request.candidates:
        return importlib.import_module(_BATCH_DECODE).run_batch(
            request, control, stepper=model.batch, text_streams=texts, **common
        )
    return importlib.import_module(_DECODE).run_generation(
        request, control, stepper=model.lookup or model.stepper, text_stream=texts[0], **common
    )


def _batch_sizes(model: LoadedModel) -> tuple[int, ...]:
    return tuple(range(1, _LARGEST_BATCH + 1)) if model.batch is not None else (1,)


def _with_forwards(event: GenerationEvent, lookup: LookupStepper | None) -> GenerationEvent:
    """The last event tells what speculation was worth; the decode loop does not know of it."""
    if lookup is None or not isinstance(event, GenerationFinished) or event.stats.completion_tokens == 0:
        return event
    stats = msgspec.structs.replace(event.stats, decode_forwards=lookup.forwards)
    return msgspec.structs.replace(event, stats=stats)


def _import_loading() -> Any:
    """The module that imports torch.

    Raises:
        MissingDependency: naming the package.
    """
    try:
        import_torch()
        return importlib.import_module(_LOADING)
    except ModuleNotFoundError as error:
        raise MissingDependency(
            f"The CPU engine needs the package {error.name!r}, which is not installed.",
            "pip install 'ttchat-tui[cpu]'",
        ) from error


def _refusal(request: GenerationRequest, error: ErrorInfo) -> GenerationFinished:
    return GenerationFinished(request_id=request.id, reason="error", stats=GenerationStats(), error=error)


def _out_of_memory() -> OutOfMemory:
    return OutOfMemory(
        "There was not enough memory to load the model.",
        "Close other programs, choose a smaller model, or precision f16.",
    )


def _release_memory() -> None:
    """Give freed memory back to the system: glibc keeps what was freed in small pieces until it is told."""
    gc.collect()
    if sys.platform == "linux":
        try:
            ctypes.CDLL(None).malloc_trim(0)
        except AttributeError:
            return  # Another C library: it has no such call, and needs none.
