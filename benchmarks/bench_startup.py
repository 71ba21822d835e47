"""Time from process start to the first frame, to the echo of a key, and to a loaded model, on a real pty.

Each round runs in turn: importing Textual (nothing can be on screen before that), a bare Textual app of one widget, and
the app with the default model. A round in which other programs use more than a tenth of a core before the key is echoed
is repeated, up to three times as many rounds in all. The figures use quiet rounds only, if there are any. The package's
bytecode is compiled first, as pip does for an installed package: with PYTHONDONTWRITEBYTECODE set, a checkout is
otherwise compiled at every start, which takes 0.1 s.
"""

from __future__ import annotations

import argparse
import compileall
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping

from benchmarks.foreign_load import ForeignLoad
from benchmarks.report import finish
from benchmarks.terminal import APP, ROOT, Terminal, app_environ

Round = dict[str, dict[str, float]]
"""Subject → figure → seconds."""

APP_NAME = "ttchat-tui"
ROUNDS = 9
QUIET_CORES = 0.1
FRAME_S, READY_S = 0.4, 2.0
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
        return {"frame": terminal.until("a bare app"), "frame_cpu": terminal.cpu_s()}


def whole_app(with_ready: bool = True) -> dict[str, float]:
    with Terminal(APP, app_environ()) as terminal:
        foreign = ForeignLoad({terminal.process.pid})
        first_bytes = terminal.until("\x1b[?1049h")
        frame = terminal.until(PROMPT)
        cpu = terminal.cpu_s()
        terminal.type(KEY)
        echo = terminal.until(KEY)
        found = {
            "foreign_cores": foreign.share(),
            "alternate screen": first_bytes,
            "frame": frame,
            "frame_cpu": cpu,
            "echo": echo,
        }
        return found | {"ready": terminal.until("ready")} if with_ready else found


def quiet_rounds(subjects: Mapping[str, Callable[[], dict[str, float]]], count: int) -> list[Round]:
    """`count` quiet rounds; all rounds if none of the attempts is quiet."""
    every: list[Round] = []
    quiet: list[Round] = []
    while len(quiet) < count and len(every) < 3 * count:
        every.append({name: run() for name, run in subjects.items()})
        if every[-1][APP_NAME]["foreign_cores"] <= QUIET_CORES:
            quiet.append(every[-1])
    print(f"{len(quiet)} quiet rounds of {len(every)}")
    return quiet or every


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--frame-only", action="store_true", help="do not wait for the model")
    options = parser.parse_args()
    subjects = {
        "import textual.app": importing_textual,
        "bare Textual app": bare_app,
        APP_NAME: lambda: whole_app(with_ready=not options.frame_only),
    }
    compileall.compile_dir(ROOT / "ttchat_tui", quiet=1)
    whole_app()  # fills the page cache
    rounds = quiet_rounds(subjects, options.rounds)
    samples = {name: [found[name] for found in rounds] for name in subjects}
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
    app = medians[APP_NAME]
    ready = f", model ready after {app['ready']:.1f} s (target {READY_S:.0f} s)" if "ready" in app else ""
    finish(
        "startup",
        {"rounds": len(rounds), "medians_s": medians, "best_s": best, "samples_s": samples},
        f"startup: first frame after {app['frame']:.2f} s (target {FRAME_S} s; a bare Textual app "
        f"{medians['bare Textual app']['frame']:.2f} s){ready}",
    )


if __name__ == "__main__":
    main()
