"""What a server is and has: asked once, at load. Every question but the first may go unanswered."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any, Final, cast

import msgspec

from ttchat_tui.engine.remote.caller import Answer, Caller, ask_together
from ttchat_tui.engine.remote.dialects import LLAMA_CPP, OLLAMA, Dialect, Signs, recognise
from ttchat_tui.engine.remote.endpoint import host_of
from ttchat_tui.engine.remote.errors import protocol, refused

LIST_TIMEOUT_S: Final = 15.0
_SIGN_TIMEOUT_S: Final = 3.0

_OTHER_KINDS: Final = frozenset(
    {
        "embedding",
        "embeddings",
        "rerank",
        "reranker",
        "image",
        "audio",
        "moderation",
        "transcribe",
        "transcription",
    }
    | {"tts", "speech", "video", "feature-extraction", "text-to-image", "automatic-speech-recognition"}
)
"""What LM Studio, Together and others call models that do not chat, as their `type` or `task`."""
_NO_CHAT: Final = re.compile(
    r"embed|rerank|whisper|dall-e|stable-?diffusion|sdxl|\bflux\b|moderation|gpt-image|imagen|\bveo\b|\bsora\b"
    r"|transcri|(?:^|[-_/])(?:tts|bge|gte|e5|clip|minilm|realtime|parakeet|kokoro)(?:[-_.:]|$)|babbage-002|davinci-002",
    re.IGNORECASE,
)
"""Names of models that do not chat, where a list tells nothing but names."""

Tick = Callable[[], None]


class ServedModel(msgspec.Struct, frozen=True):
    id: str
    owner: str = ""
    context_length: int = 0
    """0: the list does not tell."""
    parameters: int = 0
    is_chat: bool = True
    """False: by its kind or its name it makes embeddings, pictures or sound, or ranks."""


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
    return models_of(caller, answer), answer


def models_of(caller: Caller, answer: Answer) -> tuple[ServedModel, ...]:
    """The list in an answer: `data` or `models` of an object, or an array; of objects or of names; each id once.

    Raises:
        EngineError: a refusal, or no list of models.
    """
    if not answer.is_good:
        raise refused(answer.status, answer.body, caller.endpoint, has_key=caller.has_key, model="")
    found = answer.json()
    fields = _fields(found)
    is_empty = bool({"data", "models"} & fields.keys()) or fields.get("object") == "list"
    named: object = fields.get("data") or fields.get("models") or ([] if is_empty else None)
    entries: object = named if found is fields else found
    if not isinstance(entries, list):
        is_page = answer.body.lstrip()[:1] == b"<"
        raise protocol(caller.endpoint, "answers with a web page" if is_page else "gives no list of models")
    found_once: dict[str, ServedModel] = {}
    for model in map(_model, cast("list[Any]", entries)):
        found_once.setdefault(model.id, model)
    return tuple(model for name, model in found_once.items() if name)


def survey(caller: Caller, tick: Tick) -> Survey:
    """Ask all that tells one server from another.

    Raises:
        EngineError: as `list_models`.
    """
    models, listed = list_models(caller, tick)
    return signs_of(caller, tick, models, listed.headers.get("server", ""))


def signs_of(caller: Caller, tick: Tick, models: tuple[ServedModel, ...] = (), server: str = "") -> Survey:
    """What a server is that has listed `models`; `server`: its header. All is asked at the same time."""
    owners = frozenset(model.owner.lower() for model in models)
    paths = ("/version",) if "vllm" in owners else ("/props", "/api/version", "/openapi.json", "/version")
    found = dict(zip(paths, _asked(caller, paths, tick), strict=True))
    version = found["/version"]
    props, ollama, openapi = (found.get(path, {}) for path in ("/props", "/api/version", "/openapi.json"))
    dialect = recognise(
        Signs(
            host=host_of(caller.endpoint.base_url),
            owners=owners,
            server=server,
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
        running = _asked(caller, ["/api/ps"], tick)[0].get("models")
        for entry in map(_fields, cast("list[Any]", running) if isinstance(running, list) else []):
            if model in (entry.get("name"), entry.get("model")):
                return _count(entry.get("context_length"))
        return 0
    return next((each.context_length for each in found.models if each.id == model), 0)


def _asked(caller: Caller, paths: Sequence[str], tick: Tick) -> list[dict[str, Any]]:
    """What addresses beside `/v1` say; empty where there is nothing."""
    questions = [(caller, caller.root_url(path), None) for path in paths]
    answers = ask_together(questions, timeout_s=_SIGN_TIMEOUT_S, tick=tick)
    return [_fields(answer.json()) if isinstance(answer, Answer) else {} for answer in answers]


def _model(entry: Any) -> ServedModel:
    if isinstance(entry, str):
        return ServedModel(id=entry, is_chat=not _NO_CHAT.search(entry))
    fields = _fields(entry)
    name = next(
        (each for key in ("id", "name", "model") if isinstance(each := fields.get(key), str) and each), ""
    )
    lengths = (
        fields.get(key) for key in ("max_model_len", "context_length", "context_window", "max_context_length")
    )
    can = _fields(fields.get("capabilities"))
    return ServedModel(
        id=name,
        owner=str(fields.get("owned_by") or ""),
        context_length=next((_count(length) for length in lengths if _count(length)), 0),
        parameters=_count(_fields(fields.get("meta")).get("n_params")),
        is_chat=can.get("completion_chat") is not False
        and str(fields.get("type") or fields.get("task") or "").lower() not in _OTHER_KINDS
        and not _NO_CHAT.search(name),
    )


def _fields(found: Any) -> dict[str, Any]:
    return cast("dict[str, Any]", found) if isinstance(found, dict) else {}


def _count(found: Any) -> int:
    return found if isinstance(found, int) and found > 0 else 0
