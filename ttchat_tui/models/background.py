"""A download beside the chat: a thread that pulls one model while another one answers."""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping
from pathlib import Path

from ttchat_tui.domain.errors import ErrorInfo
from ttchat_tui.domain.events import LoadProgress
from ttchat_tui.models.catalog import CatalogEntry
from ttchat_tui.models.errors import ModelError
from ttchat_tui.models.fetch import pull

log = logging.getLogger(__name__)


class _Cancelled(Exception):
    """Raised in the thread by the reporter."""


class BackgroundPull:
    """Begins at once. Its attributes may be read from another thread. At the app's end the thread dies with the process; what
    has arrived is kept, and the next pull of the model resumes."""

    def __init__(self, entry: CatalogEntry, models_dir: Path, environ: Mapping[str, str]) -> None:
        self.name = entry.alias
        self.progress = LoadProgress("download", total=entry.size_bytes, unit="bytes")
        self.error: ErrorInfo | None = None
        """Why it failed; None while it runs, when it is done, and after a cancellation."""
        self.is_complete = False
        self._is_cancelled = threading.Event()
        self._thread = threading.Thread(
            target=self._run, args=(entry, models_dir, environ), name="download", daemon=True
        )
        self._thread.start()

    @property
    def is_running(self) -> bool:
        return self._thread.is_alive()

    def cancel(self) -> None:
        """It ends at the next progress report, within seconds."""
        self._is_cancelled.set()

    def _run(self, entry: CatalogEntry, models_dir: Path, environ: Mapping[str, str]) -> None:
        try:
            pull(entry, models_dir, self._report, environ)
            self.is_complete = True
        except _Cancelled:
            pass
        except ModelError as error:
            self.error = error.info
        except Exception as error:  # a thread's error would be lost
            log.exception("the download of %s failed", entry.alias)
            self.error = ErrorInfo(
                kind="download_failed",
                message=f"The download of {entry.alias} failed: {error}.",
                cure=f"`ttchat-tui models pull {entry.alias}` resumes it.",
            )

    def _report(self, progress: LoadProgress) -> None:
        self.progress = progress
        if self._is_cancelled.is_set():
            raise _Cancelled
