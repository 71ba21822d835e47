"""The dialog for importing conversations: a file, a dry run of it, and the progress."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Final

from textual import on
from textual.app import ComposeResult
from textual.containers import Horizontal
from textual.widgets import Button, Input, Static

from ttchat_tui.domain.errors import AppError
from ttchat_tui.domain.events import LoadProgress, ProgressReporter
from ttchat_tui.domain.imports import ImportReport, ImportStopped
from ttchat_tui.domain.text import visible_line
from ttchat_tui.domain.user_paths import expanded, unquoted
from ttchat_tui.ui.screens.dialog import CLOSES, Dialog, DialogBox
from ttchat_tui.ui.widgets.line_field import LineField

log = logging.getLogger(__name__)

REDRAW_S: Final = 0.25

RunImport = Callable[[Path, ProgressReporter, bool], ImportReport]
"""Imports a file; the last argument makes it a dry run. The reporter may raise ImportStopped. Raises AppError. Called on
another thread."""


class ImportFiles(Dialog[ImportReport]):
    """Result: the report of what was imported. A file that is named from the start is checked at once. Escape stops a running
    import, whose report then says so; a second one leaves it, if its file does not answer."""

    heading = "Import conversations"
    AUTO_FOCUS = "Input"
    help_lines = (
        ("enter", "Check the file; once it is checked, import it"),
        ("esc", "While it imports: stop, and say what was imported"),
    )

    def __init__(self, run: RunImport, typed: str = "") -> None:
        """`typed`: the file, if it is named already."""
        super().__init__()
        self._run = run
        self._typed = typed
        self._progress: LoadProgress | None = None
        self._stop = threading.Event()
        self._is_running = self._is_checking = False
        self._is_wanted = False
        """Enter was pressed while the file was checked."""

    def body(self) -> ComposeResult:
        yield Static(
            "From ttchat-tui's own JSON, the exports of ChatGPT, Claude, Open WebUI and LM Studio (JSON or zip), llm's logs.db, and JSONL in the messages format.",
            classes="about",
        )
        yield LineField(self._typed, placeholder="File", compact=True)
        yield Static("", classes="hint", markup=False)
        with Horizontal(classes="buttons"):
            yield Button("Cancel", id="cancel", compact=True)
            yield Button("Check", id="check", compact=True, tooltip="Report what would be imported.")
            yield Button("Import", id="import", variant="primary", compact=True)

    def on_mount(self) -> None:
        self.set_interval(REDRAW_S, self._draw_progress)
        if self._typed:
            self.call_after_refresh(self._check)  # the fields inside the box may not be mounted yet

    @on(Input.Changed)
    def _file_changed(self) -> None:
        self.query_one("#import", Button).disabled = False

    @on(Input.Submitted)
    @on(Button.Pressed, "#import")
    def _import(self) -> None:
        if self._is_checking:
            self._is_wanted = True  # when the check has ended
        else:
            self._begin(is_dry_run=False)

    @on(Button.Pressed, "#check")
    def _check(self) -> None:
        self._begin(is_dry_run=True)

    def _begin(self, *, is_dry_run: bool) -> None:
        typed = self.query_one(Input).value.strip()
        if not typed or self._is_running:
            self.app.bell()
            return
        self._mark(is_running=True)
        self._is_checking = is_dry_run
        self._say("reading …")
        self.run_worker(self._work(expanded(unquoted(typed)), is_dry_run))

    async def _work(self, file: Path, is_dry_run: bool) -> None:
        try:
            report = await asyncio.to_thread(self._run, file, self._note, is_dry_run)
        except AppError as error:
            self._say(error.info.line)
        except Exception as error:
            log.exception("the import of %s failed", file)
            self._say(
                f"It stopped by an internal error ({type(error).__name__}). The traceback is in the log (/log)."
            )
        else:
            self._show(report, is_dry_run)
        finally:
            self._mark(is_running=False)
            self._is_checking, is_wanted, self._is_wanted = False, self._is_wanted, False
        if is_wanted and self.is_attached and not self._stop.is_set():
            self._begin(is_dry_run=False)

    def _show(self, report: ImportReport, is_dry_run: bool) -> None:
        if report.has_changes and not is_dry_run:
            self.dismiss(report)
        elif report.is_stopped:
            self.dismiss(None)
        else:
            problems = [f"Skipped {each}" for each in report.problems[:3]]
            self._say("\n".join(map(visible_line, [_words(report, is_dry_run), *report.notes, *problems])))
            self.query_one("#import", Button).disabled = is_dry_run and not report.has_changes

    def action_cancel(self) -> None:
        if self._is_running and not self._stop.is_set():
            self._stop.set()
            self._say("stopping …")
        else:
            self.dismiss(None)

    def _note(self, progress: LoadProgress) -> None:
        """On the import's thread."""
        if self._stop.is_set():
            raise ImportStopped
        self._progress = progress

    def _draw_progress(self) -> None:
        progress = self._progress
        if progress is not None and progress.total and not self._stop.is_set():
            self._say(f"{visible_line(progress.detail)}: {100 * progress.done // progress.total} %")

    def _mark(self, *, is_running: bool) -> None:
        self._is_running = is_running
        self._progress = None
        for box in self.query(DialogBox):  # none if the app has quit meanwhile
            box.border_subtitle = "esc stops" if is_running else CLOSES

    def _say(self, text: str) -> None:
        for hint in self.query(".hint").results(Static):
            hint.update(text)

    def on_unmount(self) -> None:
        """Also when the app quits, which waits for the import's thread."""
        self._stop.set()

    @on(Button.Pressed, "#cancel")
    def _cancel(self) -> None:
        self.action_cancel()


def _words(report: ImportReport, is_dry_run: bool) -> str:
    if not is_dry_run:
        return f"{report}."
    return (
        f"Nothing is changed yet. Enter imports it, with this result: {report}."
        if report.has_changes
        else f"Nothing to import: {report}."
    )
