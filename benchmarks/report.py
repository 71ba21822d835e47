"""The end of every benchmark: figures and machine to results/*.json, the claim as the last line."""

from __future__ import annotations

import json
import os
import platform
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"


def machine() -> dict[str, Any]:
    """What a figure depends on. `load_1min` shows whether other programs were running."""
    return {
        "cpu": _cpu_name(),
        "cores": len(os.sched_getaffinity(0)),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "load_1min": round(os.getloadavg()[0], 2),
    }


def _cpu_name() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    fields = [line.split(":", 1) for line in lines if ":" in line]
    found = {name.strip(): value.strip() for name, value in reversed(fields)}
    detail = f" family {found['cpu family']} model {found['model']}" if "cpu family" in found else ""
    return found.get("model name", platform.machine()) + detail


def finish(name: str, record: dict[str, Any], claim: str) -> None:
    """Write `results/<name>.json` and print `claim`: the figure and its target."""
    write_result(name, record)
    print(claim)


def write_result(name: str, record: dict[str, Any]) -> None:
    """Write `results/<name>.json`, with the machine in it."""
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"{name}.json").write_text(json.dumps({"machine": machine(), **record}, indent=1) + "\n")
