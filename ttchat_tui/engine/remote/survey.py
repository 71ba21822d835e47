"""What a server is and has: asked once, at load. Every question but the first may go unanswered."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, cast

import msgspec

from ttchat_tui.engine.base import EngineError
from ttchat_tui.engine.remote.caller import Answer, Caller
from ttchat_tui.engine.remote.dialects import LLAMA_CPP, OLLAMA, Dialect, Signs, recognise
from ttchat_tui.engine.remote.endpoint import host_of
from ttchat_tui.engine.remote.errors import protocol, refused

LIST_TIMEOUT_S: Final = 15.0
_SIGN_TIMEOUT_S: Final = 3.0

Tick = Callable[[], None]


class ServedModel(msgspec.Struct, frozen=True):
    id: str
    owner: str = ""
    context_length: int = 0
    """0: the list does not tell."""
    parameters: int = 0


class Survey(msgspec.Struct, frozen=True):
    """One server."""

    dialect: Dialect
    models: tuple[ServedModel, ...]
    context_length: int = 0
    """Of all its models, where it tells so; 0 where not."""
    slots: int = 0
    """Requests it works on side by side; 0 where it does not tell."""
    version: str = ""


def list_models(
    caller: Caller, tick: Tick, timeout_s: float = LIST_TIMEOUT_S
) -> tuple[tuple[ServedModel, ...], Answer]:
    """GET /models.

    Raises:
        EngineError: no answer, a refusal, or no list of models.
    """
    answer = caller.ask(caller.url("/models"), timeout_s=timeout_s, tick=tick)
    if not answer.is_good:
        raise refused(answer.status, answer.body, caller.endpoint, has_key=caller.has_key, model="")
    entries = _fields(answer.json()).get("data")
    if not isinstance(entries, list):
        is_page = answer.body.lstrip()[:1] == b"<"
        raise protocol(caller.endpoint, "answers with a web page" if is_page else "gives no list of models")
    models = (_model(_fields(entry)) for entry in cast("list[Any]", entries))
    return tuple(model for model in models if model.id), answer


def survey(caller: Caller, tick: Tick) -> Survey:
    """Ask all that tells one server from another.

    Raises:
        EngineError: as `list_models`.
    """
    models, listed = list_models(caller, tick)
    owners = frozenset(model.owner.lower() for model in models)
    props = version = ollama = openapi = dict[str, Any]()
    if "vllm" in owners:
        version = _asked(caller, "/version", tick)
    else:
        props = _asked(caller, "/props", tick)
        if not props:
            ollama = _asked(caller, "/api/version", tick)
        if not props and not ollama:
            openapi = _asked(caller, "/openapi.json", tick)
            version = _asked(caller, "/version", tick)
    dialect = recognise(
        Signs(
            host=host_of(caller.endpoint.base_url),
            owners=owners,
            server=listed.headers.get("server", ""),
            has_props="default_generation_settings" in props,
            has_ollama_version="version" in ollama,
            has_version="version" in version,
            openapi_title=str(_fields(openapi.get("info")).get("title", "")),
            openapi_paths=frozenset(_fields(openapi.get("paths"))),
        )
    )
    return Survey(
        dialect=dialect,
        models=models,
        context_length=_count(_fields(props.get("default_generation_settings")).get("n_ctx"))
        if dialect is LLAMA_CPP
        else 0,
        slots=_count(props.get("total_slots")),
        version=str((version or ollama).get("version", props.get("build_info", "")))[:40],
    )


def has_model(model: str, known: Sequence[str]) -> bool:
    """Whether a server that lists `known` has the model that a user calls `model`."""
    return bool(model) and (model in known or len(namesakes(model, known)) == 1)


def namesakes(model: str, known: Sequence[str]) -> list[str]:
    """Ids for which `model` stands: a file's name for its path, as llama.cpp's servers list it, a name without its tag,
    as Ollama's users write it."""
    return [each for each in known if each.rpartition("/")[2] == model or each.partition(":")[0] == model]


def context_of(caller: Caller, found: Survey, model: str, tick: Tick) -> int:
    """Tokens of prompt and reply for this model; 0 where the server does not tell."""
    if found.context_length:
        return found.context_length
    if found.dialect is OLLAMA:  # what it really gives a running model, not what the model could take
        running = _asked(caller, "/api/ps", tick).get("models")
        for entry in map(_fields, cast("list[Any]", running) if isinstance(running, list) else []):
            if model in (entry.get("name"), entry.get("model")):
                return _count(entry.get("context_length"))
        return 0
    return next((each.context_length for each in found.models if each.id == model), 0)


def _asked(caller: Caller, path: str, tick: Tick) -> dict[str, Any]:
    """What an address beside `/v1` says; empty where there is none."""
    try:
        return _fields(caller.ask(caller.root_url(path), timeout_s=_SIGN_TIMEOUT_S, tick=tick).json())
    except EngineError as error:
        if error.info.kind == "load_cancelled":
            raise
        return {}


def _model(entry: Mapping[str, Any]) -> ServedModel:
    meta = _fields(entry.get("meta"))
    lengths = (
        entry.get(key) for key in ("max_model_len", "context_length", "context_window", "max_context_length")
    )
    return ServedModel(
        id=str(entry.get("id") or ""),
        owner=str(entry.get("owned_by") or ""),
        context_length=next((_count(length) for length in lengths if _count(length)), 0),
        parameters=_count(meta.get("n_params")),
    )


def _fields(found: Any) -> dict[str, Any]:
    return cast("dict[str, Any]", found) if isinstance(found, dict) else {}


def _count(found: Any) -> int:
    return found if isinstance(found, int) and found > 0 else 0
