"""`ttchat-tui doctor` and `ttchat-tui paths`."""

from __future__ import annotations

import os

import typer

from ttchat_tui.cli.doctor.checks import all_checks
from ttchat_tui.cli.errors import DONE, ENGINE_ERROR
from ttchat_tui.cli.standard_output import write_json, write_line
from ttchat_tui.cli.tables import OldJson, OutputChoice
from ttchat_tui.config.paths import find_paths
from ttchat_tui.engine.doctor import Verdict
from ttchat_tui.storage.backups import backup_folder

MARKS: dict[Verdict, str] = {"ok": "✓", "note": "!", "wrong": "✗"}


def doctor(context: typer.Context, output: OutputChoice = "text", as_json: OldJson = False) -> None:
    """Report what is installed, what is missing, and what to run. Exits with 1 if something needed is missing."""
    found = find_paths(os.environ)
    checks = list(all_checks(found, context.obj))
    is_ok = all(check.verdict != "wrong" for check in checks)
    if as_json or output == "json":
        write_json({"ok": is_ok, "checks": checks})
    else:
        width = max(len(check.subject) for check in checks)
        for check in checks:
            write_line(f"{MARKS[check.verdict]} {check.subject:<{width}}  {check.fact}")
            if check.cure:
                write_line(f"  {'':<{width}}  → {check.cure}")
    raise typer.Exit(DONE if is_ok else ENGINE_ERROR)


def paths(context: typer.Context, output: OutputChoice = "text", as_json: OldJson = False) -> None:
    """Print where config, conversations, models and logs are."""
    found = find_paths(os.environ)
    named = {
        "config": context.obj or found.config_file,
        "themes": found.themes_dir,
        "prompts": found.prompts_dir,
        "presets": found.presets_dir,
        "conversations": found.database,
        "backups": backup_folder(found.database),
        "exports": found.exports_dir,
        "models": found.models_dir,
        "log": found.log_file,
        "engine log": found.engine_log_file,
        "state": found.ui_state_file,
    }
    if as_json or output == "json":
        write_json({name: str(path) for name, path in named.items()})
        return
    for name, path in named.items():
        write_line(f"{name:<14} {path}")
