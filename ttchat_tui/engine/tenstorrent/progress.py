"""Load progress from the output of tt_transformers: loguru lines and tqdm bars over layers."""

from __future__ import annotations

import contextlib
import io
import re
import sys
from collections.abc import Callable, Generator
from typing import Any, Final, cast

from ttchat_tui.domain.events import LoadPhase, LoadProgress, ProgressReporter

_BAR: Final = re.compile(r"(\d+)/(\d+) \[")
"""tqdm: `Loading layers:  34%|███▍      | 11/32 [00:05<00:09,  2.2it/s]`."""

LINES: Final[tuple[tuple[str, LoadPhase, str], ...]] = (
    ("Inferring device name", "start", "card"),
    ("Checkpoint directory", "read", "checkpoint"),
    ("Cache directory", "read", "checkpoint"),
    ("Loading checkpoint", "read", "checkpoint"),
    ("Warming up prefill for sequence length", "compile", "prefill"),
    ("Done Compiling Model", "compile", "decode"),
    ("Done Capturing Decode Trace", "compile", "decode trace"),
)
"""Start of a line, phase, detail. From models/tt_transformers, 2025-05 to 2026-06."""


class NativeProgress:
    """Turns native output into `LoadProgress` for `report`. An exception of `report` is kept for `check`.

    A logging sink must not raise into native code, so a cancel waits until the engine's own code runs again.
    """

    def __init__(self, report: Callable[[LoadProgress], None]) -> None:
        self._report = report
        self._raised: BaseException | None = None

    def line(self, text: str) -> None:
        """Handle one line of loguru."""
        text = str(text)  # loguru passes a str subclass with a record attached.
        for beginning, phase, detail in LINES:
            if text.lstrip().startswith(beginning):
                self._send(LoadProgress(phase=phase, detail=detail))
                return

    def bar(self, text: str) -> None:
        """Handle output of tqdm, which may hold several states of its bar."""
        states = _BAR.findall(text)
        if states:
            done, total = states[-1]
            self._send(LoadProgress(phase="convert", done=int(done), total=int(total), unit="layers"))

    def check(self) -> None:
        """Raise the exception that `report` raised since the last call, such as `LoadCancelled`."""
        raised, self._raised = self._raised, None
        if raised is not None:
            raise raised

    def _send(self, progress: LoadProgress) -> None:
        try:
            self._report(progress)
        except Exception as error:  # noqa: BLE001 - raised again by `check`
            self._raised = self._raised or error


class BarStream(io.TextIOBase):
    """Replaces sys.stderr during a load: passes all output on, and bars to `progress`."""

    def __init__(self, underlying: io.TextIOBase, progress: NativeProgress) -> None:
        super().__init__()
        self._underlying = underlying
        self._progress = progress

    def write(self, text: str, /) -> int:
        self._progress.bar(text)
        return self._underlying.write(text)

    def flush(self) -> None:
        self._underlying.flush()

    def fileno(self) -> int:
        return self._underlying.fileno()

    def writable(self) -> bool:
        return True

    def isatty(self) -> bool:
        return False


@contextlib.contextmanager
def native_progress(report: ProgressReporter) -> Generator[NativeProgress, None, None]:
    """Turn loguru's lines and tqdm's bars into load progress during the block. They still reach the log."""
    progress = NativeProgress(report)
    sink: int | None = None
    loguru: Any = sys.modules.get("loguru")
    if loguru is not None:
        sink = loguru.logger.add(progress.line, level="DEBUG", format="{message}")
    stderr = sys.stderr
    sys.stderr = cast("Any", BarStream(cast("Any", stderr), progress))
    try:
        yield progress
    finally:
        sys.stderr = stderr
        if loguru is not None and sink is not None:
            with contextlib.suppress(ValueError):  # Something called logger.remove().
                loguru.logger.remove(sink)
