"""The input of the decode loop: one request with its prompt as ids."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Final, Protocol

import msgspec

from ttchat_tui.domain.generation import GenerationControl, GenerationRequest
from ttchat_tui.domain.reply_settings import differing
from ttchat_tui.domain.sampling import SamplingParams
from ttchat_tui.engine.decoding.constraint import RowConstraint
from ttchat_tui.engine.decoding.passes import NUMPY, Passes
from ttchat_tui.engine.decoding.token_bias import NO_BIAS, TokenBias

PREFILL_CHUNK: Final = 256
"""Prompt tokens between two progress events: two events a second at 500 tokens a second."""


class ReplyText(Protocol):
    """Turns ids into text, up to the first stop string (`text_stream.TextStream`)."""

    @property
    def is_stopped(self) -> bool:
        """A stop string was found."""
        ...

    @property
    def is_whole(self) -> bool:
        """The ids so far end at the end of a character."""
        ...

    def push(self, token_id: int) -> str:
        """The text that this id completes; may be empty."""
        ...

    def save(self) -> object:
        """The state, for `restore`."""
        ...

    def restore(self, state: object) -> None:
        """Go back to a state of `save`, which may be used several times."""
        ...

    def flush(self) -> str:
        """The text held back so far, at the end of the reply."""
        ...


class ReplyJob(msgspec.Struct, frozen=True, kw_only=True):
    """One request for the decode loop."""

    request: GenerationRequest
    control: GenerationControl
    prompt_ids: Sequence[int]
    text_streams: Sequence[ReplyText]
    """One for each row of the request, in order."""
    stop_ids: Collection[int]
    """Ids that end a turn."""
    context_length: int
    clock: Callable[[], float]
    """Monotonic, in seconds."""
    received_s: float
    """When the request arrived, on `clock`."""
    piece_of: Callable[[int], bytes] = lambda _token_id: b""
    """The bytes of a token, or the name of a control token, for the recording."""
    control_texts: Mapping[int, bytes] = {}
    """What each control token adds to the text."""
    constraints: Sequence[RowConstraint | None] = ()
    """One for each row of the request, in order; empty: no row has one."""
    find_bias: Callable[[Mapping[str, float]], tuple[TokenBias, tuple[str, ...]]] = lambda _bias: (
        NO_BIAS,
        (),
    )
    """As `BiasTable.find`."""
    thought_end: Callable[[str], Sequence[int]] = lambda _text: ()
    """The ids with which the chat template ends the thought that is open at the end of the reply's text; none: no thought is
    open."""
    passes: Passes = NUMPY
    """For the sampler."""
    followed: Sequence[int] = ()
    """The tokens to follow, in place of drawn ones. Empty: they are drawn."""
    dropped_messages: int = 0
    template_s: float | None = None
    tokenise_s: float | None = None
    is_first: bool = False
    """As in `Timeline`."""
    prefill_chunk: int = PREFILL_CHUNK

    def now_s(self) -> float:
        """Seconds since the request arrived."""
        return self.clock() - self.received_s


class LiveSampling:
    """Seed and sampling parameters of one row. All follow the control, but a candidate holds those in which it differs from row 0
    at the beginning; of a logit bias of its own, what the user has not changed since."""

    def __init__(self, request: GenerationRequest, control: GenerationControl, number: int) -> None:
        candidate = request.candidates[number - 1] if number else None
        own = candidate and candidate.sampling
        self.seed = request.seed if candidate is None else candidate.seed
        self.begun = own or request.sampling
        """At the beginning."""
        self._control = control
        names = differing([request.sampling, own]) if own is not None else ()
        self._held = {name: getattr(own, name) for name in names}
        self._begun_bias = request.sampling.logit_bias
        self._followed, self._now = request.sampling, self.begun

    @property
    def now(self) -> SamplingParams:
        """For the next token."""
        live = self._control.sampling
        if live is not self._followed:
            self._followed, self._now = live, self._held_over(live)
        return self._now

    def _held_over(self, live: SamplingParams) -> SamplingParams:
        held = self._held
        if "logit_bias" in held:
            begun, bias = self._begun_bias, live.logit_bias
            changed = {text: bias.get(text, 0.0) for text in {*begun, *bias}}
            known = {**held["logit_bias"], **{t: a for t, a in changed.items() if a != begun.get(t, 0.0)}}
            held = {**held, "logit_bias": {text: amount for text, amount in known.items() if amount}}
        return msgspec.structs.replace(live, **held) if held else live
