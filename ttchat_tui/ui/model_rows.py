"""The rows of the model picker: what is on this machine, what the endpoint in use serves, which endpoints are known."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from ttchat_tui.domain.model_spec import EngineInfo
from ttchat_tui.models.library import ModelRow

REMOTE_PREFIX: Final = "remote:"
"""Before the name of a model that a server runs: `remote:lab/llama-3`."""


def offered(
    local: Iterable[ModelRow], info: EngineInfo | None, endpoints: Iterable[str]
) -> tuple[ModelRow, ...]:
    """Served models first: who is connected to a server came for them. An endpoint of the config whose models are not
    listed yet has one row, which loads the first model that it serves."""
    served = tuple(_served(info)) if info is not None else ()
    connected = info.endpoint if info is not None else ""
    others = (
        ModelRow(name=f"{REMOTE_PREFIX}{name}/", endpoint=name) for name in endpoints if name != connected
    )
    return (*served, *local, *others)


def _served(info: EngineInfo) -> Iterator[ModelRow]:
    for name in info.served:
        yield ModelRow(name=name, endpoint=info.endpoint)
