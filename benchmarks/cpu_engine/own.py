"""Contender: this project's CPU engine: its loading, its decode loop with sampler, text and events; no screen or pipe.

Usage: python -m benchmarks.cpu_engine.own MODEL THREADS PRECISION
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from tests.real_text import all_real_text_ids
from ttchat_tui.domain.chat import ChatMessage
from ttchat_tui.domain.events import GenerationFinished, TokenEvent
from ttchat_tui.domain.generation import GenerationControl, GenerationRequest
from ttchat_tui.domain.model_spec import ModelSpec
from ttchat_tui.domain.sampling import SamplingParams
from ttchat_tui.engine.decode import run_generation
from ttchat_tui.engine.prompt_builder import PromptBuilder
from ttchat_tui.engine.text_stream import TextStream
from ttchat_tui.engine.torch_engine.preload import import_torch

from .turn import serve


class OwnEngine:
    """The engine's loop over ids, so that all contenders get the same ones and none stops before the others."""

    def __init__(self, path: str, threads: int, precision: Any) -> None:
        import_torch()
        from ttchat_tui.engine.torch_engine.loading import load_model

        spec = ModelSpec(name="benchmark", path=path, threads=threads, precision=precision)
        self._model = load_model(spec, lambda _progress: None)

    def describe(self) -> dict[str, Any]:
        return {"label": self._model.label, "threads": self._model.threads, "notes": self._model.notes}

    def encode(self, text: str) -> list[int]:
        """The prompt that one user message makes."""
        model = self._model
        builder = PromptBuilder(model.template, model.tokenizer, model.context_length)
        return builder.build((ChatMessage("user", text),)).ids

    def real_text(self) -> list[int]:
        return all_real_text_ids(self._model.tokenizer)

    def generate(self, ids: Sequence[int], tokens: int, keep: int = 0) -> dict[str, Any]:
        """Prefill and decode greedily, as `llama.LlamaCpp.generate`; with `keep` the engine finds what it holds."""
        model = self._model
        if not keep:
            self._forget(ids[0])
        sampling = SamplingParams(temperature=0.0, top_k=0, top_p=1.0, max_tokens=tokens)
        request = GenerationRequest(id=1, messages=(), sampling=sampling, seed=0)
        made: list[int] = []
        times: list[float] = []
        for event in run_generation(
            request,
            GenerationControl(sampling),
            prompt_ids=ids,
            stepper=model.stepper,
            text_stream=TextStream(model.tokenizer.new_decoder(is_start=True), ()),
            stop_ids=frozenset(),
            context_length=model.context_length,
            clock=time.perf_counter,
            received_s=time.perf_counter(),
        ):
            if isinstance(event, TokenEvent):
                made.extend(event.token_ids)
                times.extend(event.times_s)
            elif isinstance(event, GenerationFinished) and event.error:
                raise RuntimeError(event.error.message)
        return {"ids": made, "times_s": times}

    def steps(self, ids: Sequence[int], tokens: int) -> dict[str, Any]:
        """The same through the stepper and argmax alone: what the loop around them costs is the difference."""
        stepper = self._model.stepper
        self._forget(ids[0])
        start = time.perf_counter()
        made = [int(stepper.prefill(ids, _go_on).argmax())]
        times = [time.perf_counter() - start]
        while len(made) < tokens:
            made.append(int(stepper.step(made[-1]).argmax()))
            times.append(time.perf_counter() - start)
        return {"ids": made, "times_s": times}

    def _forget(self, first: int) -> None:
        """Leave nothing in the cache that a prompt beginning with `first` could use."""
        self._model.stepper.prefill([first + 1], _go_on)


def _go_on(_done: int, _total: int) -> bool:
    return True


def load() -> Mapping[str, Callable[..., Any]]:
    engine = OwnEngine(sys.argv[1], int(sys.argv[2]), sys.argv[3])
    return {name: getattr(engine, name) for name in ("describe", "encode", "real_text", "generate", "steps")}


if __name__ == "__main__":
    serve(load)
