"""`ttchat-tui models`: list, search, download, find and remove models."""

from __future__ import annotations

import importlib
import os
import sys
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from ttchat_tui.cli.errors import notify
from ttchat_tui.cli.log_file import open_log
from ttchat_tui.cli.model_choice import first_model, require_possible
from ttchat_tui.cli.progress import ProgressLine
from ttchat_tui.cli.standard_output import write_json, write_line, write_path
from ttchat_tui.cli.tables import OutputChoice, write_aligned
from ttchat_tui.config.load import load_config
from ttchat_tui.config.paths import find_paths
from ttchat_tui.domain.text import visible_line
from ttchat_tui.engine.factory import ENGINES
from ttchat_tui.models import library
from ttchat_tui.models.catalog import catalog
from ttchat_tui.models.choice import split_kind
from ttchat_tui.models.errors import ModelNameError
from ttchat_tui.models.prepare import Preparer
from ttchat_tui.models.weights import size_on_disk

app = typer.Typer(
    help="List, search, download, find and remove models.", no_args_is_help=True, rich_markup_mode=None
)


_HIT: Final = "{size:>9}  {held:<8}  {name}"


@app.command("list")
def list_models(
    here: Annotated[bool, typer.Option("--here", help="Only the models on this machine.")] = False,
    output: OutputChoice = "text",
) -> None:
    """The catalog and what else is on this machine."""
    models_dir = find_paths(os.environ).models_dir
    rows = library.installed(models_dir, os.environ) if here else library.list_models(models_dir, os.environ)
    if output == "json":
        write_json([library.as_json(row) for row in rows])
    else:
        write_aligned(library.TABLE_HEADER, library.table_rows(rows))


@app.command()
def pull(
    context: typer.Context,
    name: Annotated[
        str,
        typer.Argument(
            help="Alias or hub id (org/name, org/name:Q4_K_M, org/name/file.gguf); the default model without one."
        ),
    ] = "",
) -> None:
    """Download a model, or resume a broken download. Does nothing if the model is here."""
    paths = find_paths(os.environ)
    config = load_config(paths, environ=os.environ, file=context.obj)
    open_log(paths, config.log.level)  # the package client's output goes there
    progress = ProgressLine()
    try:
        spec = Preparer(models_dir=paths.models_dir)(_on_this_machine(name or catalog().default), progress)
    finally:
        progress.close()
    size = library.format_size(size_on_disk(Path(spec.path)))
    # Without the path, which stdout shows on the next line.
    where = "" if sys.stderr.isatty() and sys.stdout.isatty() else f" at {spec.path}"
    notify(f"{spec.name} is here: {size}{where}.")
    write_path(Path(spec.path))


@app.command()
def search(
    text: Annotated[str, typer.Argument(help="Words of the name: `qwen3 4b`.")],
    limit: Annotated[
        int, typer.Option("--limit", min=1, max=50, help="The most repositories; each costs a request.")
    ] = 8,
    output: OutputChoice = "text",
) -> None:
    """Search the Hugging Face Hub for .gguf models: name, quantisation, size. `models pull` takes the name."""
    hub_search = importlib.import_module("ttchat_tui.models.hub_search")  # httpx takes 0.1 s to import
    found: list[Any] = []
    for model in hub_search.search(text, os.environ, limit):
        found.append(model)
        if output == "text":  # at once: each repository costs a request
            if len(found) == 1:
                write_line(_HIT.format(size="size", held="weights", name="model"))
            size = library.format_size(model.size_bytes) or "?"
            write_line(_HIT.format(size=size, held=model.quantisation or "?", name=visible_line(model.name)))
    if output == "json":
        write_json(found)
    if not found:
        notify(f"the hub has no .gguf model for {visible_line(text)!r}.")


@app.command()
def path(
    context: typer.Context,
    name: Annotated[
        str,
        typer.Argument(help="Alias, hub id, folder or .gguf file; without one, the model of the settings."),
    ] = "",
) -> None:
    """Print where a model is."""
    paths = find_paths(os.environ)
    if not name:
        config = load_config(paths, environ=os.environ, file=context.obj)
        choice = first_model(config, os.environ)
        require_possible(choice, config, context.obj or paths.config_file, paths.models_dir, os.environ)
        name = choice.name
    write_path(library.model_path(_on_this_machine(name), paths.models_dir, os.environ))


@app.command("rm")
def remove(name: Annotated[str, typer.Argument(help="Alias or hub id.")]) -> None:
    """Delete a pulled model from the cache. Files of your own are never deleted."""
    freed = library.remove(_on_this_machine(name), find_paths(os.environ).models_dir, os.environ)
    write_line(f"Removed {name}: {library.format_size(freed) or 'nothing'} freed.")


def _on_this_machine(name: str) -> str:
    """`name` without the engine before it.

    Raises:
        ModelNameError: for a served model.
    """
    kind, bare = split_kind(name, ENGINES)
    if kind is not None and ENGINES[kind].models == "names":
        raise ModelNameError(
            f"{name} is a server's model: it is not on this machine.",
            cure="`ttchat-tui models list` shows the models of this machine.",
            kind="model_unknown",
        )
    return bare
