"""Completion of `@file` in a folder of 200,000 files: the first answer, the whole walk, an answer after it, and how long the
event loop stands still meanwhile."""

from __future__ import annotations

import asyncio
import statistics
import tempfile
import time
from pathlib import Path
from typing import Final

from benchmarks.report import finish
from ttchat_tui.session.file_finder import FileFinder

FOLDERS: Final = (20, 50)
FILES: Final = 200
TYPED: Final = ("s", "so", "source", "source_file_12", "module_33/source", "srcfil12", "nothing like it")
TICK_S: Final = 0.002
LAG_TARGET_MS: Final = 50.0


def make(root: Path) -> int:
    for outer in range(FOLDERS[0]):
        for inner in range(FOLDERS[1]):
            folder = root / f"package_{outer:02}" / f"module_{inner:02}"
            folder.mkdir(parents=True)
            for number in range(FILES - 2):
                (folder / f"source_file_{number:03}.py").touch()
    return FOLDERS[0] * FOLDERS[1] * (FILES - 2)


async def measure(root: Path) -> dict[str, float]:
    """Milliseconds."""
    finder, lags = FileFinder(root), list[float]()

    async def watch() -> None:
        while True:
            start = time.perf_counter()
            await asyncio.sleep(TICK_S)
            lags.append(time.perf_counter() - start - TICK_S)

    async def find(typed: str) -> float:
        start = time.perf_counter()
        found = await asyncio.to_thread(finder.find, typed)
        nonlocal is_complete
        is_complete = found.is_complete
        return time.perf_counter() - start

    is_complete = False
    watcher = asyncio.create_task(watch())
    start = time.perf_counter()
    first = await find(TYPED[0])
    while not is_complete:
        await find(TYPED[0])
    walk = time.perf_counter() - start
    answers = [await find(typed) for typed in TYPED for _ in range(5)]
    watcher.cancel()
    p99 = statistics.quantiles(lags, n=100)[98]
    figures = {"first": first, "walk": walk, "answer_max": max(answers), "lag_p99": p99, "lag_max": max(lags)}
    return {f"{name}_ms": round(1000 * seconds, 1) for name, seconds in figures.items()}


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        files = make(Path(folder))
        figures = asyncio.run(measure(Path(folder)))
    finish(
        "file_completion",
        {"files": files, "results": figures},
        f"file completion in {files:,} files: first answer {figures['first_ms']:.0f} ms, whole walk "
        f"{figures['walk_ms']:.0f} ms, later answers at most {figures['answer_max_ms']:.0f} ms; event loop late by "
        f"{figures['lag_p99_ms']:.0f} ms at p99 (target {LAG_TARGET_MS:.0f} ms)",
    )


if __name__ == "__main__":
    main()
