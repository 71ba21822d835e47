"""A survey of a server at load: its kind, models and limits. Only GET /models must succeed."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Final, cast

import msgspec

from ttchat_tui.engine.served.caller import Answer, Caller, Tick, ask_together
from ttchat_tui.engine.served.dialects import LLAMA_CPP, OLLAMA, Dialect, ServerSigns, recognise
from ttchat_tui.engine.served.endpoint import host_of
from ttchat_tui.engine.served.errors import protocol_error, status_error
from ttchat_tui.engine.served.loose_json import count_of, object_of

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
"""`type` or `task` of models that do not chat (LM Studio, Together and others)."""
_NO_CHAT: Final = re.compile(
    r"embed|rerank|whisper|dall-e|stable-?diffusion|sdxl|\bflux\b|moderation|gpt-image|imagen|\bveo\b|\bsora\b"
    r"|transcri|(?:^|[-_/])(?:tts|bge|gte|e5|clip|minilm|realtime|parakeet|kokoro)(?:[-_.:]|$)|babbage-002|davinci-002",
    re.IGNORECASE,
)
"""Names of models that do not chat, for lists that hold only names."""

_LISTS: Final = ("data", "models", "result", "results", "items", "model_list")
"""Keys that may hold the list of models."""
_NO_MODELS: Final = frozenset({"error", "errors", "detail", "message"})
"""Keys of an object that are not model names."""
_DEEPEST: Final = 3
_NAMES: Final = ("id", "name", "model", "model_name", "model_id", "slug")
"""Keys that may hold an entry's id."""
_LENGTHS: Final = (
    *("loaded_context_length", "n_ctx", "max_model_len", "max_seq_len"),
    *("context_length", "context_window", "max_context_length"),
)
"""Keys that may hold its context length: first the configured one, then the model's maximum."""


class ServedModel(msgspec.Struct, frozen=True):
    id: str
    owner: str = ""
    context_length: int = 0
    """0: not in the list."""
    parameters: int = 0
    is_chat: bool = True
    """False: by type or name it is for embeddings, images, audio or ranking."""


class Survey(msgspec.Struct, frozen=True):
    """What is known of one server."""

    dialect: Dialect
    models: tuple[ServedModel, ...]
    context_length: int = 0
    """Context length of all its models; 0 if it does not say."""
    slots: int = 0
    """Requests it runs concurrently; 0 if it does not say."""
    template: str = ""
    """The chat template's source; empty if it does not say."""
    version: str = ""


def list_models(
    caller: Caller, tick: Tick, timeout_s: float = LIST_TIMEOUT_S
) -> tuple[tuple[ServedModel, ...], Answer]:
    """The models that GET /models lists.

    Raises:
        EngineError: no answer, a refusal, or no list of models.
    """
    answer = caller.ask(caller.url("/models"), timeout_s=timeout_s, tick=tick)
    return models_of(caller, answer), answer


def models_of(caller: Caller, answer: Answer) -> tuple[ServedModel, ...]:
    """The models listed in a response, each id once.

    Raises:
        EngineError: a refusal, or no list of models.
    """
    if not answer.is_good:
        raise status_error(answer.status, answer.body, caller.endpoint, has_key=caller.has_key, model="")
    entries = _listed(answer.json())
    if entries is None:
        is_page = answer.body.lstrip()[:1] == b"<"
        raise protocol_error(
            caller.endpoint, "answers with a web page" if is_page else "gives no list of models"
        )
    found_once: dict[str, ServedModel] = {}
    for model in map(_model, entries):
        found_once.setdefault(model.id, model)
    return tuple(model for name, model in found_once.items() if name)


def survey(caller: Caller, tick: Tick) -> Survey:
    """Survey the server: models, kind and limits.

    Raises:
        EngineError: as `list_models`.
    """
    models, listed = list_models(caller, tick)
    return signs_of(caller, tick, models, listed.headers.get("server", ""))


def signs_of(caller: Caller, tick: Tick, models: tuple[ServedModel, ...] = (), server: str = "") -> Survey:
    """Survey a server that has listed `models`; `server` is its `Server` header. All requests run at the same time."""
    owners = frozenset(model.owner.lower() for model in models)
    paths = ("/version",) if "vllm" in owners else ("/props", "/api/version", "/openapi.json", "/version")
    found = dict(zip(paths, _asked(caller, paths, tick), strict=True))
    version = found["/version"]
    props, ollama, openapi = (found.get(path, {}) for path in ("/props", "/api/version", "/openapi.json"))
    dialect = recognise(
        ServerSigns(
            host=host_of(caller.endpoint.base_url),
            owners=owners,
            server=server,
            has_props="default_generation_settings" in props,
            has_ollama_version="version" in ollama,
            has_version="version" in version,
            openapi_title=str(object_of(openapi.get("info")).get("title", "")),
            openapi_paths=frozenset(object_of(openapi.get("paths"))),
        )
    )
    return Survey(
        dialect=dialect,
        models=models,
        context_length=count_of(object_of(props.get("default_generation_settings")).get("n_ctx")) or 0
        if dialect is LLAMA_CPP
        else 0,
        slots=count_of(props.get("total_slots")) or 0,
        template=template if isinstance(template := props.get("chat_template"), str) else "",
        version=str((version or ollama).get("version", props.get("build_info", "")))[:40],
    )


def has_model(model: str, known: Sequence[str]) -> bool:
    """Whether `model`, as the user writes it, is among `known`."""
    return bool(model) and (model in known or len(namesakes(model, known)) == 1)


def namesakes(model: str, known: Sequence[str]) -> list[str]:
    """Ids that `model` may stand for: a file's name for the path that llama.cpp lists, a name without its tag for
    Ollama's."""
    return [each for each in known if each.rpartition("/")[2] == model or each.partition(":")[0] == model]


def context_of(caller: Caller, found: Survey, model: str, tick: Tick) -> int:
    """Context length of a model in tokens; 0 if the server does not say."""
    if found.context_length:
        return found.context_length
    if found.dialect is OLLAMA:  # the running model's own, not the maximum
        running = _asked(caller, ["/api/ps"], tick)[0].get("models")
        for entry in map(object_of, cast("list[Any]", running) if isinstance(running, list) else []):
            if model in (entry.get("name"), entry.get("model")):
                return count_of(entry.get("context_length")) or 0
        return 0
    return next((each.context_length for each in found.models if each.id == model), 0)


def _asked(caller: Caller, paths: Sequence[str], tick: Tick) -> list[dict[str, Any]]:
    """The JSON objects at `paths` beside `/v1`; empty ones where there is nothing."""
    questions = [(caller, caller.root_url(path), None) for path in paths]
    answers = ask_together(questions, timeout_s=_SIGN_TIMEOUT_S, tick=tick)
    return [object_of(answer.json()) if isinstance(answer, Answer) else {} for answer in answers]


def _listed(found: object) -> list[Any] | None:
    """The list in a response: an array, the `data` or `models` of an object (nested too), or an object's keys. None if
    there is no list."""
    for depth in range(_DEEPEST + 1):
        if isinstance(found, list):
            return cast("list[Any]", found)
        fields = object_of(found)
        inner = next((fields[key] for key in _LISTS if fields.get(key)), None)
        if inner is None:
            if fields.keys() & set(_LISTS) or fields.get("object") == "list":
                return []
            if fields.get("object") == "model" or (depth and isinstance(fields.get("id"), str)):
                return [fields]
            is_keyed = depth and fields and not fields.keys() & _NO_MODELS
            is_keyed = is_keyed and all(isinstance(each, dict) for each in fields.values())
            return [{"id": name, **fields[name]} for name in fields] if is_keyed else None
        found = inner
    return None


def _model(entry: Any) -> ServedModel:
    fields = object_of(entry) or {"id": entry}
    name = next((each for key in _NAMES if isinstance(each := fields.get(key), str) and each), "")
    inner = (
        object_of(fields.get("top_provider")),
        fields,
        *map(object_of, map(fields.get, ("meta", "parameters"))),
    )
    lengths = (each.get(key) for key in _LENGTHS for each in inner)
    return ServedModel(
        id=name,
        owner=str(fields.get("owned_by") or ""),
        context_length=next((length for each in lengths if (length := count_of(each))), 0),
        parameters=count_of(object_of(fields.get("meta")).get("n_params")) or 0,
        is_chat=_is_chat(fields) and not _NO_CHAT.search(name),
    )


def _is_chat(fields: dict[str, Any]) -> bool:
    """Whether a model may chat, by all that the list says about it."""
    kinds = {str(fields.get(key) or "").lower() for key in ("type", "task", "mode", "pipeline_tag")}
    can: Any = fields.get("capabilities")
    makes: Any = object_of(fields.get("architecture")).get("output_modalities")
    if isinstance(can, list) and len(alone := cast("list[Any]", can)) == 1:
        kinds.add(str(alone[0]).lower())
    is_refused = any(
        object_of(fields.get("capabilities")).get(key) is False
        for key in ("completion_chat", "chat_completion")
    )
    is_silent = isinstance(makes, list) and bool(cast("list[Any]", makes)) and "text" not in makes
    return not (is_refused or is_silent or kinds & _OTHER_KINDS or fields.get("active") is False)
