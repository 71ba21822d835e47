"""The input of the decode loop: one request with its prompt as ids."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Final, Protocol

import msgspec

from ttchat_tui.domain.generation import GenerationControl, GenerationRequest
from ttchat_tui.domain.sampling import SamplingParams
from ttchat_tui.engine.decoding.constraint import RowConstraint
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


def row_samplings(
    request: GenerationRequest, control: GenerationControl
) -> list[tuple[int, Callable[[], SamplingParams]]]:
    """Seed and current sampling parameters of each row.

    Row 0 and candidates without parameters of their own follow the control.
    """

    def current(own: SamplingParams | None) -> Callable[[], SamplingParams]:
        return (lambda: control.sampling) if own is None else (lambda: own)

    return [
        (request.seed, current(None)),
        *((each.seed, current(each.sampling)) for each in request.candidates),
    ]
