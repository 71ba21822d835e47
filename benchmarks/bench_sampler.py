"""Our sampler against transformers' processors: identical parameters and logits, one thread, alternating rounds.

First both must keep the same tokens with the same probabilities.
"""

from __future__ import annotations

import os
from typing import Any

# ruff: noqa: E402
# Set before numpy and torch load, which read them for their thread pools.
for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[_name] = "1"

import statistics
import time
from collections.abc import Callable

import numpy as np
import torch
import transformers
from transformers.generation.logits_process import (
    LogitsProcessorList,
    RepetitionPenaltyLogitsProcessor,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

from benchmarks.report import finish
from ttchat_tui.domain.sampling import SamplingParams
from ttchat_tui.engine.decoding.sampler import History, Sampler, distribution

VOCABULARIES = {"SmolLM2": 49_152, "Llama 3": 128_256}
PROMPT_TOKENS = 1_000
ROUNDS, TOKENS = 15, 8
BUDGET_MS = 2.0
PARAMS = {
    "top-k 40, top-p 0.95, repetition 1.1": SamplingParams(
        temperature=0.7, top_k=40, top_p=0.95, repetition_penalty=1.1
    ),
    "no top-k, top-p 0.95, repetition 1.1": SamplingParams(
        temperature=0.7, top_k=0, top_p=0.95, repetition_penalty=1.1
    ),
}
OWN_ONLY = SamplingParams(
    temperature=0.7,
    top_k=40,
    top_p=0.95,
    min_p=0.02,
    repetition_penalty=1.1,
    presence_penalty=0.5,
    frequency_penalty=0.5,
)
"""Every parameter on: transformers has no presence and frequency penalty to compare with."""


def zipf_logits(size: int, rng: np.random.Generator) -> np.ndarray:
    """Logits as peaked as a language model's: a few likely tokens over a long tail."""
    ranks = rng.permutation(size) + 1.0
    return (-1.6 * np.log(ranks) + rng.normal(0.0, 1.0, size)).astype(np.float32)


def processors(params: SamplingParams) -> LogitsProcessorList:
    """The processors of `generate` for these parameters, in its order."""
    chosen = [
        RepetitionPenaltyLogitsProcessor(params.repetition_penalty),
        TemperatureLogitsWarper(params.temperature),
    ]
    if params.top_k:
        chosen.append(TopKLogitsWarper(params.top_k))
    return LogitsProcessorList([*chosen, TopPLogitsWarper(params.top_p)])


def check_equal(logits: np.ndarray, params: SamplingParams, prompt: list[int]) -> None:
    """Check that both keep the same tokens with the same probabilities."""
    ids, probabilities = distribution(logits, params, History(len(logits), prompt))
    input_ids: Any = torch.tensor([prompt])
    given: Any = torch.from_numpy(logits).clone()[None]
    scores = processors(params)(input_ids, given)
    theirs = torch.softmax(scores.double(), dim=-1)[0].numpy()
    difference = np.abs(theirs[ids] - probabilities).max()
    kept = int((theirs > 0).sum())
    # transformers cumulates 128,256 floats in single precision from the tail: its edge may be a token off.
    assert abs(kept - len(ids)) <= 1 + 0.002 * kept, f"{len(ids)} tokens kept, transformers keeps {kept}"
    assert difference < 1e-4, f"probabilities differ by {difference}"


def timed(draw: Callable[[], object]) -> float:
    """Milliseconds a token."""
    began = time.perf_counter()
    for _ in range(TOKENS):
        draw()
    return (time.perf_counter() - began) / TOKENS * 1e3


def compare(logits: np.ndarray, params: SamplingParams, prompt: list[int]) -> dict[str, float]:
    """Medians over alternating rounds, in ms a token, and the median of the paired ratios."""
    check_equal(logits, params, prompt)
    sampler = Sampler(len(logits), seed=1, prompt_ids=prompt)
    chain: Any = processors(params)
    input_ids, scores = torch.tensor([prompt]), torch.from_numpy(logits)[None]

    def ours() -> object:
        return sampler.sample(logits, params)

    def theirs() -> object:
        return torch.multinomial(torch.softmax(chain(input_ids, scores.clone()), dim=-1), 1)

    ours()
    theirs()
    rounds = [(timed(ours), timed(theirs)) for _ in range(ROUNDS)]
    return {
        "ours_ms": statistics.median(own for own, _ in rounds),
        "ours_worst_round_ms": max(own for own, _ in rounds),
        "transformers_ms": statistics.median(other for _, other in rounds),
        "ratio": statistics.median(other / own for own, other in rounds),
    }


def main() -> None:
    torch.set_num_threads(1)
    rng = np.random.default_rng(0)
    results: dict[str, dict[str, dict[str, float]]] = {}
    for model, size in VOCABULARIES.items():
        logits = zipf_logits(size, rng)
        prompt = rng.integers(0, size, PROMPT_TOKENS).tolist()
        rows = results[f"{model}, {size:,}"] = {}
        for name, params in PARAMS.items():
            rows[name] = compare(logits, params, prompt)
        sampler = Sampler(size, seed=1, prompt_ids=prompt)
        every = [timed(lambda: sampler.sample(logits, OWN_ONLY)) for _ in range(ROUNDS)]  # noqa: B023
        rows["every parameter on"] = {"ours_ms": statistics.median(every), "ours_worst_round_ms": max(every)}
        for name, row in rows.items():
            against = (
                f"transformers {row['transformers_ms']:7.2f} ms   {row['ratio']:5.1f}x"
                if "ratio" in row
                else ""
            )
            print(f"{size:>8,}  {name:<38} ours {row['ours_ms']:6.3f} ms   {against}")
    versions = {"numpy": np.__version__, "torch": torch.__version__, "transformers": transformers.__version__}
    large = results[f"Llama 3, {VOCABULARIES['Llama 3']:,}"]
    slowest = max(row["ours_ms"] for row in large.values())
    ratio = min(row["ratio"] for row in large.values() if "ratio" in row)
    finish(
        "sampler",
        {"threads": 1, "versions": versions, "results": results},
        f"sampler: at most {slowest:.2f} ms a token at 128,256 (budget {BUDGET_MS:.0f} ms), "
        f"at least {ratio:.0f} times as fast as transformers",
    )


if __name__ == "__main__":
    main()
