"""One request to an engine, as a recording."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from msgspec import structs

from ttchat_tui.domain.events import GenerationFinished, GenerationStarted, RowFinished, TokenEvent
from ttchat_tui.domain.generation import GenerationControl, GenerationRequest
from ttchat_tui.domain.given_settings import setting
from ttchat_tui.domain.model_spec import EngineInfo
from ttchat_tui.domain.recording import Recording
from ttchat_tui.engine.base import Engine, EngineError
from ttchat_tui.session.recorder import Recorder


class Recorded(NamedTuple):
    recording: Recording
    prompt_tokens: int


def _ignore(_tokens: int, _prompt_tokens: int) -> None:
    return


def record(
    engine: Engine, request: GenerationRequest, on_token: Callable[[int, int], None] = _ignore, row: int = 0
) -> Recorded:
    """What the engine writes or follows in one row. `on_token` gets the number of tokens so far, and that of
    the prompt, which is the text that is scored.

    Raises:
        EngineError: the request ends with one.
    """
    recorder, control, prompt_tokens = Recorder(), GenerationControl(request.sampling), 0
    for event in engine.generate(request, control):
        if isinstance(event, GenerationStarted):
            prompt_tokens = event.prompt_tokens
        elif isinstance(event, TokenEvent) and event.row == row:
            recorder.add(structs.replace(event, end=None))  # it is no part of a reply
            on_token(len(recorder.recording.tokens), prompt_tokens)
        elif isinstance(event, RowFinished) and event.row == row:
            control.cancel()  # the other rows are not asked for
        elif isinstance(event, GenerationFinished) and event.error is not None:
            raise EngineError(event.error.message, event.error.cure, event.error.kind)
    return Recorded(recorder.recording, prompt_tokens)


def require_following(info: EngineInfo) -> None:
    """Raises EngineError: this engine gives no probabilities of given tokens."""
    if info.endpoint and not info.capabilities.follows:
        raise EngineError(
            f"{info.label} gives the probabilities of what it writes, and none of a given text.",
            "vLLM has them; or use an engine that computes on this machine: --engine cpu.",
            "cannot_follow",
        )
    if not info.capabilities.follows:
        on_host = setting("tt.sampling", '"host"')
        raise EngineError(
            f"{info.label} does not give the probabilities of a given text.",
            "Use an engine that computes on this machine: --engine cpu."
            if info.engine != "tt"
            else f"Let the host sample: {on_host}.",
            "cannot_follow",
        )
