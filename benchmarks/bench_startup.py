"""From the start of the process to the first frame, to a key that echoes, and to a loaded model, on a real pty.

In each round, in turn: importing Textual (nothing can be on screen before that), a bare Textual app of one widget,
and the app with the default model. Prints the figures, the claim last, and writes benchmarks/results/startup.json.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from machine import keep
from terminal import APP, ROOT, Terminal, app_environ

ROUNDS = 9
FRAME_S, READY_S = 0.4, 5.0
PROMPT = "rite a message"
"""The prompt's placeholder, less the character under the cursor."""
KEY = "ж"
"""A character that the app itself never draws."""
BARE = (
    "from textual.app import App\n"
    "from textual.widgets import Static\n"
    "class Bare(App):\n"
    "    def compose(self):\n"
    "        yield Static('a bare app')\n"
    "Bare().run()"
)


def importing_textual() -> dict[str, float]:
    began = time.perf_counter()
    subprocess.run([sys.executable, "-c", "import textual.app"], check=True, cwd=ROOT)
    return {"done": time.perf_counter() - began}


def bare_app() -> dict[str, float]:
    with Terminal([sys.executable, "-c", BARE], app_environ()) as terminal:
        return {"frame": terminal.until("a bare app"), "frame_cpu": cpu_s(terminal.process.pid)}


def whole_app() -> dict[str, float]:
    with Terminal(APP, app_environ()) as terminal:
        first_bytes = terminal.until("\x1b[?1049h")
        frame = terminal.until(PROMPT)
        cpu = cpu_s(terminal.process.pid)
        terminal.type(KEY)
        echo = terminal.until(KEY)
        ready = terminal.until("ready")
        return {
            "alternate screen": first_bytes,
            "frame": frame,
            "frame_cpu": cpu,
            "echo": echo,
            "ready": ready,
        }


SUBJECTS: dict[str, Callable[[], dict[str, float]]] = {
    "import textual.app": importing_textual,
    "bare Textual app": bare_app,
    "ttchat-tui": whole_app,
}


def cpu_s(pid: int) -> float:
    """CPU seconds of all threads of a process: what a loaded machine does not change much."""
    tasks = Path(f"/proc/{pid}/task").glob("*/schedstat")
    return sum(int(task.read_text().split()[0]) for task in tasks) / 1e9


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    rounds = parser.parse_args().rounds
    samples: dict[str, list[dict[str, float]]] = {name: [] for name in SUBJECTS}
    whole_app()  # what was never read since boot is in the page cache afterwards
    for _ in range(rounds):
        for name, run in SUBJECTS.items():
            samples[name].append(run())
    medians = {
        name: {key: statistics.median(run[key] for run in runs) for key in runs[0]}
        for name, runs in samples.items()
    }
    best = {name: {key: min(run[key] for run in runs) for key in runs[0]} for name, runs in samples.items()}
    for name, found in medians.items():
        figures = "   ".join(
            f"{key} {value:.3f} (best {best[name][key]:.3f})" for key, value in found.items()
        )
        print(f"{name:<20} s: {figures}")
    frame, ready = medians["ttchat-tui"]["frame"], medians["ttchat-tui"]["ready"]
    keep("startup", {"rounds": rounds, "medians_s": medians, "best_s": best, "samples_s": samples})
    print(
        f"startup: first frame after {frame:.2f} s (target {FRAME_S} s; a bare Textual app "
        f"{medians['bare Textual app']['frame']:.2f} s), model ready after {ready:.1f} s (target {READY_S:.0f} s)"
    )


if __name__ == "__main__":
    main()
