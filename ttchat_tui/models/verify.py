"""Hashes to verify a file: SHA-256 with progress, and git's blob id."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Final

from ttchat_tui.domain.events import LoadPhase, LoadProgress, ProgressReporter

CHUNK: Final = 1 << 20
REPORT_EVERY_S: Final = 0.1


class ByteProgress:
    """Reports bytes done, at most ten times a second."""

    def __init__(self, report: ProgressReporter, phase: LoadPhase, total: int, detail: str) -> None:
        self._report = report
        self._phase: LoadPhase = phase
        self._total = total
        self._detail = detail
        self._next = 0.0

    def at(self, done: int) -> None:
        """`done`: bytes so far. The first and the last call are always reported."""
        now = time.monotonic()
        if now >= self._next or done >= self._total > 0:
            self._next = now + REPORT_EVERY_S
            self._report(
                LoadProgress(self._phase, done=done, total=self._total, unit="bytes", detail=self._detail)
            )


def chunks(file: IO[bytes]) -> Iterator[bytes]:
    """The rest of `file`, a megabyte at a time."""
    while chunk := file.read(CHUNK):
        yield chunk


def sha256_of(path: Path, report: ProgressReporter) -> str:
    """SHA-256 of a file in hex, reported as phase `verify`."""
    digest = hashlib.sha256()
    progress = ByteProgress(report, "verify", path.stat().st_size, path.name)
    done = 0
    with path.open("rb") as file:
        for chunk in chunks(file):
            digest.update(chunk)
            done += len(chunk)
            progress.at(done)
    return digest.hexdigest()


def git_blob_id(path: Path) -> str:
    """The id git gives a small file: SHA-1 of `blob <size>\\0` and the content. The hub lists it."""
    content = path.read_bytes()
    return hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()
