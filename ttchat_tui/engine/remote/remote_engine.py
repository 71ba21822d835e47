"""The remote engine: `Engine` over an OpenAI-compatible server.

Runs on the engine thread of the app's own process; every exchange has a thread of its own (see `exchange`).
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Final

import httpx
import msgspec

from ttchat_tui.domain.chat import ChatMessage
from ttchat_tui.domain.events import GenerationEvent, LoadProgress, PromptCounted
from ttchat_tui.domain.generation import GenerationControl, GenerationRequest
from ttchat_tui.domain.model_spec import Capabilities, EngineInfo, ModelSpec
from ttchat_tui.engine.base import EngineError, ModelLoadError, ProgressReporter, not_loaded, refusal
from ttchat_tui.engine.remote.caller import Caller
from ttchat_tui.engine.remote.endpoint import USUAL_PORTS, Endpoint, api_key, usual_places, wanted
from ttchat_tui.engine.remote.errors import model_missing
from ttchat_tui.engine.remote.served import ServedReplies
from ttchat_tui.engine.remote.survey import Survey, context_of, list_models, survey

_PROBE_TIMEOUT_S: Final = 1.0
_WRONG_PLACE: Final = frozenset({"endpoint_not_found", "endpoint_protocol"})


class RemoteEngine:
    """An `Engine`. Holds no model: `unload` forgets the server."""

    def __init__(
        self, environ: Mapping[str, str] | None = None, transport: httpx.BaseTransport | None = None
    ) -> None:
        """`environ` holds the keys; `transport` is for tests."""
        self._environ = os.environ if environ is None else environ
        self._transport = transport
        self._caller: Caller | None = None
        self._replies: ServedReplies | None = None

    def load(self, spec: ModelSpec, report: ProgressReporter) -> EngineInfo:
        self.unload()
        started_s = time.perf_counter()
        want = wanted(spec.path or spec.name, spec.remote)
        report(LoadProgress(phase="start", detail=want.endpoint.name if want.endpoint else "this machine"))
        endpoint = want.endpoint or self._found(spec, report)
        caller = self._new_caller(endpoint, spec)
        try:
            caller, info = self._connect(caller, want.model, spec, report)
        except BaseException:
            caller.close()
            raise
        self._caller = caller
        took_s = time.perf_counter() - started_s
        return msgspec.structs.replace(info, load_s=took_s)

    def count(self, count_id: int, messages: Sequence[ChatMessage]) -> PromptCounted:
        if self._replies is None:
            raise not_loaded()
        return self._replies.count(count_id, messages)

    def generate(self, request: GenerationRequest, control: GenerationControl) -> Iterator[GenerationEvent]:
        if self._replies is None:
            yield refusal(request, not_loaded().info)
            return
        yield from self._replies.generate(request, control)

    def unload(self) -> None:
        self._replies = None
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
            connect_timeout_s=spec.remote.connect_timeout_s,
            transport=self._transport,
        )

    def _found(self, spec: ModelSpec, report: ProgressReporter) -> Endpoint:
        """The first of this machine's usual ports where a server gives a list of models.

        Raises:
            ModelLoadError: kind `no_endpoint`.
        """
        for endpoint in usual_places():
            progress = LoadProgress(phase="start", detail=f"is there a server at {endpoint.name}?")
            caller = self._new_caller(endpoint, spec)
            try:
                caller.ask(caller.url("/models"), timeout_s=_PROBE_TIMEOUT_S, tick=lambda: report(progress))  # noqa: B023
                list_models(caller, lambda: report(progress))  # noqa: B023
            except EngineError as error:
                if error.info.kind == "load_cancelled":
                    raise
            else:
                report(LoadProgress(phase="start", detail=f"found a server at {endpoint.name}"))
                return endpoint
            finally:
                caller.close()
        ports = ", ".join(map(str, USUAL_PORTS))
        raise ModelLoadError(
            f"No server was named, and none answers on this machine's ports {ports}.",
            cure="Start one (`tt serve`, `vllm serve`), or name it: --base-url http://HOST:PORT/v1.",
            kind="no_endpoint",
        )

    def _connect(
        self, caller: Caller, model: str, spec: ModelSpec, report: ProgressReporter
    ) -> tuple[Caller, EngineInfo]:
        """What the server is and has; the caller's base gets its `/v1` where that was forgotten."""
        progress = LoadProgress(phase="start", detail=f"{caller.endpoint.name}: which models are there?")
        caller, found, notes = self._surveyed(caller, spec, lambda: report(progress))
        endpoint, known = caller.endpoint, [each.id for each in found.models]
        chosen = _chosen(model, found, endpoint)
        context = context_of(caller, found, chosen, lambda: report(progress))
        if spec.context_length:
            context = min(context, spec.context_length) if context else spec.context_length
        batch_sizes = _batch_sizes(found)
        self._replies = ServedReplies(
            caller,
            found.dialect,
            chosen,
            context_length=context,
            options=spec.remote,
            batch_sizes=batch_sizes,
            known_models=known,
        )
        if not context:
            notes += (
                "The server does not tell how long its context is: nothing is left out before it refuses.",
            )
        info = EngineInfo(
            model=chosen,
            engine="remote",
            label=f"remote {found.dialect.name} @ {endpoint.name}",
            context_length=context,
            vocab_size=0,
            load_s=0.0,
            capabilities=Capabilities(
                sampling=frozenset({*found.dialect.fields, "stop"}),
                live_sampling=False,
                logprobs=found.dialect.logprobs and spec.remote.logprobs,
                batch_sizes=batch_sizes,
            ),
            parameters=next((each.parameters for each in found.models if each.id == chosen), 0),
            endpoint=endpoint.name,
            served=tuple(endpoint.model_name(each) for each in known),
            notes=notes,
        )
        return caller, info

    def _surveyed(
        self, caller: Caller, spec: ModelSpec, tick: Callable[[], None]
    ) -> tuple[Caller, Survey, tuple[str, ...]]:
        try:
            return caller, survey(caller, tick), ()
        except EngineError as error:
            endpoint = caller.endpoint
            if error.info.kind not in _WRONG_PLACE or endpoint.base_url.endswith("/v1"):
                raise
            longer = msgspec.structs.replace(endpoint, base_url=f"{endpoint.base_url}/v1")
            other = self._new_caller(longer, spec)
            try:
                found = survey(other, tick)
            except EngineError as second:
                other.close()
                if second.info.kind in _WRONG_PLACE:
                    raise error from second
                raise
            caller.close()
            return other, found, (f"The API is at {longer.base_url}: /v1 was missing from the base URL.",)


def _chosen(model: str, found: Survey, endpoint: Endpoint) -> str:
    """The id to ask for.

    Raises:
        EngineError: kind `model_missing`.
    """
    known = [each.id for each in found.models]
    if model in known or (model and (found.dialect.is_loading_on_demand or not known)):
        return model
    if model:  # a file's name stands for its path, as llama.cpp's servers list it
        ends = [each for each in known if each.rpartition("/")[2] == model or each.partition(":")[0] == model]
        if len(ends) == 1:
            return ends[0]
        raise model_missing(model, known, endpoint)
    if not known:
        raise ModelLoadError(
            f"{endpoint.name} lists no models.", cure="Name one: --model ID.", kind="model_missing"
        )
    return known[0]


def _batch_sizes(found: Survey) -> tuple[int, ...]:
    return tuple(range(1, max(found.dialect.most_rows, min(found.slots, 8)) + 1))
