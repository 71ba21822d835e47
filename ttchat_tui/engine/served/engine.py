"""The served engine: `Engine` over an OpenAI-compatible server.

It runs on the engine thread of the app's own process. Each exchange has a thread of its own (see `exchange`).
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Final

import httpx
import msgspec

from ttchat_tui.domain.chat import ChatMessage
from ttchat_tui.domain.events import GenerationEvent, LoadProgress, ProgressReporter, PromptCounted
from ttchat_tui.domain.generation import GenerationControl, GenerationRequest
from ttchat_tui.domain.model_spec import Capabilities, EngineInfo, ModelSpec, RemoteOptions
from ttchat_tui.domain.sampling import DEFAULTS, SamplingParams, Thinking
from ttchat_tui.engine.base import (
    EngineError,
    LoadCancelled,
    ModelLoadError,
    TokenCounter,
    not_loaded,
    refusal,
)
from ttchat_tui.engine.served.adaptation import Adaptation
from ttchat_tui.engine.served.caller import Caller
from ttchat_tui.engine.served.counting import PromptCounter
from ttchat_tui.engine.served.credentials import api_key, secrets_of
from ttchat_tui.engine.served.endpoint import Endpoint, resolve_target
from ttchat_tui.engine.served.errors import model_missing, tls_required
from ttchat_tui.engine.served.negotiation import ServerQuirks
from ttchat_tui.engine.served.probing import probe
from ttchat_tui.engine.served.responder import ServedResponder
from ttchat_tui.engine.served.route import speaks_tls
from ttchat_tui.engine.served.survey import Survey, context_of, has_model, namesakes, signs_of, survey
from ttchat_tui.engine.text.template_process import variables_of
from ttchat_tui.engine.text.thinking import levels_of

_log = logging.getLogger(__name__)

_WRONG_PLACE: Final = frozenset({"endpoint_not_found", "endpoint_protocol"})
_NO_LIST: Final = frozenset(
    {
        "endpoint_not_found",
        "endpoint_auth",
        "endpoint_unimplemented",
        "endpoint_error",
        "connection_lost",
        "rate_limited",
        "request_refused",
    }
)
"""Errors of GET /models that say nothing about the models. `connection_lost`: mlx_lm.server hangs up if there is no
Hugging Face cache to list."""
_LOADING_WAIT_S: Final = 1.0
"""Pause between two requests to a server that is loading its model."""
_TICK_S: Final = 0.05
_HANDSHAKE_S: Final = 2.0


class ServedEngine:
    """An `Engine` that holds no model itself: `unload` only drops the connection."""

    def __init__(
        self,
        environ: Mapping[str, str] | None = None,
        transport: httpx.BaseTransport | None = None,
        counter_at: Callable[[Path], TokenCounter] | None = None,
    ) -> None:
        """`environ` holds the keys; `transport` replaces the network in tests. `counter_at` opens a local tokenizer to count
        prompts with (see `local_count`) or raises EngineError; None: prompts are not counted locally."""
        self._environ = os.environ if environ is None else environ
        self._transport = transport
        self._counter_at = counter_at
        self._caller: Caller | None = None
        self._responder: ServedResponder | None = None
        self._quirks: dict[tuple[str, str], ServerQuirks] = {}
        """By address and model. Not stored: a server may be a different one tomorrow."""

    def load(self, spec: ModelSpec, report: ProgressReporter) -> EngineInfo:
        self.unload()
        started_s = time.perf_counter()
        want = resolve_target(spec.path or spec.name, spec.options_as(RemoteOptions))
        endpoint, found = want.endpoint, None
        if endpoint is None:
            progress = LoadProgress(phase="start", detail="looking for a server on this machine")
            found = probe(lambda place: self._new_caller(place, spec), lambda: report(progress), want.model)
            endpoint = found.endpoint
        caller = self._new_caller(endpoint, spec)
        try:
            caller, info = self._connect(caller, want.model, spec, report)
        except BaseException:
            caller.close()
            raise
        self._caller = caller
        if found is not None:
            info = msgspec.structs.replace(info, elsewhere=found.elsewhere, notes=(found.note, *info.notes))
        return msgspec.structs.replace(info, load_s=time.perf_counter() - started_s)

    def count(
        self,
        count_id: int,
        messages: Sequence[ChatMessage],
        sampling: SamplingParams = DEFAULTS,
        keep: Collection[int] = (),
    ) -> PromptCounted:
        if self._responder is None:
            raise not_loaded()
        return self._responder.count(count_id, messages, sampling, keep)

    def generate(self, request: GenerationRequest, control: GenerationControl) -> Iterator[GenerationEvent]:
        if self._responder is None:
            yield refusal(request, not_loaded().info)
            return
        yield from self._responder.generate(request, control)

    def unload(self) -> None:
        self._responder = None
        if self._caller is not None:
            self._caller.close()
            self._caller = None

    def close(self) -> None:
        self.unload()

    # -- loading

    def _new_caller(self, endpoint: Endpoint, spec: ModelSpec) -> Caller:
        return Caller(
            endpoint,
            api_key(endpoint, self._environ),
            connect_timeout_s=spec.options_as(RemoteOptions).connect_timeout_s,
            secrets=secrets_of(endpoint, self._environ),
            transport=self._transport,
        )

    def _connect(
        self, caller: Caller, model: str, spec: ModelSpec, report: ProgressReporter
    ) -> tuple[Caller, EngineInfo]:
        """Survey the server and set up the responder. A missing `/v1` is added to the base URL."""
        progress = LoadProgress(phase="start", detail=f"listing the models of {caller.endpoint.name}")
        caller, found, notes = self._surveyed(caller, model, spec, report)
        endpoint, known = caller.endpoint, [each.id for each in found.models]
        chosen = _chosen(model, found, endpoint)
        context = context_of(caller, found, chosen, lambda: report(progress))
        if spec.context_length:
            context = min(context, spec.context_length) if context else spec.context_length
        quirks = self._quirks.setdefault((endpoint.base_url, chosen), ServerQuirks())
        context = quirks.context_length = context or quirks.context_length
        counter = self._local_counter(chosen, endpoint, spec)
        if counter is None:  # nothing finds the ids of a bias
            fields = {name: field for name, field in found.dialect.fields.items() if name != "logit_bias"}
            found = msgspec.structs.replace(
                found, dialect=msgspec.structs.replace(found.dialect, fields=fields)
            )
        capabilities = _capabilities(found, quirks.adaptation, spec.options_as(RemoteOptions))
        self._responder = ServedResponder(
            caller,
            found.dialect,
            chosen,
            PromptCounter(caller, found.dialect, chosen, counter),
            quirks=quirks,
            options=spec.options_as(RemoteOptions),
            capabilities=capabilities,
            known_models=known,
        )
        if not context:
            notes += (
                "The server does not report its context length: nothing is left out before it refuses.",
            )
        info = EngineInfo(
            model=chosen,
            engine="remote",
            label=f"remote {found.dialect.name} @ {endpoint.name}",
            context_length=context,
            vocab_size=0,
            load_s=0.0,
            capabilities=capabilities,
            parameters=next((each.parameters for each in found.models if each.id == chosen), 0),
            endpoint=endpoint.name,
            served=tuple(endpoint.model_name(each) for each in known),
            notes=notes,
        )
        return caller, info

    def _local_counter(self, model: str, endpoint: Endpoint, spec: ModelSpec) -> TokenCounter | None:
        """A local tokenizer for the model; None if there is no usable one."""
        path = spec.tokenizers.get(model.lower(), "")
        if not path and endpoint.is_local and model.startswith("/") and Path(model).exists():
            path = model  # `transformers serve` and others name a model by its path
        if not path or self._counter_at is None:
            return None
        try:
            return self._counter_at(Path(path))
        except EngineError as error:
            _log.info("prompts are not counted on this machine: %s", error)
            return None

    def _surveyed(
        self, caller: Caller, model: str, spec: ModelSpec, report: ProgressReporter
    ) -> tuple[Caller, Survey, tuple[str, ...]]:
        """Survey the server, also at likely neighbouring base URLs. A named model is tried even without a list."""
        progress = LoadProgress(phase="start", detail=f"listing the models of {caller.endpoint.name}")
        first = self._survey(caller, report, progress)
        if isinstance(first, Survey):
            return caller, first, ()
        endpoint = caller.endpoint
        is_cut = first.info.kind == "connection_lost" and endpoint.base_url.startswith("http:")
        if is_cut and not endpoint.proxy_env and speaks_tls(endpoint.base_url, _HANDSHAKE_S):
            raise tls_required(endpoint) from first
        for base_url in _other_bases(endpoint.base_url) if first.info.kind in _WRONG_PLACE else ():
            other = self._new_caller(msgspec.structs.replace(endpoint, base_url=base_url), spec)
            try:
                found = self._survey(other, report, progress)
            except BaseException:
                other.close()
                raise
            if isinstance(found, Survey):
                caller.close()
                missing = base_url.removeprefix(endpoint.base_url.removesuffix("/v1"))
                return other, found, (f"The API is at {base_url}: {missing} was missing from the base URL.",)
            other.close()
            if found.info.kind not in _WRONG_PLACE:
                raise found
        if not model or first.info.kind not in _NO_LIST:
            raise first
        note = f"{endpoint.name} does not list its models: {model} is requested anyway. {first.info.message}"
        return caller, signs_of(caller, lambda: report(progress)), (note,)

    def _survey(
        self, caller: Caller, report: ProgressReporter, progress: LoadProgress
    ) -> Survey | EngineError:
        """Survey one base URL. Waits while the server loads its model, until the user cancels."""
        while True:
            try:
                return survey(caller, partial(report, progress))
            except LoadCancelled:
                raise
            except EngineError as error:
                if error.info.kind != "endpoint_loading":
                    return error
            progress = LoadProgress(
                phase="start", detail=f"{caller.endpoint.name} is still loading its model"
            )
            until_s = time.perf_counter() + _LOADING_WAIT_S
            while time.perf_counter() < until_s:
                report(progress)
                time.sleep(_TICK_S)


def _other_bases(base_url: str) -> tuple[str, ...]:
    """Other base URLs to try: people leave out the API's path or give the usual one."""
    if base_url.endswith("/api/v1"):
        return ()
    if base_url.endswith("/v1"):
        return (f"{base_url.removesuffix('/v1')}/api/v1",)
    if base_url.endswith("/api"):  # Ollama's own API
        return (f"{base_url}/v1", f"{base_url.removesuffix('/api')}/v1")
    return (f"{base_url}/v1", f"{base_url}/api/v1")


def _chosen(model: str, found: Survey, endpoint: Endpoint) -> str:
    """The id to ask for.

    Raises:
        EngineError: kind `model_missing`.
    """
    known = [each.id for each in found.models]
    if model in known or (model and (found.dialect.is_loading_on_demand or not known)):
        return model
    if model:
        if has_model(model, known):
            return namesakes(model, known)[0]
        raise model_missing(model, known, endpoint)
    if not known:
        raise ModelLoadError(
            f"{endpoint.name} has no models yet.",
            cure="Load one there, or name one: remote:ID.",
            kind="model_missing",
        )
    return next((each.id for each in found.models if each.is_chat), known[0])


def _capabilities(found: Survey, adaptation: Adaptation, options: RemoteOptions) -> Capabilities:
    return Capabilities(
        sampling=adaptation.sampling(found.dialect),
        constraints=found.dialect.constraints,
        thinking=_thinking(found, adaptation),
        pause=False,
        forcing=False,
        logprobs=found.dialect.logprobs and options.logprobs and "logprobs" not in adaptation.refused,
        batch_sizes=_batch_sizes(found),
        follows=found.dialect.has_prompt_logprobs,
        continues=found.dialect.continuing is not None,
    )


def _thinking(found: Survey, adaptation: Adaptation) -> tuple[Thinking, ...]:
    """What can be chosen: of what the dialect sends, what the template understands where the server reports it."""
    levels = adaptation.thinking(found.dialect)
    if not found.template:
        return levels
    try:
        understood = levels_of(variables_of(found.template))
    except EngineError as error:
        _log.info("the server's chat template cannot be read: %s", error)
        return levels
    return tuple(level for level in levels if level in understood)


def _batch_sizes(found: Survey) -> tuple[int, ...]:
    return tuple(range(1, max(found.dialect.most_rows, min(found.slots, 8)) + 1))
