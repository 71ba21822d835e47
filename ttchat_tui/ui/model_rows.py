"""The rows of the model picker: what is on this machine, what the endpoint in use serves, which endpoints are known."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from ttchat_tui.domain.model_spec import EngineInfo, RemoteOptions
from ttchat_tui.models.library import ModelRow

REMOTE_PREFIX: Final = "remote:"
"""Before the name of a model that a server runs: `remote:lab/llama-3`."""
USUAL_PLACES: Final = "this machine"


def offered(
    local: Iterable[ModelRow], info: EngineInfo | None, remote: RemoteOptions
) -> tuple[ModelRow, ...]:
    """Served models first: who is connected to a server came for them. A server whose models are not listed yet has one
    row, which loads the first model that it serves: each endpoint of the config, others that were found on this machine,
    and where none is connected the one that no name is needed for."""
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
    """The name of the row that is loaded: a served model has its own, also where a load named only its server."""
    if info is None or not info.endpoint:
        return asked
    own = (f"{REMOTE_PREFIX}{info.endpoint}/{info.model}", f"{REMOTE_PREFIX}{info.model}")
    return next((name for name in info.served if name in own), asked)


def _served(info: EngineInfo) -> Iterator[ModelRow]:
    for name in info.served:
        yield ModelRow(name=name, endpoint=info.endpoint)
