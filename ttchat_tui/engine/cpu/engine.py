"""The CPU engine.

This module does not import torch, nor does a model for the compiled kernel: the load of another one does, in its phase
"start", through `preload`, which lets other threads run meanwhile.
"""

from __future__ import annotations

import ctypes
import gc
import importlib
import sys
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import TYPE_CHECKING

from ttchat_tui.domain.chat import ChatMessage
from ttchat_tui.domain.events import (
    GenerationEvent,
    LoadProgress,
    ProgressReporter,
    PromptCounted,
)
from ttchat_tui.domain.generation import GenerationControl, GenerationRequest
from ttchat_tui.domain.given_settings import setting
from ttchat_tui.domain.installation import install_command
from ttchat_tui.domain.model_spec import Capabilities, EngineInfo, ModelSpec
from ttchat_tui.domain.sampling import DEFAULTS, SamplingParams
from ttchat_tui.engine.base import MissingDependency, OutOfMemory, not_loaded, refusal

if TYPE_CHECKING:
    from ttchat_tui.engine.cpu.loading import LoadedModel
    from ttchat_tui.engine.decoding.responder import Responder

_LOADING = "ttchat_tui.engine.cpu.loading"
_RESPONDER = "ttchat_tui.engine.decoding.responder"
_MAX_BATCH = 8
"""Rows. A step of 8 takes as long as 2 (f16) to 3.5 (int4) steps of one; each row has its own tail of keys and values."""


class CpuEngine:
    """An `Engine`. The KV cache is kept between replies: a new turn computes only what is not in it."""

    def __init__(self) -> None:
        self._responder: Responder | None = None
        self._share_threads: Callable[[int], None] = lambda models: None

    def load(self, spec: ModelSpec, report: ProgressReporter) -> EngineInfo:
        self.unload()
        started = time.perf_counter()
        report(LoadProgress(phase="start"))
        try:
            model: LoadedModel = importlib.import_module(_LOADING).load_model(spec, report)
        except ModuleNotFoundError as error:
            raise _missing(error) from error
        except MemoryError as error:
            raise _out_of_memory() from error
        except RuntimeError as error:
            if "allocate memory" in str(error):  # torch's allocator raises no MemoryError.
                raise _out_of_memory() from error
            raise
        finally:
            _release_memory()
        self._responder, self._share_threads = _new_responder(model), model.share_threads
        return EngineInfo(
            model=spec.name,
            engine="cpu",
            label=model.label,
            context_length=model.context_length,
            vocab_size=model.vocab_size,
            load_s=time.perf_counter() - started,
            threads=model.threads,
            capabilities=Capabilities(
                sampling=self._responder.sampling,
                constraint_cure=self._responder.constraint_cure,
                logprobs=True,
                follows=True,
                kv_reuse=True,
                batch_sizes=_batch_sizes(model),
                thinking=self._responder.thinking,
            ),
            recommended=model.recommended,
            parameters=model.parameters,
            end_ids=self._responder.end_ids,
            is_speculating=model.lookup is not None,
            notes=model.notes,
        )

    def count(
        self,
        count_id: int,
        messages: Sequence[ChatMessage],
        sampling: SamplingParams = DEFAULTS,
        keep: Collection[int] = (),
    ) -> PromptCounted:
        if self._responder is None:
            raise not_loaded()
        return self._responder.count(count_id, messages, sampling, keep)

    def generate(self, request: GenerationRequest, control: GenerationControl) -> Iterator[GenerationEvent]:
        if self._responder is None:
            yield refusal(request, not_loaded().info)
            return
        self._share_threads(request.models_at_once)
        yield from self._responder.generate(request, control)

    def unload(self) -> None:
        if self._responder is None:
            return
        self._responder, self._share_threads = None, lambda models: None  # it has the stepper
        _release_memory()

    def close(self) -> None:
        self.unload()


def _new_responder(model: LoadedModel) -> Responder:
    """A responder over one KV cache. It speculates if that is on, and decodes candidates in batches."""
    responder: Responder = importlib.import_module(_RESPONDER).Responder(
        tokenizer=model.tokenizer,
        template=model.template,
        context_length=model.context_length,
        stepper=model.lookup or model.stepper,
        batch=model.batch,
        batch_sizes=_batch_sizes(model),
        constraint_tokenizer=model.tokenizer,
        suppressed=model.suppressed,
        passes=model.passes,
    )
    return responder


def _batch_sizes(model: LoadedModel) -> tuple[int, ...]:
    return tuple(range(1, _MAX_BATCH + 1)) if model.batch is not None else (1,)


def _missing(error: ModuleNotFoundError) -> MissingDependency:
    return MissingDependency(
        f"The CPU engine needs the package {error.name!r}, which is not installed.",
        f"Run: {install_command('ttchat-tui[cpu]')}",
    )


def _out_of_memory() -> OutOfMemory:
    return OutOfMemory(
        "There is not enough memory to load the model.",
        f"Close other programs, choose a smaller model, or set {setting('cpu.precision')} to f16.",
    )


def _release_memory() -> None:
    """Return freed memory to the system: glibc keeps small freed blocks until it is asked to trim."""
    gc.collect()
    if sys.platform == "linux":
        try:
            ctypes.CDLL(None).malloc_trim(0)
        except AttributeError:
            return  # Another C library, which has no such call and needs none.
