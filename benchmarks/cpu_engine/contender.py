"""The parent's side of a contender: start, request, memory, end."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]


class ContenderFailed(Exception):
    """A contender could not be loaded, or answered with an error."""


class Contender:
    """One engine with one model, resident in a separate process. It computes only while `ask` waits."""

    def __init__(
        self, name: str, module: str, arguments: Sequence[str] = (), python: str = sys.executable
    ) -> None:
        """Start it and wait until it is loaded.

        Args:
            name: in tables and errors.
            module: of this package; run with `python -m` from the root of the checkout.
        Raises:
            ContenderFailed: it could not load.
        """
        self.name = name
        started = time.perf_counter()
        self._process = subprocess.Popen(
            [python, "-m", f"benchmarks.cpu_engine.{module}", *arguments],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        try:
            self._answer()
        except ContenderFailed:
            self.close()
            raise
        self.ready_s = time.perf_counter() - started
        """Seconds from the start of its process until the model is ready."""

    @property
    def pid(self) -> int:
        return self._process.pid

    def ask(self, op: str, **values: Any) -> Any:
        """
        Raises:
            ContenderFailed: with the contender's message.
        """
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"op": op, **values}) + "\n")
        self._process.stdin.flush()
        return self._answer()

    def peak_rss_mb(self) -> float:
        """Peak resident memory so far, mapped files included (Linux: VmHWM)."""
        lines = Path(f"/proc/{self.pid}/status").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:")) / 1e3

    def close(self) -> None:
        self._process.kill()
        self._process.communicate()

    def _answer(self) -> Any:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        answer = json.loads(line) if line else {"error": "it ended without an answer"}
        if "error" in answer:
            raise ContenderFailed(f"{self.name}: {answer['error']}")
        return answer["value"]
