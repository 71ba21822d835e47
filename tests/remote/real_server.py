"""Real servers, started on loopback from venvs of their own (see `make test-remote`)."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
import urllib.request
from pathlib import Path
from typing import Final

import pytest

ROOT: Final = Path(__file__).resolve().parents[2]
START_S: Final = 240.0
WANTED: Final = "TTCHAT_TEST_REMOTE"
"""Set by `make test-remote`; without it these tests are skipped."""


class RealServer:
    """One server process; it can be killed and started again on its port."""

    def __init__(self, name: str, command: list[str], log: Path, model: str) -> None:
        """`{port}` in `command` is replaced."""
        self.name = name
        self.model = model
        self.port = _free_port()
        self.base_url = f"http://127.0.0.1:{self.port}/v1"
        self._command = [part.format(port=self.port) for part in command]
        self._log = log
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it and wait until it lists its models."""
        cache = self._log.with_name("huggingface")
        (cache / "hub").mkdir(
            parents=True, exist_ok=True
        )  # without it transformers serve fails to list its models
        environ = os.environ | {
            "HF_HOME": str(cache),
            "HF_HUB_OFFLINE": "1",
            "OMP_NUM_THREADS": "2",
            "VLLM_CPU_KVCACHE_SPACE": "1",
        }
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                self._command, stdout=log, stderr=log, stdin=subprocess.DEVNULL, env=environ
            )
        deadline_s = time.monotonic() + START_S
        while time.monotonic() < deadline_s:
            if self._process.poll() is not None:
                break
            try:
                with urllib.request.urlopen(f"{self.base_url}/models", timeout=5):
                    return
            except OSError:
                time.sleep(0.2)
        self.stop()
        raise AssertionError(f"{self.name} did not start:\n{self._log.read_text()[-2000:]}")

    def kill(self) -> None:
        """Kill it, as a power loss would."""
        assert self._process is not None
        self._process.send_signal(signal.SIGKILL)
        self._process.wait()

    def stop(self) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.wait()


def python_of(venv: str) -> str:
    """The interpreter of `.venv-remote-…`; skips, and says why, where that venv is not there."""
    if not os.environ.get(WANTED):
        pytest.skip("real servers are started by make test-remote")
    python = ROOT / venv / "bin" / "python"
    if not python.exists():
        pytest.skip(f"{venv} is not there: its server could not be installed")
    return str(python)


def _free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port: int = one.getsockname()[1]
        return port
