"""The rows of the model picker: models on this machine, models of the connected server, other known servers."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from ttchat_tui.domain.model_spec import EngineInfo, RemoteOptions
from ttchat_tui.models.library import ModelRow

REMOTE_PREFIX: Final = "remote:"
"""Prefix of served models: `remote:lab/llama-3`."""
USUAL_PLACES: Final = "a server on this machine"


def offered(
    local: Iterable[ModelRow], info: EngineInfo | None, remote: RemoteOptions
) -> tuple[ModelRow, ...]:
    """The rows, served models first: a user who is connected to a server wants those.

    A server whose models are not listed yet has one row, which loads its first model: each endpoint in the config, others
    that were found on this machine, and if none is connected the default one."""
    served = tuple(_served(info)) if info is not None else ()
    connected = info.endpoint if info is not None else ""
    found = info.elsewhere if info is not None else ()
    rows = [
        ModelRow(name=f"{REMOTE_PREFIX}{name}/", endpoint=name)
        for name in (*found, *remote.endpoints)
        if name != connected
    ]
    if not connected and not remote.endpoint:
        rows.append(ModelRow(name=REMOTE_PREFIX, endpoint=remote.base_url or USUAL_PLACES))
    return (*served, *local, *rows)


def loaded(asked: str, info: EngineInfo | None) -> str:
    """The name of the loaded row. A served model has a row even if the load named only its server."""
    if info is None or not info.endpoint:
        return asked
    own = (f"{REMOTE_PREFIX}{info.endpoint}/{info.model}", f"{REMOTE_PREFIX}{info.model}")
    return next((name for name in info.served if name in own), asked)


def _served(info: EngineInfo) -> Iterator[ModelRow]:
    for name in info.served:
        yield ModelRow(name=name, endpoint=info.endpoint)
