"""Contender: llama.cpp through its C API, with greedy sampling in C too; Python only loops over the calls.

Usage: python -m benchmarks.cpu_engine.llama MODEL.gguf THREADS
"""

from __future__ import annotations

import ctypes
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import llama_cpp as cpp  # pyright: ignore[reportMissingImports]  # make peers
import numpy as np

from benchmarks.cpu_engine.turn import serve

CONTEXT, BATCH = 2560, 512


class LlamaCpp:
    """A model with one sequence and llama.cpp's defaults: flash attention auto, float16 KV."""

    def __init__(self, path: str, threads: int) -> None:
        cpp.llama_backend_init()
        model = cpp.llama_model_load_from_file(path.encode(), cpp.llama_model_default_params())
        if model is None:
            raise RuntimeError(f"llama.cpp cannot load {path}")
        params = cpp.llama_context_default_params()
        params.n_ctx, params.n_batch, params.n_ubatch = CONTEXT, BATCH, BATCH
        params.n_threads = params.n_threads_batch = threads
        self._context = cpp.llama_init_from_model(model, params)
        self._memory = cpp.llama_get_memory(self._context)
        self._greedy = cpp.llama_sampler_init_greedy()
        self._vocab_size = cpp.llama_vocab_n_tokens(cpp.llama_model_get_vocab(model))
        self.generate([1], 2)  # touches everything once

    def generate(self, ids: Sequence[int], tokens: int, keep: int = 0) -> dict[str, Any]:
        """Prefill and decode greedily; `keep` leading ids are taken from the cache, which must hold them.

        Returns:
            ids, and times_s: when each came, from the request.
        """
        start = time.perf_counter()
        cpp.llama_memory_seq_rm(self._memory, 0, keep, -1)
        for begin in range(keep, len(ids), BATCH):
            self._decode(ids[begin : begin + BATCH])
        made, times = [], []
        while True:
            made.append(cpp.llama_sampler_sample(self._greedy, self._context, -1))
            times.append(time.perf_counter() - start)
            if len(made) == tokens:
                return {"ids": made, "times_s": times}
            self._decode(made[-1:])

    def logits(self, ids: Sequence[int], rows: int, file: str) -> None:
        """Logits after every id, float32 [len(ids), vocab] as .npy, computed `rows` ids at a time."""
        found = np.empty((len(ids), self._vocab_size), np.float32)
        cpp.llama_memory_clear(self._memory, True)
        batch = cpp.llama_batch_init(rows, 0, 1)
        for begin in range(0, len(ids), rows):
            part = ids[begin : begin + rows]
            batch.n_tokens = len(part)
            for index, token_id in enumerate(part):
                batch.token[index], batch.pos[index], batch.logits[index] = token_id, begin + index, True
                batch.n_seq_id[index], batch.seq_id[index][0] = 1, 0
            self._check(cpp.llama_decode(self._context, batch))
            values = np.ctypeslib.as_array(
                cpp.llama_get_logits(self._context), (len(part) * self._vocab_size,)
            )
            found[begin : begin + len(part)] = values.reshape(len(part), -1)
        cpp.llama_batch_free(batch)
        np.save(file, found)

    def _decode(self, ids: Sequence[int]) -> None:
        tokens = (cpp.llama_token * len(ids))(*ids)
        self._check(cpp.llama_decode(self._context, cpp.llama_batch_get_one(tokens, len(ids))))

    @staticmethod
    def _check(code: int) -> None:
        if code:
            raise RuntimeError(f"llama_decode returned {code}")


def requantise(source: str, target: str, kind: str) -> None:
    """Write `target` with llama.cpp's own quantiser, which loses something of weights in 4 bits again. `kind`: Q4_0, Q5_K_M…

    Raises:
        RuntimeError: it did not work.
    """
    params = cpp.llama_model_quantize_default_params()
    params.ftype, params.allow_requantize = getattr(cpp, f"LLAMA_FTYPE_MOSTLY_{kind}"), True
    if cpp.llama_model_quantize(source.encode(), target.encode(), ctypes.byref(params)):
        raise RuntimeError(f"llama.cpp cannot write {source} as {kind}")


def load() -> Mapping[str, Callable[..., Any]]:
    if sys.argv[1] == "requantise":
        return {"requantise": requantise}
    engine = LlamaCpp(sys.argv[1], int(sys.argv[2]))
    return {"generate": engine.generate, "logits": engine.logits}


if __name__ == "__main__":
    serve(load)
