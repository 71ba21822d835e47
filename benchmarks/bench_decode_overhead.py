"""Cost of the screen for the decode loop: the decode rate in the app over that of the bare engine.

Same model, prompt and number of threads, greedy, no speculation. The engine alone in a process (`BARE` below: no screen,
database or pipe) and the real app on a 200x50 pty are both resident and take turns, so a drift in the machine's speed
favours neither; the one that waits uses no CPU. Both rates are the engine's own figure, (n - 2) / (t_n - t_2); the app's
is read from the stored reply. Rounds in which other programs use more than a twentieth of a core are recorded but not
counted. Many rounds are needed: the rate of the bare engine alone drifts by a tenth within seconds.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.default_model import PATHS, default_model
from benchmarks.foreign_load import ForeignLoad
from benchmarks.report import finish
from benchmarks.terminal import APP, ROOT, Terminal, app_environ
from ttchat_tui.domain.generation import GenerationStats
from ttchat_tui.storage.opening import open_store

ROUNDS, TOKENS, TARGET = 20, 256, 0.97
QUIET_CORES = 0.05
ATTEMPTS_A_ROUND = 3
"""Limit of attempts per quiet round."""
PROMPT = "Write a long essay about the history of clocks."
"""The model's greedy reply is longer than the tokens that are measured."""
REGENERATE = "\x12"
BARE = f"""
import json, sys
from ttchat_tui.domain.chat import ChatMessage
from ttchat_tui.domain.events import GenerationFinished
from ttchat_tui.domain.generation import GenerationControl, GenerationRequest
from ttchat_tui.domain.model_spec import CpuOptions, ModelSpec
from ttchat_tui.domain.sampling import SamplingParams
from ttchat_tui.engine.factory import create_engine

engine = create_engine("cpu")
spec = ModelSpec(
    name="bare",
    path=sys.argv[1],
    options=CpuOptions(threads=int(sys.argv[2]), speculation="off"),
    kernel_dir=sys.argv[4],
)
engine.load(spec, lambda progress: None)
sampling = SamplingParams(temperature=0.0, max_tokens=int(sys.argv[3]))
print("loaded", flush=True)
for number, _ in enumerate(sys.stdin):
    request = GenerationRequest(
        id=number, messages=(ChatMessage("user", {PROMPT!r}),), sampling=sampling, seed=0
    )
    for event in engine.generate(request, GenerationControl(sampling)):
        if isinstance(event, GenerationFinished):
            print(json.dumps([event.stats.decode_tps, event.stats.completion_tokens]), flush=True)
"""


class BareEngine:
    """The engine alone."""

    def __init__(self, model: Path, threads: int, tokens: int) -> None:
        self._tokens = tokens
        self._process = subprocess.Popen(
            [sys.executable, "-c", BARE, str(model), str(threads), str(tokens), str(PATHS.kernels_dir)],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._line()

    @property
    def pid(self) -> int:
        return self._process.pid

    def reply_tps(self) -> float:
        assert self._process.stdin is not None
        self._process.stdin.write("go\n")
        self._process.stdin.flush()
        rate, completion_tokens = json.loads(self._line())
        return checked(rate, completion_tokens, self._tokens)

    def close(self) -> None:
        self._process.kill()
        self._process.wait()

    def _line(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline()


class WholeApp:
    """The real app. The first reply answers the prompt, the others regenerate it."""

    def __init__(self, model: Path, threads: int, tokens: int) -> None:
        self._tokens = tokens
        self._folder = Path(tempfile.mkdtemp(prefix="ttchat-bench-"))
        flags = f"--temperature 0 --max-tokens {tokens} --threads {threads} --model".split()
        # Speculation depends on measured times: two runs of one reply take different numbers of forwards.
        environ = app_environ(self._folder, TTCHAT_CPU__SPECULATION="off")
        self._terminal = Terminal([*APP, *flags, str(model)], environ)
        self._terminal.until("ready")
        self._terminal.drain(1.0)
        self._keys = f"{PROMPT}\r"

    @property
    def pid(self) -> int:
        return int(self._terminal.process.pid)

    def reply_tps(self) -> float:
        terminal = self._terminal
        since = len(terminal.received)
        terminal.type(self._keys)
        self._keys = REGENERATE
        terminal.until("generating", since)
        terminal.until("ready", len(terminal.received), timeout_s=300)
        terminal.drain(0.5)
        stats = stored_stats(self._folder / "data" / "conversations.db")
        return checked(stats.decode_tps or 0.0, stats.completion_tokens, self._tokens)

    def close(self) -> None:
        self._terminal.end()


def stored_stats(database: Path) -> GenerationStats:
    """The stored figures of the last reply."""
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
    options = parser.parse_args()
    rounds = measure(default_model(), options.threads, options.tokens, options.rounds)
    for app, alone, foreign in rounds:
        note = "" if foreign < QUIET_CORES else f"   (foreign load {foreign:.2f} cores: does not count)"
        print(f"app {app:6.1f} tok/s   bare {alone:6.1f} tok/s   {app / alone:.3f}{note}")
    every = [app / alone for app, alone, _ in rounds]
    quiet = [app / alone for app, alone, foreign in rounds if foreign < QUIET_CORES]
    record = {"tokens": options.tokens, "threads": options.threads, "rounds_app_bare_foreign": rounds}
    print(f"every round, disturbed ones too: {spread(every)}")
    finish(
        f"decode_overhead_{options.threads}_threads",
        {**record, "quiet": spread(quiet), "every": spread(every)},
        f"decode in the app / bare, {options.threads} thread(s): {spread(quiet)} (target {TARGET})",
    )


def spread(ratios: list[float]) -> str:
    if len(ratios) < 4:
        return f"no figure: {len(ratios)} quiet rounds"
    low, middle, high = statistics.quantiles(ratios, n=4)
    return f"{middle:.3f} ({len(ratios)} rounds, half of them between {low:.3f} and {high:.3f})"


def measure(model: Path, threads: int, tokens: int, rounds: int) -> list[tuple[float, float, float]]:
    """Rates in the app and bare, and foreign load, by round. The order alternates; a first round warms up."""
    app, bare = WholeApp(model, threads, tokens), BareEngine(model, threads, tokens)
    found: list[tuple[float, float, float]] = []
    try:
        app.reply_tps()
        bare.reply_tps()
        while sum(foreign < QUIET_CORES for *_, foreign in found) < rounds:
            if len(found) == rounds * ATTEMPTS_A_ROUND:
                break
            load = ForeignLoad({app.pid, bare.pid})
            if len(found) % 2:
                in_app, alone = app.reply_tps(), bare.reply_tps()
            else:
                alone, in_app = bare.reply_tps(), app.reply_tps()
            found.append((in_app, alone, load.share()))
    finally:
        app.close()
        bare.close()
    return found


if __name__ == "__main__":
    main()
