"""Everything the engine thread says, as one closed family of frozen, tagged structs (they also cross the pipe)."""

from __future__ import annotations

from typing import Literal, TypeAlias

import msgspec

from ttchat_tui.domain.errors import ErrorInfo
from ttchat_tui.domain.generation import FinishReason, GenerationStats
from ttchat_tui.domain.model_spec import Capabilities, EngineInfo

EngineState: TypeAlias = Literal["empty", "loading", "ready", "generating", "unloading", "failed"]

LoadPhase: TypeAlias = Literal["start", "download", "verify", "read", "convert", "compile", "warm up"]


class EngineStateChanged(msgspec.Struct, frozen=True, tag=True):
    """The host moved to another state."""

    state: EngineState
    detail: str = ""


class LoadProgress(msgspec.Struct, frozen=True, tag=True):
    """Where a load is. `total` is 0 while it is not known."""

    phase: LoadPhase
    done: int = 0
    total: int = 0
    unit: Literal["bytes", "layers", "tensors", "steps", ""] = ""
    detail: str = ""
    """A few words, for the status line: a file name, a source."""


class EngineLoaded(msgspec.Struct, frozen=True, tag=True):
    info: EngineInfo


WhatWasLoaded: TypeAlias = Literal["none", "kept", "reloading"]
"""What becomes of the model that was loaded before a load that failed. none: there is none now, the host is in state
`failed` (`empty` after a cancelled load) · kept: it was never touched · reloading: it is being loaded again."""


class EngineFailed(msgspec.Struct, frozen=True, tag=True):
    """A load failed or was cancelled (kind `load_cancelled`), or the engine died outside a reply."""

    error: ErrorInfo
    before: WhatWasLoaded = "none"


class GenerationStarted(msgspec.Struct, frozen=True, tag=True):
    """The prompt is built; prefill begins. Comes again, before the first token, where a server refused the prompt as too
    long and gets a shorter one."""

    request_id: int
    prompt_tokens: int
    cached_tokens: int
    context_length: int
    dropped_messages: int = 0
    """Oldest messages left out because they did not fit."""
    time_s: float | None = None
    """When prefill began: seconds from the engine's receipt of the request. None from an engine that cannot say."""
    is_estimate: bool = False
    """`prompt_tokens` is a guess from the length of the text; the figures at the end may know better."""
    is_by_pieces: bool = False
    """The reply comes over a network, in pieces of which nobody says how many tokens they are before the end."""


class PrefillProgress(msgspec.Struct, frozen=True, tag=True):
    request_id: int
    done: int
    """Prompt tokens in the KV cache so far, cached ones included."""
    total: int
    time_s: float | None = None
    """Seconds from the engine's receipt of the request. None from an engine that cannot say."""


class Retrying(msgspec.Struct, frozen=True, tag=True):
    """A server could not take the request. It is sent again by itself, in `wait_s` seconds or (0) now; only before the
    first token."""

    request_id: int
    reason: str
    """A clause: `lab is busy (429)`."""
    wait_s: float
    attempt: int
    """Number of the coming try: 2 after the first one failed."""
    attempts: int
    """Tries in all, if none of them succeeds."""
    row: int = 0


class RequestAdapted(msgspec.Struct, frozen=True, tag=True):
    """A server refused a part of the request, which was sent again at once as it takes it; only before the first token."""

    request_id: int
    notes: tuple[str, ...]
    """Sentences for the user: what is sent otherwise from here on. Each is said once for a model."""
    capabilities: Capabilities
    """Of the engine from here on."""


class TokenEvent(msgspec.Struct, frozen=True, tag=True):
    """One or more tokens, in order, with the text that became certain through them."""

    request_id: int
    token_ids: tuple[int, ...]
    """Empty from a server that sends text only."""
    text: str
    """May be empty: half a character, or the beginning of what may be a stop string, is held back."""
    times_s: tuple[float, ...]
    """One for each token (for each piece of text where a server does not say how many tokens it is): seconds from the
    engine's receipt of the request."""
    logprobs: tuple[float, ...] = ()
    """Natural log of each token's probability before truncation and temperature, where the engine gives it."""
    drafted: tuple[bool, ...] = ()
    """For each time whether that token came out of the same forward as the one before it (speculation guessed it);
    empty where none did."""
    row: int = 0
    """Which reply of a batch; 0 where the request has no candidates."""
    ends_thought: bool = False
    """In `text` a thought ends that began with the reply: its opening tag (`thoughts.OPENING`) belongs before all of it."""


class RowFinished(msgspec.Struct, frozen=True, tag=True):
    """One row of a batch is over; the others may go on. Comes once for each row, row 0 too, before the batch's
    `GenerationFinished` (rows that a cancel or an error ended included), unless the prompt was refused or the engine
    died. Requests without candidates have none."""

    request_id: int
    row: int
    reason: FinishReason
    stats: GenerationStats
    """Of this row alone."""
    text: str = ""
    """Text that was still held back and belongs to this row's reply."""
    error: ErrorInfo | None = None
    """With reason `error`."""


class GenerationFinished(msgspec.Struct, frozen=True, tag=True):
    """The last event of every request, whatever happened.

    Of a batch: the reason is `error` or `cancelled` if that ended any row, else row 0's; the stats are the batch's;
    there is no text, each row's came with its `RowFinished`.
    """

    request_id: int
    reason: FinishReason
    stats: GenerationStats = GenerationStats()
    """The engine's figures; without any if it died or could not begin: see `Meter.observe`."""
    text: str = ""
    """The end of the reply, which was held back until now."""
    error: ErrorInfo | None = None
    """With reason `error`. Kind `prompt_too_long` means that nothing was generated and nothing should be kept."""


class PromptCounted(msgspec.Struct, frozen=True, tag=True):
    """The answer to a count: what a prompt would cost, before it is sent."""

    count_id: int
    prompt_tokens: int
    context_length: int
    dropped_messages: int = 0
    """How many of the oldest messages would not fit."""
    is_estimate: bool = False
    """`prompt_tokens` is a guess from the length of the text: nobody could count."""


GenerationEvent: TypeAlias = (
    GenerationStarted
    | PrefillProgress
    | Retrying
    | RequestAdapted
    | TokenEvent
    | RowFinished
    | GenerationFinished
)
EngineEvent: TypeAlias = (
    EngineStateChanged | LoadProgress | EngineLoaded | EngineFailed | GenerationEvent | PromptCounted
)
