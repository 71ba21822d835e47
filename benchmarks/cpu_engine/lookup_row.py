"""The row of prompt lookup: the result of `bench_lookup`, run in a separate process."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
from typing import Any

from benchmarks.cpu_engine.contender import ROOT
from benchmarks.cpu_engine.result import Line, Result
from benchmarks.cpu_engine.setup import Setup
from benchmarks.report import RESULTS

TARGETS = {"code": 1.6, "quote": 1.4, "prose": None}
"""Prose has no target: it must not become slower."""


def lookup(setup: Setup) -> Result:
    """Median prompt of each kind: decode rate with speculation over that without, and whether all ids are equal."""
    options = ["--precision", setup.precision, "--threads", str(setup.threads), "--model", str(setup.model)]
    subprocess.run(
        [sys.executable, "-m", "benchmarks.bench_lookup", *options, "--rounds", "3"], cwd=ROOT, check=True
    )
    newest = max(RESULTS.glob("lookup_*.json"), key=lambda path: path.stat().st_mtime)
    found = json.loads(newest.read_text())
    lines = [_line(kind, target, found["prompts"]) for kind, target in TARGETS.items()]
    return Result(lines, f"{found['label']}, 3 rounds a prompt", found)


def _line(kind: str, target: float | None, prompts: list[dict[str, Any]]) -> Line:
    ratios = [one["ratio"] for one in prompts if one["kind"] == kind]
    same = sum(one["is_same"] for one in prompts if one["kind"] == kind)
    ratio = statistics.median(ratios)
    figure = f"{ratio:.2f} ({min(ratios):.2f}-{max(ratios):.2f}), same ids in {same} of {len(ratios)} prompts"
    return Line(
        f"decode with prompt lookup, {kind}",
        "itself without",
        figure,
        "stated" if target is None else f">= {target:g}",
        None if target is None else ratio >= target and same == len(ratios),
    )
