"""CPU of the screen while a reply streams: the share of a core that the app's own process uses on a 200x50 pty.

This is the whole app, with a scripted engine in a separate process and a database on disk. The reply is plain prose or
mixed Markdown (headings, lists, code, tables). CPU time covers all threads, from the scheduler. Contents and rates take
turns.
"""

from __future__ import annotations

import argparse
import itertools
import statistics

from benchmarks.report import finish
from benchmarks.terminal import PACED_APP, Terminal, app_environ

CONTENTS = ("prose", "mixed")
RATES = (50, 100, 200)
"""Tokens a second."""
ROUNDS, SECONDS = 2, 8.0
WARM_UP_S = 3.0
"""Streaming time before the measurement: the view is full and scrolls."""
TARGET = 0.25
"""Of a core, at 100 tokens a second."""


def share(content: str, rate: int) -> float:
    """Cores."""
    environ = app_environ(TTCHAT_BENCH_TOKENS_PER_S=str(rate), TTCHAT_BENCH_CONTENT=content)
    with Terminal(PACED_APP, environ) as terminal:
        terminal.until("ready")
        terminal.drain(1.0)
        terminal.type("go\r")
        terminal.until("generating")
        terminal.drain(WARM_UP_S)
        before_s, began_s = terminal.cpu_s(), terminal.now_s()
        terminal.drain(SECONDS)
        return (terminal.cpu_s() - before_s) / (terminal.now_s() - began_s)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    options = parser.parse_args()
    samples: dict[str, list[float]] = {}
    for _ in range(options.rounds):
        for content, rate in itertools.product(CONTENTS, RATES):
            samples.setdefault(f"{content} {rate} tok/s", []).append(share(content, rate))
    found = {name: statistics.median(values) for name, values in samples.items()}
    for name, cores in found.items():
        print(f"{name:<18} {cores:.3f} of a core   {[round(value, 3) for value in samples[name]]}")
    worst = max(found[f"{content} 100 tok/s"] for content in CONTENTS)
    finish(
        "screen_share",
        {"seconds": SECONDS, "cores": samples},
        f"the screen at 100 tok/s: at most {worst:.3f} of a core (target {TARGET})",
    )


if __name__ == "__main__":
    main()
