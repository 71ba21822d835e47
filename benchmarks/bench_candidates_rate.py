"""What the screen costs eight candidates: the default model on one thread, through the app on a 200x50 pty and alone.

Both make the same tokens: prompt, seeds and parameters are the same. Alone, the engine runs in its own process as in the
app, and its events are read and dropped. They take turns, and each pair gives a ratio of the engine's CPU time for a token,
which other programs change little. The app's own CPU time is beside it: on a machine with a free core it costs the engine
nothing, otherwise its share of the cores. Exits with 1 if the target is missed.
"""

from __future__ import annotations

import argparse
import sqlite3
import statistics
import tempfile
import time
from pathlib import Path
from typing import Final, NamedTuple

from benchmarks.default_model import default_spec
from benchmarks.report import finish
from benchmarks.terminal import APP, Terminal, app_environ
from ttchat_tui.domain.chat import ChatMessage
from ttchat_tui.domain.events import TokenEvent
from ttchat_tui.domain.generation import Candidate, GenerationControl, GenerationRequest
from ttchat_tui.domain.model_spec import CpuOptions
from ttchat_tui.domain.sampling import SamplingParams
from ttchat_tui.engine.runtime.isolated import IsolatedEngine

ROWS, TOKENS, PAIRS = 8, 200, 3
SEED: Final = 7
QUESTION: Final = "Describe a long day at a lighthouse, hour by hour."
SAMPLING: Final = SamplingParams(
    temperature=0.7, top_k=40, top_p=0.95, max_tokens=TOKENS, seed=SEED, repetition_penalty=1.0, min_p=0.0
)
TARGET: Final = 0.05
POLL_S: Final = 0.5


class RateRun(NamedTuple):
    tokens: int
    engine_ms: float
    """CPU of the engine's process for a token of any row."""
    rate: float
    """Tokens a second on the clock, from the request to the last row's end."""
    app_ms: float = 0.0
    """CPU of the app's process for a token."""


def cpu_s(pid: int) -> float:
    """CPU seconds of all threads so far."""
    tasks = Path(f"/proc/{pid}/task").glob("*/schedstat")
    return sum(int(task.read_text().split()[0]) for task in tasks) / 1e9


def alone() -> RateRun:
    with tempfile.TemporaryDirectory() as folder:
        engine = IsolatedEngine(Path(folder) / "engine.log")
        engine.load(default_spec(CpuOptions(threads=1)), lambda progress: None)
        assert engine.pid is not None
        request = GenerationRequest(
            id=1,
            messages=(ChatMessage("user", QUESTION),),
            sampling=SAMPLING,
            seed=SEED,
            candidates=tuple(Candidate(seed=SEED + row) for row in range(1, ROWS)),
            record="full",
        )
        before_s, began_s = cpu_s(engine.pid), time.perf_counter()
        events = engine.generate(request, GenerationControl(SAMPLING))
        tokens = sum(len(event.token_ids) for event in events if isinstance(event, TokenEvent))
        used_s, seconds = cpu_s(engine.pid) - before_s, time.perf_counter() - began_s
        engine.close()
    return RateRun(tokens, used_s / tokens * 1000, tokens / seconds)


def on_screen() -> RateRun:
    folder = Path(tempfile.mkdtemp(prefix="ttchat-bench-"))
    fields = ("temperature", "top_k", "top_p", "min_p", "repetition_penalty", "max_tokens", "seed")
    flags = [f"--{name.replace('_', '-')}={getattr(SAMPLING, name)}" for name in fields]
    with Terminal([*APP, "--threads=1", *flags], app_environ(folder, OMP_NUM_THREADS="1")) as terminal:
        terminal.until("ready", timeout_s=120)
        terminal.drain(2.0)
        engine, before_app_s = engine_of(terminal.process.pid), terminal.cpu_s()
        before_s, began_s = cpu_s(engine), terminal.now_s()
        terminal.type(f"/candidates {ROWS} seed {QUESTION}\r")
        terminal.until("● ")
        while not (tokens := ended_tokens(folder)):
            terminal.drain(POLL_S)
        seconds = terminal.now_s() - began_s
        used_s, app_s = cpu_s(engine) - before_s, terminal.cpu_s() - before_app_s
    return RateRun(tokens, used_s / tokens * 1000, tokens / seconds, app_s / tokens * 1000)


def engine_of(pid: int) -> int:
    """The engine's process: the child of the app with the most memory."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return max(map(int, children), key=lambda child: int(Path(f"/proc/{child}/statm").read_text().split()[1]))


def ended_tokens(folder: Path) -> int:
    """Tokens of all rows once they have ended; 0 before."""
    database = next((folder / "data").rglob("*.db"))
    with sqlite3.connect(f"file:{database}?mode=ro", uri=True) as connection:
        rows = connection.execute(
            "SELECT status, length(token_ids) FROM messages WHERE role = 'assistant'"
        ).fetchall()
    is_over = len(rows) == ROWS and all(status == "complete" for status, _ in rows)
    return sum(length for _, length in rows) // 4 if is_over else 0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=PAIRS)
    options = parser.parse_args()
    pairs: list[tuple[RateRun, RateRun]] = []
    for number in range(options.pairs):
        if number % 2:
            screen, own = on_screen(), alone()
        else:
            own, screen = alone(), on_screen()
        pairs.append((own, screen))
        print(
            f"engine CPU a token: alone {own.engine_ms:.3f} ms, with the screen {screen.engine_ms:.3f} ms; "
            f"clock {own.rate:.0f} and {screen.rate:.0f} tok/s; the app {screen.app_ms:.3f} ms; "
            f"{own.tokens} and {screen.tokens} tokens"
        )
    cost = statistics.median(screen.engine_ms / own.engine_ms for own, screen in pairs) - 1
    share = statistics.median(screen.app_ms / screen.engine_ms for _, screen in pairs)
    finish(
        "candidates_rate",
        {"pairs": [[own._asdict(), screen._asdict()] for own, screen in pairs], "cost": cost},
        f"{ROWS} candidates: the screen costs the engine {cost:+.1%} of its rate (target {TARGET:.0%}), and needs "
        f"{share:.0%} of the engine's CPU time on another core",
    )
    if cost > TARGET:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
