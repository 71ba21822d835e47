"""What the screen costs while a reply streams: the share of a core that the app's own process uses on a 200x50 pty.

The app is the whole one with a scripted engine in a process of its own, its database on disk; the reply is plain prose or
mixed Markdown (headings, lists, code, tables). CPU time of all threads, from the scheduler. Contents and rates take turns.
Prints the figures, the claim last, and writes benchmarks/results/screen_share.json.
"""

from __future__ import annotations

import argparse
import itertools
import statistics
import sys
from pathlib import Path

from machine import keep
from terminal import Terminal, app_environ

LAUNCHER = Path(__file__).with_name("paced_app.py")
CONTENTS = ("prose", "mixed")
RATES = (50, 100, 200)
"""Tokens a second."""
ROUNDS, SECONDS = 2, 8.0
WARM_UP_S = 3.0
"""Streams for so long before it is measured: the view is full and scrolls."""
TARGET = 0.25
"""Of a core, at 100 tokens a second."""


def share(content: str, rate: int) -> float:
    """Cores."""
    environ = app_environ(TTCHAT_BENCH_TOKENS_PER_S=str(rate), TTCHAT_BENCH_CONTENT=content)
    with Terminal([sys.executable, str(LAUNCHER)], environ) as terminal:
        terminal.until("ready")
        terminal.drain(1.0)
        terminal.type("go\r")
        terminal.until("generating")
        terminal.drain(WARM_UP_S)
        before_s, began_s = cpu_s(terminal.process.pid), terminal.now_s()
        terminal.drain(SECONDS)
        return (cpu_s(terminal.process.pid) - before_s) / (terminal.now_s() - began_s)


def cpu_s(pid: int) -> float:
    """CPU seconds of all threads of a process."""
    tasks = Path(f"/proc/{pid}/task").iterdir()
    return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks) / 1e9


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    asked = parser.parse_args()
    samples: dict[str, list[float]] = {}
    for _ in range(asked.rounds):
        for content, rate in itertools.product(CONTENTS, RATES):
            samples.setdefault(f"{content} {rate} tok/s", []).append(share(content, rate))
    found = {name: statistics.median(values) for name, values in samples.items()}
    for name, cores in found.items():
        print(f"{name:<18} {cores:.3f} of a core   {[round(value, 3) for value in samples[name]]}")
    keep("screen_share", {"seconds": SECONDS, "cores": samples})
    worst = max(found[f"{content} 100 tok/s"] for content in CONTENTS)
    print(f"the screen at 100 tok/s: at most {worst:.3f} of a core (target {TARGET})")


if __name__ == "__main__":
    main()
