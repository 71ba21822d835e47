"""Flags that more than one subcommand has."""

from __future__ import annotations

from enum import Enum
from typing import Annotated, Any, TypeAlias

import typer


class EngineChoice(str, Enum):
    auto = "auto"
    cpu = "cpu"
    tt = "tt"
    remote = "remote"


Engine: TypeAlias = Annotated[EngineChoice | None, typer.Option(help="What runs the model.")]
BaseUrl: TypeAlias = Annotated[
    str | None, typer.Option(help="Server of the remote engine: http://127.0.0.1:8000/v1.")
]


def engine_settings(engine: EngineChoice | None, base_url: str | None) -> dict[str, Any]:
    """The settings that both flags give: the URL of a server asks for the remote engine, and for none of the endpoints in
    the config."""
    found: dict[str, Any] = {}
    if engine or base_url:
        found["model.engine"] = EngineChoice(engine).value if engine else EngineChoice.remote.value
    if base_url is not None:
        found["remote.base_url"] = base_url
    if base_url:
        found["remote.endpoint"] = ""
    return found
