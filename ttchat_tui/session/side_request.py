"""Side requests: short generations that belong to no conversation, such as a title.

They run one at a time and only while the engine is free. A reply that begins has precedence: the side request is cancelled
in the engine and repeated when the reply has ended. Nothing of it reaches the transcript, the store or the reply's figures.

An engine has one KV cache, and a prompt keeps the longest prefix that it shares with the one before. Messages that begin
with a conversation's own (`OpenConversation.outgoing`) therefore cost the prefill of what they add, and the conversation's
next reply is still prefilled from where it was. Any other messages cost that reply the prefill of its whole prompt. So does
a prompt that no longer fits into the context with what they add: its oldest messages are dropped.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import msgspec
from typing_extensions import assert_never

from ttchat_tui.domain.chat import ChatMessage
from ttchat_tui.domain.errors import ErrorInfo
from ttchat_tui.domain.events import (
    GenerationEvent,
    GenerationFinished,
    GenerationStarted,
    PrefillProgress,
    RequestAdapted,
    Retrying,
    RowFinished,
    StepScores,
    TokenEvent,
)
from ttchat_tui.domain.generation import FinishReason, GenerationControl, GenerationRequest
from ttchat_tui.domain.sampling import SamplingParams
from ttchat_tui.domain.thoughts import OPENING, extract_answer
from ttchat_tui.domain.updates import NOTE, CapabilitiesChanged, Notice, Update
from ttchat_tui.engine.runtime.host import EngineHost
from ttchat_tui.session.candidate_rows import fresh_seed
from ttchat_tui.session.notices import NO_MODEL
from ttchat_tui.storage.errors import StorageError

_CANCELLED = ErrorInfo(kind=NOTE, message="It was cancelled.")


class SideAnswer(msgspec.Struct, frozen=True):
    """What the model wrote, without its thoughts; or why there is no answer."""

    text: str = ""
    is_cut: bool = False
    """It ended at `max_tokens`, or because the context was full."""
    error: ErrorInfo | None = None


@dataclass(eq=False)
class SideRequest:
    """One generation, to be repeated until it has not been cancelled by a reply."""

    what: str
    """What the model writes, for the status line and notices: `title`."""
    messages: tuple[ChatMessage, ...] | Callable[[], tuple[ChatMessage, ...]]
    """Or what makes them each time when it begins; may raise StorageError."""
    sampling: SamplingParams
    """Its `max_tokens` also has to hold the thoughts of a reasoning model."""
    on_end: Callable[[SideAnswer], Sequence[Update]]
    """Called once, with the answer or the error, on the session's thread. The error's notice is shown already."""
    is_enough: Callable[[str], bool] | None = None
    """Whether the answer so far, without thoughts, is all that is wanted: it ends there. None: the model ends it."""
    parts: list[str] = field(default_factory=list[str])
    """The text of the running try so far."""


@dataclass
class _Try:
    request: SideRequest
    id: int
    control: GenerationControl


class SideRequests:
    """The side requests of a session, in order: at most one runs, the others wait."""

    def __init__(self, host: EngineHost, is_free: Callable[[], bool]) -> None:
        """`is_free`: no reply runs."""
        self._host = host
        self._is_free = is_free
        self._waiting: deque[SideRequest] = deque()
        self._running: _Try | None = None

    @property
    def running(self) -> SideRequest | None:
        """The request that the engine works on."""
        return self._running.request if self._running is not None else None

    def ask(self, request: SideRequest) -> list[Update]:
        """Generate as soon as the engine is free. Without a model, and none being loaded, it fails at once."""
        self._waiting.append(request)
        return self.begin_next()

    def cancel(self, request: SideRequest) -> list[Update]:
        """Stop a request that waits or runs. It ends with an error of kind `note`; does nothing if it has ended."""
        if self.running is request:
            self._stop()
        elif request in self._waiting:
            self._waiting.remove(request)
        else:
            return []
        return [*self._end(request, SideAnswer(error=_CANCELLED)), *self.begin_next()]

    def give_way(self) -> None:
        """A reply begins: stop the running request and repeat it later."""
        if self._running is not None:
            self._waiting.appendleft(self._running.request)
            self._stop()

    def begin_next(self) -> list[Update]:
        """Start the oldest waiting request if the engine is free."""
        if self._running is not None or not self._waiting or self._host.is_loading or not self._is_free():
            return []
        request = self._waiting.popleft()
        if self._host.info is None:
            return [*self._end(request, SideAnswer(error=NO_MODEL)), *self.begin_next()]
        try:
            messages = request.messages() if callable(request.messages) else request.messages
        except StorageError as error:  # the conversation has been deleted meanwhile
            return [*self._end(request, SideAnswer(error=error.info)), *self.begin_next()]
        request.parts.clear()
        generation = GenerationRequest(
            id=self._host.new_request_id(),
            messages=messages,
            sampling=request.sampling,
            seed=request.sampling.seed if request.sampling.seed is not None else fresh_seed(),
        )
        self._running = _Try(request, generation.id, self._host.generate(generation))
        return []

    def apply(self, event: GenerationEvent) -> list[Update]:
        """Apply an event of the running request. Events of other requests are ignored."""
        running = self._running
        if running is None or event.request_id != running.id:
            return []
        match event:
            case TokenEvent():
                if event.ends_thought:
                    running.request.parts.insert(0, OPENING)
                running.request.parts.append(event.text)
                return self._end_if_enough(running.request)
            case RequestAdapted(_, notes, capabilities):
                notices = (Notice(ErrorInfo(kind=NOTE, message=note)) for note in notes)
                return [*([CapabilitiesChanged(capabilities)] if capabilities else []), *notices]
            case GenerationFinished():
                return self._finish(running.request, event)
            case GenerationStarted() | PrefillProgress() | Retrying() | RowFinished() | StepScores():
                return []
            case _:
                assert_never(event)

    def _stop(self) -> None:
        """Cancel the running request in the engine. Its later events are ignored."""
        assert self._running is not None
        self._running.control.cancel()
        self._running = None

    def _end_if_enough(self, request: SideRequest) -> list[Update]:
        if request.is_enough is None:
            return []
        answer = extract_answer("".join(request.parts))
        if not request.is_enough(answer):
            return []
        self._stop()
        return self._end(request, SideAnswer(answer.strip()))

    def _finish(self, request: SideRequest, event: GenerationFinished) -> list[Update]:
        self._running = None
        if event.reason == "cancelled":  # not by `_stop`: the model is being unloaded or replaced
            self._waiting.appendleft(request)
            return []
        text = extract_answer("".join((*request.parts, event.text))).strip()
        is_cut = event.reason in ("length", "context")
        error = event.error or (None if text else _no_answer(event.reason))
        return self._end(request, SideAnswer(text, is_cut, error))

    def _end(self, request: SideRequest, answer: SideAnswer) -> list[Update]:
        notices: list[Update] = []
        if (error := answer.error) is not None:
            message = f"The {request.what} was not written. {error.message}"
            notices.append(Notice(msgspec.structs.replace(error, message=message)))
        return [*notices, *request.on_end(answer)]


def _no_answer(reason: FinishReason) -> ErrorInfo:
    if reason == "stop":
        return ErrorInfo(kind="engine_error", message="The model gave an empty answer.", cure="Try again.")
    return ErrorInfo(
        kind="engine_error", message="The model reached the limit of tokens before it gave an answer."
    )
