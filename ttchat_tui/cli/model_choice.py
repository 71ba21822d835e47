"""Which model to load first. A name that no model can have is refused."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import msgspec

from ttchat_tui.cli import engine_choice
from ttchat_tui.config.schema import Config
from ttchat_tui.models.choice import DEFAULT, ModelChoice, choose_model, split_kind
from ttchat_tui.models.errors import ModelError, ModelNameError

_LOCAL: Final = "ttchat_tui.models.local"
"""Imported by name: it reads the catalog, which the first frame of a start without arguments need not wait for."""


def first_model(
    config: Config, environ: Mapping[str, str], *, flag: str = "", last_used: str = ""
) -> ModelChoice:
    """The model to load first: one of the chosen engine, if an engine is chosen."""
    is_remote = config.model.engine == "remote"
    if config.model.engine != "auto" and (split_kind(last_used)[0] == "remote") != is_remote:
        last_used = ""
    environ = {name: value for name, value in environ.items() if name != "HF_MODEL" or not is_remote}
    if is_remote and config.remote.base_url:  # a server that was just named need not have the one last used
        last_used = ""
    choice = choose_model(
        flag=flag,
        environ=environ,
        configured=config.model.name,
        last_used=last_used,
        default="remote:" if is_remote else DEFAULT,
    )
    if is_remote and split_kind(choice.name)[0] is None:
        return msgspec.structs.replace(choice, name=f"remote:{choice.name}")
    return choice


def is_served(name: str, config: Config) -> bool:
    """Whether `name` is a server's to know."""
    return (split_kind(name)[0] or engine_choice.chosen_kind(config)) == "remote"


def require_possible(
    choice: ModelChoice, config: Config, config_file: Path, models_dir: Path, environ: Mapping[str, str]
) -> None:
    """Refuse a name that is no alias, hub id, folder or .gguf file. A remembered name was right once, and only its server
    knows a served one.

    Raises:
        ModelNameError: with the place that gave the name.
    """
    if choice.place in ("last used", "default") or is_served(choice.name, config):
        return
    try:
        importlib.import_module(_LOCAL).resolve(split_kind(choice.name)[1], models_dir, environ)
    except ModelNameError as error:
        place = f"{config_file}: model.name" if choice.place == "config" else choice.place
        raise error.at(place) from error
    except ModelError:
        pass  # it exists and is broken: the load reports how
