"""Which servers listen at the usual ports of this machine: where one looks when none was named."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

import msgspec

from ttchat_tui.engine.base import EngineError, ModelLoadError
from ttchat_tui.engine.remote.caller import Caller
from ttchat_tui.engine.remote.endpoint import USUAL_PORTS, Endpoint, usual_places
from ttchat_tui.engine.remote.survey import Tick, list_models

_TIMEOUT_S: Final = 1.0
_NOBODY: Final = frozenset({"endpoint_refused", "endpoint_unreachable"})


class Probed(msgspec.Struct, frozen=True):
    """What was found: at least one server."""

    endpoint: Endpoint
    """The first that lists its models, in the order of the ports."""
    elsewhere: tuple[str, ...]
    """Names of the others."""
    note: str
    """All of them, with how many models each has."""


def probe(
    new_caller: Callable[[Endpoint], Caller], tick: Tick, places: Sequence[Endpoint] | None = None
) -> Probed:
    """Ask every place for its models. No key goes there: nobody has said who listens.

    Raises:
        ModelLoadError: kind `no_endpoint`, with what does answer at these ports, if anything.
        LoadCancelled: passed on from `tick`.
    """
    found: list[tuple[Endpoint, int]] = []
    others: list[str] = []
    for endpoint in usual_places() if places is None else places:
        caller = new_caller(endpoint)
        try:
            models, _ = list_models(caller, tick, _TIMEOUT_S)
            found.append((endpoint, len(models)))
        except EngineError as error:
            if error.info.kind == "load_cancelled":
                raise
            if error.info.kind not in _NOBODY:
                others.append(error.info.message)
        finally:
            caller.close()
    if not found:
        raise _none(others)
    listed = ", ".join(f"{each.name} ({_models(count)})" for each, count in found)
    return Probed(
        endpoint=found[0][0],
        elsewhere=tuple(each.name for each, _ in found[1:]),
        note=f"Found on this machine: {listed}. Connected to {found[0][0].name}.",
    )


def _models(count: int) -> str:
    return "1 model" if count == 1 else f"{count} models"


def _none(others: Sequence[str]) -> ModelLoadError:
    ports = ", ".join(map(str, USUAL_PORTS))
    return ModelLoadError(
        " ".join([f"No server was named, and none gives models at this machine's ports {ports}.", *others]),
        cure="Start one (`tt serve`, `vllm serve`), or name it: --base-url http://HOST:PORT/v1.",
        kind="no_endpoint",
    )
