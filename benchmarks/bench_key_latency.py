"""Time from a key press to its echo on a 200x50 pty, idle and while a reply of mixed Markdown streams.

This is the whole app, with a scripted engine in a separate process and a database on disk. Each key is a character that
is not on the screen yet, so its first appearance in the output is its echo. The rates take turns.
"""

from __future__ import annotations

import argparse
import random
import statistics

from benchmarks.report import finish
from benchmarks.terminal import PACED_APP, Terminal, app_environ

RATES = (0, 30, 100, 300)
"""Tokens per second; 0 is idle."""
ROUNDS, KEYS = 3, 60
P50_MS, P99_MS = 30.0, 100.0
WARM_UP_S = 3.0
"""Streaming time before the first key."""
ALPHABET = [chr(code) for code in range(0x0410, 0x0450)] + [
    chr(code) for code in range(0x0391, 0x03C9) if code != 0x03A2
]
"""Cyrillic and Greek: one column wide, and nowhere in the app."""
PAUSES_S = (0.06, 0.22)
"""Between two keys, uniformly distributed: as fast as people type."""


def latencies_ms(rate: int, keys: int) -> list[float]:
    environ = app_environ(TTCHAT_BENCH_TOKENS_PER_S=str(rate or 1))
    dice = random.Random(rate)
    with Terminal(PACED_APP, environ) as terminal:
        terminal.until("ready")
        terminal.drain(1.0)
        if rate:
            terminal.type("go\r")
            terminal.until("generating")
        terminal.drain(WARM_UP_S)
        return [one_key(terminal, ALPHABET[index % len(ALPHABET)], dice) for index in range(keys)]


def one_key(terminal: Terminal, key: str, dice: random.Random) -> float:
    """Press the key, wait for its echo, and delete it again."""
    since = len(terminal.received)
    pressed = terminal.now_s()
    terminal.type(key)
    latency_ms = (terminal.until(key, since) - pressed) * 1000
    terminal.drain(dice.uniform(*PAUSES_S))
    terminal.type("\x7f")
    terminal.drain(dice.uniform(*PAUSES_S))
    return latency_ms


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--keys", type=int, default=KEYS)
    options = parser.parse_args()
    samples: dict[int, list[float]] = {rate: [] for rate in RATES}
    for _ in range(options.rounds):
        for rate in RATES:
            samples[rate] += latencies_ms(rate, options.keys)
    found = {str(rate): percentiles(values) for rate, values in samples.items()}
    for rate, row in found.items():
        what = f"{rate} tok/s" if rate != "0" else "nothing streaming"
        print(f"{what:<18} " + "   ".join(f"{name} {value:6.1f} ms" for name, value in row.items()))
    p50, p99 = max(row["p50"] for row in found.values()), max(row["p99"] for row in found.values())
    finish(
        "key_latency",
        {"keys_a_rate": options.rounds * options.keys, "ms": found},
        f"key to screen: p50 at most {p50:.0f} ms (target {P50_MS:.0f}), p99 at most {p99:.0f} ms (target {P99_MS:.0f})",
    )


def percentiles(values: list[float]) -> dict[str, float]:
    hundredths = statistics.quantiles(values, n=100, method="inclusive")
    return {"p50": hundredths[49], "p90": hundredths[89], "p99": hundredths[98], "max": max(values)}


if __name__ == "__main__":
    main()
