"""The CPU engine beside its peers: llama.cpp on the same file and on its best format, and transformers.

Contenders are resident processes that take turns on the same token ids; only one computes at a time. Ratios are medians
of ratios within a round, so a drift in the machine's speed favours nobody. Rows can be measured one by one (`--only
decode`); all are kept in one file of results, and the table is printed last. llama-cpp-python is in the extra `bench`;
without it its lines are left out with a message.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.cpu_engine.accuracy_rows import accuracy, accuracy_of_peers
from benchmarks.cpu_engine.batch_row import batch
from benchmarks.cpu_engine.context_rows import far_context, new_turn
from benchmarks.cpu_engine.decode_rows import against_transformers, decode, first_token, loop
from benchmarks.cpu_engine.format_rows import formats, gemma, real_formats
from benchmarks.cpu_engine.lookup_row import lookup
from benchmarks.cpu_engine.machine_rows import bandwidth, memory, start
from benchmarks.cpu_engine.random_model import MIXES
from benchmarks.cpu_engine.result import Line, Result, table
from benchmarks.cpu_engine.setup import Setup
from benchmarks.default_model import PATHS, default_model
from benchmarks.report import RESULTS, machine, write_result

NAME = "cpu_engine"
ROWS: dict[str, Callable[[Setup], Result]] = {
    "decode": decode,
    "loop": loop,
    "lookup": lookup,
    "transformers": against_transformers,
    "first_token": first_token,
    "formats": formats,
    "gemma": gemma,
    "real_formats": real_formats,
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
    parser.add_argument(
        "--mix", choices=MIXES, action="append", help="of the row `formats`; may be given again"
    )
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
    options = parser.parse_args()
    rows = recorded()
    if not options.show:
        model = options.model or default_model()
        kernels = str(PATHS.kernels_dir) if options.kernel == "auto" else ""
        for name in options.only or ROWS:
            with Setup(
                model, options.precision, options.threads, kernels, options.llama_python, options.budget
            ) as setup:
                result = formats(setup, options.mix or MIXES) if name == "formats" else ROWS[name](setup)
            rows[name] = {**result.record(), "machine": machine(), "at": time.strftime("%Y-%m-%d %H:%M %Z")}
            write_result(NAME, {"rows": rows})
            print(f"{name}: {result.counted}\n{table(result.lines)}\n", flush=True)
    print(table([Line(**line) for name in ROWS if name in rows for line in rows[name]["lines"]]))


def recorded() -> dict[str, Any]:
    """Earlier results, by row."""
    path = RESULTS / f"{NAME}.json"
    return json.loads(path.read_text())["rows"] if path.exists() else {}


if __name__ == "__main__":
    main()
