"""Cost of timing each step of the decode loop: decoding with the step clock against one that never reads the time.

As `bench_recording`: the CPU engine with the default model, one thread, everything recorded, the same seed and ids in both,
and every event encoded as for the pipe to the app. Replies alternate in the order with, without, without, with.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Iterator
from contextlib import contextmanager

from benchmarks.bench_recording import RecordedRun, loaded_engine, reply  # first: it limits torch's threads
from benchmarks.report import finish
from ttchat_tui.domain.timeline import StepParts
from ttchat_tui.engine.base import Engine
from ttchat_tui.engine.decoding import row
from ttchat_tui.engine.decoding.step_clock import Forward, StepClock

ROUNDS, TOKENS, TARGET = 6, 256, 0.99


class Stopped(StepClock):
    """Never reads the time."""

    def begin(self, forward: Forward) -> None: ...

    def note_drawn(self) -> None: ...

    def note_sent(self) -> None: ...

    def take(self, time_s: float) -> StepParts | None:  # type: ignore[override]
        return None


@contextmanager
def untimed() -> Iterator[None]:
    real = row.StepClock
    row.StepClock = Stopped  # type: ignore[misc]
    try:
        yield
    finally:
        row.StepClock = real  # type: ignore[misc]


def without(engine: Engine, tokens: int) -> RecordedRun:
    with untimed():
        return reply(engine, "full", tokens)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--tokens", type=int, default=TOKENS)
    options = parser.parse_args()
    engine, tokens = loaded_engine(), options.tokens
    reply(engine, "full", tokens)
    rounds: list[dict[str, float]] = []
    for _ in range(options.rounds):
        on = [reply(engine, "full", tokens)]
        off = [without(engine, tokens), without(engine, tokens)]
        on.append(reply(engine, "full", tokens))
        rounds.append(
            {
                "cpu": sum(run.cpu_ms for run in off) / sum(run.cpu_ms for run in on),
                "rate": sum(run.clock_ms for run in off) / sum(run.clock_ms for run in on),
                "more_bytes": on[0].stored_bytes - off[0].stored_bytes,
            }
        )
        print("  ".join(f"{name} {value:.3f}" for name, value in rounds[-1].items()))
    engine.close()
    cpu, rate, more = (
        statistics.median(each[name] for each in rounds) for name in ("cpu", "rate", "more_bytes")
    )
    finish(
        "timeline",
        {"tokens": tokens, "rounds": rounds},
        f"decode with timing / without: {cpu:.3f} by CPU time, {rate:.3f} by rate (target {TARGET}); "
        f"{more:.1f} bytes a token more stored",
    )


if __name__ == "__main__":
    main()
