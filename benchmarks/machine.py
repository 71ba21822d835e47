"""Where a benchmark ran, and where its figures are kept."""

from __future__ import annotations

import json
import os
import platform
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"


def machine() -> dict[str, Any]:
    """What a figure depends on. `load_1min` tells whether something else was running."""
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


def keep(name: str, record: dict[str, Any]) -> None:
    """Write `results/<name>.json`, with the machine in it."""
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"{name}.json").write_text(json.dumps({"machine": machine(), **record}, indent=1) + "\n")
