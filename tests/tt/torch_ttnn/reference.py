"""Our float32 CPU engine, following replies of another engine id by id: what it would have said at each position."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from ttchat_tui.domain.events import (
    GenerationEvent,
    GenerationFinished,
    GenerationStarted,
    RowFinished,
    TokenEvent,
)
from ttchat_tui.domain.generation import FinishReason, GenerationControl, GenerationRequest
from ttchat_tui.domain.model_spec import CpuOptions, ModelSpec
from ttchat_tui.domain.sampling import SamplingParams
from ttchat_tui.engine.cpu.loading import load_model
from ttchat_tui.engine.decoding.loop import Stepper
from ttchat_tui.engine.decoding.responder import Responder


class ReplyOnCard(msgspec.Struct, frozen=True):
    """A row of a reply, as its events give it."""

    ids: tuple[int, ...]
    logprobs: tuple[float, ...]
    text: str
    reason: FinishReason
    prompt_tokens: int


def reply_of(events: Iterable[GenerationEvent], row: int = 0) -> ReplyOnCard:
    events = list(events)
    tokens = [event for event in events if isinstance(event, TokenEvent) and event.row == row]
    started = next(event for event in events if isinstance(event, GenerationStarted))
    ends = [event for event in events if isinstance(event, RowFinished) and event.row == row]
    last = events[-1]
    assert isinstance(last, GenerationFinished)
    assert last.error is None, last.error
    return ReplyOnCard(
        ids=tuple(token_id for event in tokens for token_id in event.token_ids),
        logprobs=tuple(value for event in tokens for value in event.logprobs if value is not None),
        text="".join(event.text for event in tokens),
        reason=ends[0].reason if ends else last.reason,
        prompt_tokens=started.prompt_tokens,
    )


class _Following(Stepper):
    """A stepper whose logits leave no choice but the ids to follow. It keeps what the model said."""

    def __init__(self, model: Stepper) -> None:
        self._model = model
        self._ids: Sequence[int] = ()
        self._ends: Collection[int] = ()
        self.said: list[NDArray[np.float32]] = []

    def follow(self, ids: Sequence[int], ends: Collection[int] = ()) -> None:
        """Allow only `ids`, then the likeliest of `ends`; without these every token."""
        self._ids, self._ends = ids, ends

    def cached_prefix(self, ids: Sequence[int]) -> int:
        return self._model.cached_prefix(ids)

    def prefill(self, ids: Sequence[int], report: Callable[[int, int], bool]) -> NDArray[np.float32]:
        self.said = [self._model.prefill(ids, report).copy()]
        return self._forced()

    def step(self, token_id: int) -> NDArray[np.float32]:
        self.said.append(self._model.step(token_id).copy())
        return self._forced()

    def _forced(self) -> NDArray[np.float32]:
        logits = self.said[-1]
        at = len(self.said) - 1
        allowed = [self._ids[at]] if at < len(self._ids) else list(self._ends)
        if not allowed:
            return logits
        forced = np.full_like(logits, -1e9)
        forced[allowed] = logits[allowed]
        return forced


class ReferenceModel:
    """A model in float32, through our CPU engine's forward, template and tokenizer."""

    def __init__(self, folder: Path, context_length: int) -> None:
        options = CpuOptions(precision="fp32", speculation="off", kernel="off", threads=1)
        spec = ModelSpec(
            engine="cpu", name=folder.name, path=str(folder), context_length=context_length, options=options
        )
        model = load_model(spec, lambda progress: None)
        self._stepper = _Following(model.stepper)
        self._ends = sorted(model.tokenizer.end_ids)
        self._responder = Responder(
            tokenizer=model.tokenizer,
            template=model.template,
            context_length=model.context_length,
            stepper=self._stepper,
        )

    def reply(self, request: GenerationRequest) -> ReplyOnCard:
        """Its own reply."""
        self._stepper.follow(())
        return reply_of(self._responder.generate(request, GenerationControl(request.sampling)))

    def follow(self, request: GenerationRequest, reply: ReplyOnCard) -> tuple[list[int], NDArray[np.float32]]:
        """The ids of `reply`, with its end if the model ended it, and the logits before each: float32 [ids, vocab]."""
        ends = self._ends if reply.reason == "stop" else []
        sampling = SamplingParams(temperature=0.0, max_tokens=len(reply.ids) + bool(ends))
        alone = msgspec.structs.replace(request, sampling=sampling, candidates=())
        self._stepper.follow(reply.ids, ends)
        followed = reply_of(self._responder.generate(alone, GenerationControl(sampling)))
        assert followed.prompt_tokens == reply.prompt_tokens, "the prompts differ"
        assert followed.ids == reply.ids, followed
        logits = np.stack(self._stepper.said[: len(reply.ids) + bool(ends)])
        end = [max(ends, key=lambda token_id: logits[-1, token_id])] if ends else []
        return [*reply.ids, *end], logits
