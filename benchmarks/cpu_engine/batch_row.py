"""The row of batches: several sampled candidates of one prompt, decoded in step."""

from __future__ import annotations

from typing import Any

from benchmarks.cpu_engine.decode_rows import SHORT
from benchmarks.cpu_engine.result import Result, at_least
from benchmarks.cpu_engine.rounds import Turn
from benchmarks.cpu_engine.setup import Setup

TOKENS = 128
TARGETS = {4: 3.0, 8: 5.0}


def batch(setup: Setup) -> Result:
    """Aggregate decode rate of N rows over that of a batch of one."""
    own = setup.own()
    ids = own.ask("real_text")[:SHORT]

    def rows(count: int) -> Turn:
        def turn() -> Any:
            return own.ask("batch", ids=ids, tokens=TOKENS, rows=count)

        return f"N = {count}", turn

    rounds = setup.take_turns([rows(count) for count in (1, *TARGETS)], 7)
    one = f"N = 1, {rounds.median('N = 1', 'decode_tps'):.0f} tok/s"
    lines = [
        at_least(
            f"aggregate decode at N = {count}",
            one,
            rounds.ratio("decode_tps", f"N = {count}", "N = 1"),
            target,
            f"{rounds.median(f'N = {count}', 'decode_tps'):.0f} tok/s",
        )
        for count, target in TARGETS.items()
    ]
    return Result(lines, rounds.counted, rounds.record())
