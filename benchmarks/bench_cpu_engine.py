"""The CPU engine beside its peers: llama.cpp on the same file and on its best format, and transformers.

Contenders are resident processes that take turns on the same token ids; only one computes at a time. Ratios are medians
of ratios of the same round: a machine whose speed drifts favours nobody. Rows are measured one by one (`--only decode`)
and kept together in benchmarks/results/cpu_engine.json; the table is printed last. llama-cpp-python is in the extra
`bench`; without it its lines are left out, and that is said.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from cpu_engine.accuracy_rows import accuracy, accuracy_of_peers
from cpu_engine.batch_row import batch
from cpu_engine.context_rows import far_context, new_turn
from cpu_engine.decode_rows import against_transformers, decode, first_token, loop
from cpu_engine.lookup_row import lookup
from cpu_engine.machine_rows import bandwidth, memory, start
from cpu_engine.result import Line, Result, table
from cpu_engine.setup import Setup
from machine import RESULTS, keep, machine

from ttchat_tui.config.paths import find_paths
from ttchat_tui.models.catalog import catalog
from ttchat_tui.models.fetch import pull

NAME = "cpu_engine"
ROWS: dict[str, Callable[[Setup], Result]] = {
    "decode": decode,
    "loop": loop,
    "lookup": lookup,
    "transformers": against_transformers,
    "first_token": first_token,
    "new_turn": new_turn,
    "batch": batch,
    "far_context": far_context,
    "bandwidth": bandwidth,
    "memory": memory,
    "start": start,
    "accuracy": accuracy,
    "accuracy_of_peers": accuracy_of_peers,
}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", choices=ROWS, action="append", help="measure this row; may be given again")
    parser.add_argument("--precision", default="auto", help="of this project's engine")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument(
        "--kernel", choices=("auto", "off"), default="auto", help="the compiled one, or torch's"
    )
    parser.add_argument("--budget", type=float, default=60, help="seconds a row, loading included; 60")
    parser.add_argument("--model", type=Path, help="a GGUF file; the default model")
    parser.add_argument(
        "--llama-python", default=sys.executable, help="an interpreter that has llama-cpp-python"
    )
    parser.add_argument("--show", action="store_true", help="print the table of what was measured before")
    asked = parser.parse_args()
    rows = recorded()
    if not asked.show:
        model = asked.model or default_model()
        kernels = str(find_paths(os.environ).kernels_dir) if asked.kernel == "auto" else ""
        for name in asked.only or ROWS:
            with Setup(
                model, asked.precision, asked.threads, kernels, asked.llama_python, asked.budget
            ) as setup:
                result = ROWS[name](setup)
            rows[name] = {**result.record(), "machine": machine(), "at": time.strftime("%Y-%m-%d %H:%M %Z")}
            keep(NAME, {"rows": rows})
            print(f"{name}: {result.counted}\n{table(result.lines)}\n", flush=True)
    print(table([Line(**line) for name in ROWS if name in rows for line in rows[name]["lines"]]))


def recorded() -> dict[str, Any]:
    """What was measured before, by row."""
    path = RESULTS / f"{NAME}.json"
    return json.loads(path.read_text())["rows"] if path.exists() else {}


def default_model() -> Path:
    known = catalog()
    entry = known.find(known.default)
    assert entry is not None
    return pull(entry, find_paths(os.environ).models_dir, lambda progress: None, os.environ)


if __name__ == "__main__":
    main()
