"""Contender: this project's CPU engine, with sampler, text and events, without screen or pipe.

Usage: python -m benchmarks.cpu_engine.own MODEL THREADS PRECISION KERNEL_DIR, the last empty for torch's kernels alone
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.cpu_engine.turn import serve
from tests.divergence import divergence
from tests.real_text import all_real_text_ids
from ttchat_tui.domain.chat import ChatMessage
from ttchat_tui.domain.events import GenerationFinished, TokenEvent
from ttchat_tui.domain.generation import Candidate, GenerationControl, GenerationRequest
from ttchat_tui.domain.model_spec import CpuOptions, ModelSpec
from ttchat_tui.domain.sampling import SamplingParams
from ttchat_tui.engine.cpu.checkpoints.gguf_file import GgufFile
from ttchat_tui.engine.cpu.loading import load_model
from ttchat_tui.engine.decoding.job import ReplyJob
from ttchat_tui.engine.decoding.loop import run_batch, run_generation
from ttchat_tui.engine.text.prompt_builder import PromptBuilder
from ttchat_tui.engine.text.text_stream import TextStream


class OwnEngine:
    """The engine's decode loop over given ids: all contenders get the same ones, and none stops early."""

    def __init__(self, path: str, threads: int, precision: Any, kernel_dir: str) -> None:
        spec = ModelSpec(
            name="benchmark",
            path=path,
            options=CpuOptions(threads=threads, precision=precision),
            kernel_dir=kernel_dir,
        )
        self._path = path
        self._model = load_model(spec, lambda _progress: None)

    def describe(self) -> dict[str, Any]:
        return {"label": self._model.label, "threads": self._model.threads, "notes": self._model.notes}

    def shape(self) -> dict[str, int]:
        """For `roofline.decoder_shape`."""
        config = GgufFile(Path(self._path)).config
        return {
            "hidden": config.hidden_size,
            "ffn": config.ffn_size,
            "layers": config.layers,
            "heads": config.heads,
            "kv_heads": config.kv_heads,
            "head_size": config.head_size,
            "vocab": config.vocab_size,
        }

    def encode(self, text: str) -> list[int]:
        """Prompt ids of one user message."""
        model = self._model
        builder = PromptBuilder(model.template, model.tokenizer, model.context_length)
        return builder.build((ChatMessage("user", text),)).ids

    def real_text(self) -> list[int]:
        return all_real_text_ids(self._model.tokenizer)

    def generate(
        self, ids: Sequence[int], tokens: int, keep: int = 0, is_speculating: bool = False
    ) -> dict[str, Any]:
        """Prefill and decode greedily, as `llama.LlamaCpp.generate`; with `keep` the engine reuses its KV cache.

        One forward a token, as every contender, unless `is_speculating`.
        """
        model = self._model
        if not keep:
            self._forget(ids[0])
        sampling = SamplingParams(temperature=0.0, top_k=0, top_p=1.0, max_tokens=tokens)
        request = GenerationRequest(id=1, messages=(), sampling=sampling, seed=0)
        made: list[int] = []
        times: list[float] = []
        job = self._job(request, sampling, ids)
        stepper = model.lookup if is_speculating and model.lookup else model.stepper
        for event in run_generation(job, stepper):
            if isinstance(event, TokenEvent):
                made.extend(event.token_ids)
                times.extend(event.times_s)
            elif isinstance(event, GenerationFinished) and event.error:
                raise RuntimeError(event.error.message)
        return {"ids": made, "times_s": times}

    def batch(self, ids: Sequence[int], tokens: int, rows: int) -> dict[str, float]:
        """The total decode rate of `rows` sampled candidates of one prompt, `tokens` each."""
        model = self._model
        if model.batch is None:
            raise RuntimeError(f"{model.label} decodes no batches")
        sampling = SamplingParams(temperature=1.0, top_k=0, top_p=1.0, max_tokens=tokens)
        others = tuple(Candidate(seed=seed) for seed in range(1, rows))
        request = GenerationRequest(id=1, messages=(), sampling=sampling, seed=0, candidates=others)
        *_, last = run_batch(self._job(request, sampling, ids), model.batch)
        assert isinstance(last, GenerationFinished)
        assert last.stats.completion_tokens == rows * tokens, last
        return {"decode_tps": last.stats.decode_tps or 0.0}

    def _job(self, request: GenerationRequest, sampling: SamplingParams, ids: Sequence[int]) -> ReplyJob:
        model = self._model
        return ReplyJob(
            request=request,
            control=GenerationControl(sampling),
            prompt_ids=ids,
            text_streams=[
                TextStream(model.tokenizer.new_decoder(is_start=True), ()) for _ in range(request.rows)
            ],
            stop_ids=frozenset(),
            context_length=model.context_length,
            clock=time.perf_counter,
            received_s=time.perf_counter(),
            passes=model.passes,
        )

    def steps(self, ids: Sequence[int], tokens: int) -> dict[str, Any]:
        """The same with the stepper and argmax alone; the difference is the cost of the loop."""
        stepper = self._model.stepper
        self._forget(ids[0])
        start = time.perf_counter()
        made = [int(stepper.prefill(ids, _go_on).argmax())]
        times = [time.perf_counter() - start]
        while len(made) < tokens:
            made.append(int(stepper.step(made[-1]).argmax()))
            times.append(time.perf_counter() - start)
        return {"ids": made, "times_s": times}

    def logits(self, ids: Sequence[int], rows: int, file: str) -> None:
        """Logits after every id, float32 [len(ids), vocab] as .npy, computed `rows` ids at a time: 1 decodes them."""
        stepper: Any = self._model.stepper
        self._forget(ids[0])
        found = np.empty((len(ids), self._model.vocab_size), np.float32)
        found[0] = stepper.prefill(ids[:1], _go_on)
        for begin in range(1, len(ids), rows):
            part = ids[begin : begin + rows]
            found[begin : begin + len(part)] = stepper.step(part[0]) if rows == 1 else stepper.step_many(part)
        np.save(file, found)

    def _forget(self, first: int) -> None:
        """Clear the cache for prompts that begin with `first`."""
        self._model.stepper.prefill([first + 1], _go_on)


class Memory:
    """Reads more memory than the caches hold, with the engine's threads."""

    def __init__(self) -> None:
        self._data: Any = None

    def read_gbps(self) -> float:
        """GB/s (10^9) of the faster of two ways to sum 512 MB of float32."""
        import torch  # not before: the engine runs without it

        if self._data is None:
            self._data = torch.ones(2**27)
        data = self._data
        ways = (data.sum, lambda: torch.dot(data, data))
        return max(data.nbytes / _seconds(way) for way in ways) / 1e9


def _seconds(call: Callable[[], Any]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def compare(reference: str, other: str) -> dict[str, Any]:
    """`tests.divergence` of two files of logits."""
    return asdict(divergence(np.load(reference, mmap_mode="r"), np.load(other, mmap_mode="r")))


def _go_on(_done: int, _total: int) -> bool:
    return True


def load() -> Mapping[str, Callable[..., Any]]:
    engine = OwnEngine(sys.argv[1], int(sys.argv[2]), sys.argv[3], sys.argv[4])
    names = ("describe", "shape", "encode", "real_text", "generate", "batch", "steps", "logits")
    return {
        "compare": compare,
        "read_gbps": Memory().read_gbps,
        **{name: getattr(engine, name) for name in names},
    }


if __name__ == "__main__":
    serve(load)
