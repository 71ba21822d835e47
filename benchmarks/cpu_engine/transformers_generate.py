"""Contender: transformers' `generate` in float32 over the same weights, dequantised.

Usage: python -m benchmarks.cpu_engine.transformers_generate MODEL.gguf THREADS
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from benchmarks.cpu_engine.turn import serve
from tests.engine.cpu.reference_model import reference_model
from ttchat_tui.engine.cpu.checkpoints.gguf_file import GgufFile


class _Clock:
    """A streamer: `generate` puts the prompt first, then every token."""

    def __init__(self) -> None:
        self.ids: list[int] = []
        self.times_s: list[float] = []
        self._start = time.perf_counter()

    def put(self, value: torch.Tensor) -> None:
        if value.dim() == 1:
            self.ids.extend(value.tolist())
            self.times_s.append(time.perf_counter() - self._start)

    def end(self) -> None:
        pass


def load() -> Mapping[str, Callable[..., Any]]:
    torch.set_num_threads(int(sys.argv[2]))
    model = reference_model(GgufFile(Path(sys.argv[1])))

    def generate(ids: Sequence[int], tokens: int) -> dict[str, Any]:
        clock, prompt = _Clock(), torch.tensor([ids])
        model.generate(
            prompt,
            attention_mask=torch.ones_like(prompt),
            max_new_tokens=tokens,
            do_sample=False,
            eos_token_id=None,
            pad_token_id=0,
            streamer=clock,
        )
        return {"ids": clock.ids, "times_s": clock.times_s}

    return {"generate": generate}


if __name__ == "__main__":
    serve(load)
