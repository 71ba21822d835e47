"""Cost of recording each token: decoding with `record = "full"` against `off`, and the sampler at a large vocabulary.

The CPU engine with the default model, one thread, no speculation, the same seed and ids in both. Replies alternate in the
order on, off, off, on, so that a drift of the machine favours neither. Every event is also encoded as for the pipe to the
app. Two ratios of the median token: by CPU time of the decoding thread, which other programs disturb little, and by the clock.
"""

from __future__ import annotations

import os

# ruff: noqa: E402
# Set before numpy and torch load, which read them for their thread pools.
for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[_name] = "1"

import argparse
import statistics
import time
from itertools import pairwise
from typing import NamedTuple

import msgspec
import numpy as np

from benchmarks.bench_sampler import zipf_logits
from benchmarks.default_model import default_spec
from benchmarks.report import finish
from ttchat_tui.domain.chat import ChatMessage
from ttchat_tui.domain.events import TokenEvent
from ttchat_tui.domain.generation import GenerationControl, GenerationRequest
from ttchat_tui.domain.model_spec import CpuOptions
from ttchat_tui.domain.recording import RecordLevel
from ttchat_tui.domain.sampling import SamplingParams
from ttchat_tui.engine.base import Engine
from ttchat_tui.engine.decoding.sampler import Sampler
from ttchat_tui.engine.factory import create_engine
from ttchat_tui.session.recorder import Recorder

ROUNDS, TOKENS, TARGET = 6, 256, 0.97
VOCABULARY, BUDGET_MS = 128_256, 0.3
PROMPT = "Write a long essay about the history of clocks."
ORDER: tuple[RecordLevel, ...] = ("full", "off", "off", "full")
SAMPLINGS = {
    "top-k 40, top-p 0.95": SamplingParams(temperature=0.7, top_k=40, top_p=0.95),
    "greedy": SamplingParams(temperature=0.0),
    "no top-k, repetition 1.1": SamplingParams(temperature=0.7, top_k=0, repetition_penalty=1.1),
}


class RecordedRun(NamedTuple):
    cpu_ms: float
    """Of the median decode step."""
    clock_ms: float
    stored_bytes: float
    """A token, as the database keeps them."""


def loaded_engine() -> Engine:
    engine = create_engine("cpu")
    engine.load(default_spec(CpuOptions(threads=1, speculation="off")), lambda progress: None)
    return engine


def reply(engine: Engine, record: RecordLevel, tokens: int) -> RecordedRun:
    sampling = SamplingParams(temperature=0.7, top_k=40, top_p=0.95, max_tokens=tokens)
    messages = (ChatMessage("user", PROMPT),)
    request = GenerationRequest(id=1, messages=messages, sampling=sampling, seed=5, record=record)
    encoder, kept = msgspec.msgpack.Encoder(), list[TokenEvent]()
    steps: list[tuple[float, float]] = []
    for event in engine.generate(request, GenerationControl(sampling)):
        encoder.encode(event)
        if isinstance(event, TokenEvent):
            steps.append((time.thread_time(), time.perf_counter()))
            kept.append(event)
    cpu_ms, clock_ms = (
        statistics.median(after[clock] - before[clock] for before, after in pairwise(steps[1:])) * 1e3
        for clock in range(2)
    )
    recorder = Recorder()
    for each in kept:
        recorder.add(each)
    stored = sum(len(part.data) for part in recorder.unwritten())
    return RecordedRun(cpu_ms, clock_ms, stored / len(kept))


def sampler_cost(params: SamplingParams) -> float:
    """CPU milliseconds that a recorded draw costs beyond one that is not."""
    rng = np.random.default_rng(0)
    every = [zipf_logits(VOCABULARY, rng) for _ in range(8)]
    sampler = Sampler(VOCABULARY, seed=1, prompt_ids=range(500))
    differences: list[float] = []
    for _ in range(15):
        times = [time.process_time()]
        for logits in every * 8:
            sampler.sample(logits, params)
        times.append(time.process_time())
        for logits in every * 8:
            sampler.sample_recorded(logits, params, with_alternatives=True)
        times.append(time.process_time())
        differences.append((times[2] - 2 * times[1] + times[0]) / (8 * len(every)) * 1e3)
    return statistics.median(differences)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--tokens", type=int, default=TOKENS)
    options = parser.parse_args()
    costs = {name: sampler_cost(params) for name, params in SAMPLINGS.items()}
    for name, cost in costs.items():
        print(f"{VOCABULARY:,} tokens, {name:<26} {cost:.3f} ms a token more")
    engine = loaded_engine()
    reply(engine, "full", options.tokens)
    rounds: list[dict[str, float]] = []
    for _ in range(options.rounds):
        runs = [(record, reply(engine, record, options.tokens)) for record in ORDER]
        on = [run for record, run in runs if record == "full"]
        off = [run for record, run in runs if record == "off"]
        rounds.append(
            {
                "cpu": sum(run.cpu_ms for run in off) / sum(run.cpu_ms for run in on),
                "rate": sum(run.clock_ms for run in off) / sum(run.clock_ms for run in on),
                "off_ms": off[0].cpu_ms,
                "more_ms": (sum(run.cpu_ms for run in on) - sum(run.cpu_ms for run in off)) / 2,
                "bytes": on[0].stored_bytes,
            }
        )
        print("  ".join(f"{name} {value:.3f}" for name, value in rounds[-1].items()))
    engine.close()
    cpu, rate = (statistics.median(each[name] for each in rounds) for name in ("cpu", "rate"))
    finish(
        "recording",
        {"tokens": options.tokens, "rounds": rounds, "sampler_ms": costs},
        f"decode with recording / without: {cpu:.3f} by CPU time, {rate:.3f} by rate (target {TARGET}); "
        f"at most {max(costs.values()):.2f} ms a token at {VOCABULARY:,} (budget {BUDGET_MS}); "
        f"{statistics.median(each['bytes'] for each in rounds):.0f} bytes a token stored",
    )


if __name__ == "__main__":
    main()
