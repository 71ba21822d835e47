"""Probing of this machine's usual ports, for when no server was named."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

import msgspec

from ttchat_tui.domain.given_settings import setting
from ttchat_tui.engine.base import EngineError, ModelLoadError
from ttchat_tui.engine.served.caller import Caller, Tick, ask_together
from ttchat_tui.engine.served.endpoint import USUAL_PORTS, Endpoint, usual_places
from ttchat_tui.engine.served.survey import has_model, models_of

_TIMEOUT_S: Final = 1.0
_NOBODY: Final = frozenset({"endpoint_refused", "endpoint_unreachable"})


class ProbeResult(msgspec.Struct, frozen=True):
    """The result of a probe that found a server."""

    endpoint: Endpoint
    """The first port's server that lists the requested model, else the first that lists any."""
    elsewhere: tuple[str, ...]
    """Names of the other servers."""
    note: str
    """A sentence that lists all of them with their number of models."""


def probe(
    new_caller: Callable[[Endpoint], Caller],
    tick: Tick,
    model: str = "",
    places: Sequence[Endpoint] | None = None,
) -> ProbeResult:
    """Ask all ports for their models at the same time. No key is sent: any program may be listening.

    Raises:
        ModelLoadError: kind `no_endpoint`; it names what answers at these ports, if anything.
        LoadCancelled: passed on from `tick`.
    """
    found: list[tuple[Endpoint, list[str]]] = []
    others: list[str] = []
    callers = [new_caller(each) for each in (usual_places() if places is None else places)]
    try:
        questions = [(caller, caller.url("/models"), None) for caller in callers]
        answers = ask_together(questions, timeout_s=_TIMEOUT_S, tick=tick)
        for caller, answer in zip(callers, answers, strict=True):
            try:
                if isinstance(answer, EngineError):
                    raise answer
                models = models_of(caller, answer)
                found.append((caller.endpoint, [each.id for each in models]))
            except EngineError as error:
                if error.info.kind not in _NOBODY:
                    others.append(error.info.message)
    finally:
        for caller in callers:
            caller.close()
    if not found:
        raise _none(others)
    listed = ", ".join(f"{each.name} ({_models(len(ids))})" for each, ids in found)
    chosen, _ = min(found, key=lambda each: (not has_model(model, each[1]), not each[1]))
    return ProbeResult(
        endpoint=chosen,
        elsewhere=tuple(each.name for each, _ in found if each is not chosen),
        note=f"Found on this machine: {listed}. Connected to {chosen.name}.",
    )


def _models(count: int) -> str:
    return "1 model" if count == 1 else f"{count or 'no'} models"


def _none(others: Sequence[str]) -> ModelLoadError:
    ports = ", ".join(map(str, USUAL_PORTS))
    named = setting("remote.base_url", '"http://HOST:PORT/v1"')
    return ModelLoadError(
        " ".join([f"No server was named, and none serves models on this machine's ports {ports}.", *others]),
        cure=f"Start one (`tt serve`, `vllm serve`), or name it: {named}.",
        kind="no_endpoint",
    )
