"""The environment of a row: the model, its peers' interpreter and files, and contenders, which always end with the row."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from benchmarks.cpu_engine.contender import Contender
from benchmarks.cpu_engine.rounds import Figures, Rounds, Turn, speed


class PeerMissing(Exception):
    """A row's peer is not installed."""


class Setup:
    """The environment of one row; a context manager that ends its contenders."""

    def __init__(
        self, model: Path, precision: str, threads: int, kernel_dir: str, llama_python: str, budget_s: float
    ) -> None:
        self.model = model
        self.precision = precision
        self.threads = threads
        self.kernel_dir = kernel_dir
        self._end_s = time.monotonic() + budget_s
        self._llama_python = llama_python
        self._stack = ExitStack()
        self._pids: set[int] = set()

    def __enter__(self) -> Setup:
        self.folder = Path(self._stack.enter_context(tempfile.TemporaryDirectory(prefix="ttchat-bench-")))
        return self

    def __exit__(self, *_error: object) -> None:
        self._stack.close()
        self._pids.clear()

    def own(self, precision: str = "", *options: str) -> Contender:
        """This project's engine, by default in the precision under test."""
        named = precision or self.precision
        arguments = [str(self.model), str(self.threads), named, self.kernel_dir, *options]
        return self._start("own", "own", arguments, sys.executable)

    def llama(self, quantisation: str) -> Contender:
        """llama.cpp on the model's own file (Q4_1 for the default model), or on a Q4_0 requantised from it.

        Raises:
            PeerMissing: llama-cpp-python is not installed.
        """
        probe = subprocess.run([self._llama_python, "-c", "import llama_cpp"], capture_output=True)
        if probe.returncode:
            raise PeerMissing(f"llama-cpp-python is not installed for {self._llama_python}")
        path = self.model if quantisation == "same file" else self.requantised(quantisation)
        arguments = [str(path), str(self.threads)]
        return self._start(f"llama.cpp {quantisation}", "llama", arguments, self._llama_python)

    def transformers(self) -> Contender:
        arguments = [str(self.model), str(self.threads)]
        return self._start("transformers", "transformers_generate", arguments, sys.executable)

    def stop(self, contender: Contender) -> None:
        """End one contender early."""
        contender.close()
        self._pids.discard(contender.pid)

    def take_turns(self, turns: list[Turn], rounds: int) -> Rounds:
        return Rounds().run(turns, self._pids, rounds, self._end_s)

    def requantised(self, kind: str) -> Path:
        """The model as llama.cpp's quantiser writes it: Q4_0, Q5_K_M…"""
        target = self.folder / f"{self.model.stem}.{kind}.gguf"
        if not target.exists():
            worker = Contender("llama.cpp's quantiser", "llama", ["requantise"], self._llama_python)
            try:
                worker.ask("requantise", source=str(self.model), target=str(target), kind=kind)
            finally:
                worker.close()
        return target

    def _start(self, name: str, module: str, arguments: list[str], python: str) -> Contender:
        contender = Contender(name, module, arguments, python)
        self._stack.callback(contender.close)
        self._pids.add(contender.pid)
        return contender


def reply(contender: Contender, op: str = "generate", **values: Any) -> Callable[[], Figures]:
    """A turn: one reply and its speed."""
    return lambda: speed(contender.ask(op, **values))
