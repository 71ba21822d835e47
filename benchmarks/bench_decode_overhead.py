"""What the screen costs the decode loop: the rate of a reply in the app over that of the bare engine.

Same model, same prompt, greedy, same number of threads. In each round, in turn: the engine alone in a process (no
screen, no database, no pipe; what `bare` below does), and the real app on a 200x50 pty. Both rates are the engine's
own figure, (n - 2) / (t_n - t_2); the app's is read from the stored reply. The prompt asks for a reply that is far
longer than the tokens taken. Prints the figures, the claim last, and writes benchmarks/results/decode_overhead.json.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from machine import keep
from terminal import APP, ROOT, Terminal, app_environ

from ttchat_tui.config.paths import find_paths
from ttchat_tui.domain.generation import GenerationStats
from ttchat_tui.models.catalog import catalog
from ttchat_tui.models.fetch import pull
from ttchat_tui.storage.opening import open_store

ROUNDS, TOKENS, TARGET = 7, 320, 0.97
PROMPT = "Write a long essay about the history of clocks."
BARE = f"""
import json, sys
from ttchat_tui.domain.chat import ChatMessage
from ttchat_tui.domain.events import GenerationFinished
from ttchat_tui.domain.generation import GenerationControl, GenerationRequest
from ttchat_tui.domain.model_spec import ModelSpec
from ttchat_tui.domain.sampling import SamplingParams
from ttchat_tui.engine.factory import create_engine

engine = create_engine("cpu")
engine.load(ModelSpec(name="bare", path=sys.argv[1], threads=int(sys.argv[2])), lambda progress: None)
sampling = SamplingParams(temperature=0.0, max_tokens=int(sys.argv[3]))
request = GenerationRequest(id=1, messages=(ChatMessage("user", {PROMPT!r}),), sampling=sampling, seed=0)
for event in engine.generate(request, GenerationControl(sampling)):
    if isinstance(event, GenerationFinished):
        print(json.dumps([event.stats.decode_tps, event.stats.completion_tokens]))
"""


def bare(model: Path, threads: int, tokens: int) -> float:
    done = subprocess.run(
        [sys.executable, "-c", BARE, str(model), str(threads), str(tokens)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    return checked(*json.loads(done.stdout), tokens)


def in_app(model: Path, threads: int, tokens: int) -> float:
    folder = Path(tempfile.mkdtemp(prefix="ttchat-bench-"))
    flags = f"--temperature 0 --max-tokens {tokens} --threads {threads} --model".split()
    with Terminal([*APP, *flags, str(model)], app_environ(folder)) as terminal:
        terminal.until("ready")
        terminal.drain(1.0)
        since = len(terminal.received)
        terminal.type(f"{PROMPT}\r")
        terminal.until("generating", since)
        terminal.until("ready", len(terminal.received), timeout_s=300)
        terminal.drain(0.5)
    stats = stored_stats(folder / "data" / "conversations.db")
    return checked(stats.decode_tps or 0.0, stats.completion_tokens, tokens)


def stored_stats(database: Path) -> GenerationStats:
    """The figures that the app has kept for the last reply."""
    store = open_store(database)
    latest = store.latest()
    assert latest is not None
    assert latest.head_id is not None
    record = store.path(latest.head_id)[-1].reply
    store.close()
    assert record is not None
    assert record.stats is not None
    return record.stats


def checked(rate: float, completion_tokens: int, tokens: int) -> float:
    if completion_tokens != tokens:
        raise RuntimeError(f"the reply ended after {completion_tokens} of {tokens} tokens")
    return rate


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--tokens", type=int, default=TOKENS)
    parser.add_argument("--threads", type=int, default=1)
    asked = parser.parse_args()
    model = default_model()
    rounds: list[tuple[float, float]] = []
    for number in range(asked.rounds):
        runs = {name: run(model, asked.threads, asked.tokens) for name, run in in_turn(number)}
        rounds.append((runs["app"], runs["bare"]))
        print(
            f"app {runs['app']:6.1f} tok/s   bare {runs['bare']:6.1f} tok/s   {runs['app'] / runs['bare']:.3f}"
        )
    ratios = sorted(app / alone for app, alone in rounds)
    ratio = statistics.median(ratios)
    keep(
        f"decode_overhead_{asked.threads}_threads",
        {"tokens": asked.tokens, "threads": asked.threads, "rounds_tps": rounds, "median_ratio": ratio},
    )
    print(
        f"decode in the app / bare, {asked.threads} thread(s): {ratio:.3f} (target {TARGET}; "
        f"{len(ratios)} rounds, {ratios[0]:.3f} to {ratios[-1]:.3f})"
    )


def in_turn(number: int) -> list[tuple[str, Callable[[Path, int, int], float]]]:
    """The subjects, the first one first in every other round: a machine that warms up favours neither."""
    both: list[tuple[str, Callable[[Path, int, int], float]]] = [("app", in_app), ("bare", bare)]
    return both if number % 2 else both[::-1]


def default_model() -> Path:
    known = catalog()
    entry = known.find(known.default)
    assert entry is not None
    return pull(entry, find_paths(os.environ).models_dir, lambda progress: None, os.environ)


if __name__ == "__main__":
    main()
