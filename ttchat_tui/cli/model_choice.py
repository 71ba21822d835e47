"""The model to load first, and the check of its name."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import msgspec

from ttchat_tui.cli import engine_choice
from ttchat_tui.config.schema import Config
from ttchat_tui.domain.model_spec import EngineKind
from ttchat_tui.engine.factory import ENGINES
from ttchat_tui.models.choice import DEFAULT, ModelChoice, choose_model, split_kind
from ttchat_tui.models.errors import ModelError, ModelNameError

_LOCAL: Final = "ttchat_tui.models.local"
"""Imported by name: it reads the catalog, which would delay the first frame of a start without arguments."""


def first_model(
    config: Config, environ: Mapping[str, str], *, flag: str = "", last_used: str = ""
) -> ModelChoice:
    """The model to load first. If an engine is chosen, it is one of that engine's."""
    chosen = None if config.model.engine == "auto" else config.model.engine
    has_own_names = chosen is not None and _has_own_names(chosen)
    if chosen is not None and _has_own_names(split_kind(last_used, ENGINES)[0]) != has_own_names:
        last_used = ""
    environ = {name: value for name, value in environ.items() if name != "HF_MODEL" or not has_own_names}
    if chosen == "remote" and config.remote.base_url:
        last_used = ""  # a server that was just named may not have that model
    choice = choose_model(
        flag=flag,
        environ=environ,
        configured=config.model.name,
        last_used=last_used,
        default=f"{chosen}:" if has_own_names else DEFAULT,
    )
    if has_own_names and split_kind(choice.name, ENGINES)[0] is None:
        return msgspec.structs.replace(choice, name=f"{chosen}:{choice.name}")
    return choice


def kind_of(name: str, config: Config) -> EngineKind:
    """The engine that will load `name`."""
    return split_kind(name, ENGINES)[0] or engine_choice.chosen_kind(config)


def _has_own_names(kind: EngineKind | None) -> bool:
    """Only the engine itself, or its server, knows which models there are."""
    return kind is not None and ENGINES[kind].models == "names"


def require_possible(
    choice: ModelChoice, config: Config, config_file: Path, models_dir: Path, environ: Mapping[str, str]
) -> None:
    """Refuse a name that is no alias, hub id, folder or .gguf file. A remembered name was valid once, and only a server
    knows its own models.

    Raises:
        ModelNameError: with the place that gave the name.
    """
    if choice.place in ("last used", "default") or _has_own_names(kind_of(choice.name, config)):
        return
    try:
        importlib.import_module(_LOCAL).resolve(split_kind(choice.name, ENGINES)[1], models_dir, environ)
    except ModelNameError as error:
        place = f"{config_file}: model.name" if choice.place == "config" else choice.place
        raise error.at(place) from error
    except ModelError:
        pass  # it exists and is broken: the load reports how
