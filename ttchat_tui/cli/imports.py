"""`ttchat-tui import`: conversations from files of this and other programs."""

from __future__ import annotations

import os
import sys
from typing import Annotated

import typer

from ttchat_tui.cli.errors import DONE, ENGINE_ERROR, notify
from ttchat_tui.cli.progress import ProgressLine
from ttchat_tui.cli.standard_output import write_line
from ttchat_tui.config.paths import find_paths
from ttchat_tui.config.toml_file import require_file
from ttchat_tui.domain.events import LoadProgress
from ttchat_tui.domain.user_paths import expanded
from ttchat_tui.storage.imports.importing import import_files


def import_(
    files: Annotated[list[str], typer.Argument(metavar="FILE...", help="JSON, JSONL, a zip, or logs.db.")],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only report what would be imported.")] = False,
) -> None:
    """Import conversations, with all their branches.

    From our own JSON, from the exports of ChatGPT, Claude, Open WebUI and LM Studio (JSON or zip), from llm's logs.db, and from JSONL in the messages format. What is already there is not imported again. What cannot be read in a file is skipped and named; exit code 1 then.
    """
    for file in files:
        require_file(expanded(file))
    progress = ProgressLine() if sys.stderr.isatty() else None
    database = find_paths(os.environ).database
    try:
        report = import_files(
            database, [expanded(file) for file in files], progress or _silent, is_dry_run=dry_run
        )
    except KeyboardInterrupt:
        if not dry_run:
            notify("stopped; what came in stays, and importing again brings the rest")
        raise
    finally:
        if progress is not None:
            progress.close()
    for note in report.notes:
        notify(note)
    for problem in report.problems:
        notify(f"skipped {problem}")
    if (more := report.skipped - len(report.problems)) > 0:
        notify(f"… and {more:,} more")
    write_line(f"{'Dry run, nothing is changed: ' if dry_run else ''}{report}.")
    raise typer.Exit(ENGINE_ERROR if report.skipped else DONE)


def _silent(progress: LoadProgress) -> None:
    """Without a terminal nobody watches."""
