"""`ttchat-tui models`: what is here, how big, from where; get one, find one, remove one."""

from __future__ import annotations

import os
from typing import Annotated

import typer

from ttchat_tui.cli.progress import ProgressLine
from ttchat_tui.config.paths import find_paths
from ttchat_tui.models import library
from ttchat_tui.models.catalog import catalog
from ttchat_tui.models.prepare import Preparer

app = typer.Typer(help="List, get, find and remove models.", no_args_is_help=True, rich_markup_mode=None)

Name = Annotated[str, typer.Argument(help="Alias, hub id, folder or .gguf file.")]


@app.command("list")
def list_models(
    here: Annotated[bool, typer.Option("--here", help="Only the models on this machine.")] = False,
) -> None:
    """The catalog and what else is on this machine."""
    models_dir = find_paths(os.environ).models_dir
    rows = library.installed(models_dir, os.environ) if here else library.list_models(models_dir, os.environ)
    cells = [library.TABLE_HEADER, *library.table_rows(rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(library.TABLE_HEADER))]
    for row in cells:
        typer.echo("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


@app.command()
def pull(
    name: Annotated[str, typer.Argument(help="Alias or hub id; the default model without one.")] = "",
) -> None:
    """Get a model, or go on where a broken transfer ended; nothing happens when it is here."""
    progress = ProgressLine()
    try:
        spec = Preparer(models_dir=find_paths(os.environ).models_dir)(name or catalog().default, progress)
    finally:
        progress.close()
    typer.echo(spec.path)


@app.command()
def path(name: Name) -> None:
    """Where a model lies."""
    typer.echo(str(library.model_path(name, find_paths(os.environ).models_dir, os.environ)))


@app.command("rm")
def remove(name: Name) -> None:
    """Delete a pulled model from the cache. Files of your own are never deleted."""
    freed = library.remove(name, find_paths(os.environ).models_dir, os.environ)
    typer.echo(f"Removed {name}: {library.format_size(freed) or 'nothing'} freed.")
