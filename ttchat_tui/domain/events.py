"""The events of the engine thread: a closed family of frozen, tagged structs, which also cross the process boundary."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, TypeAlias

import msgspec

from ttchat_tui.domain.errors import ErrorInfo
from ttchat_tui.domain.generation import FinishReason, GenerationStats
from ttchat_tui.domain.model_spec import Capabilities, EngineInfo
from ttchat_tui.domain.recording import BatchChange, Distribution, Pause, RecordedToken, SamplingChange
from ttchat_tui.domain.sampling import SamplingParams
from ttchat_tui.domain.timeline import ColdWork, StepParts

EngineState: TypeAlias = Literal["empty", "loading", "ready", "generating", "unloading", "failed"]

LoadPhase: TypeAlias = Literal["start", "download", "verify", "read", "convert", "compile", "warm up"]


class EngineStateChanged(msgspec.Struct, frozen=True, tag=True):
    """The host has entered another state."""

    state: EngineState
    detail: str = ""


class LoadProgress(msgspec.Struct, frozen=True, tag=True):
    """The progress of a load, or of an import. `total` is 0 while it is unknown."""

    phase: LoadPhase
    done: int = 0
    total: int = 0
    unit: Literal["bytes", "layers", "tensors", "steps", ""] = ""
    detail: str = ""
    """A few words for the status line, such as a file name."""


ProgressReporter: TypeAlias = Callable[[LoadProgress], None]
"""Called between the steps of a download or a load; raises `LoadCancelled` once it is cancelled."""


class EngineLoaded(msgspec.Struct, frozen=True, tag=True):
    info: EngineInfo


PreviousModel: TypeAlias = Literal["none", "kept", "reloading"]
"""The previous model after a failed load. none: no model is loaded, and the host's state is `failed` (`empty` after a
cancelled load) · kept: it is still loaded · reloading: it is being loaded again."""


class EngineFailed(msgspec.Struct, frozen=True, tag=True):
    """A load failed or was cancelled (kind `load_cancelled`), or the engine died between replies."""

    error: ErrorInfo
    previous: PreviousModel = "none"


class GenerationStarted(msgspec.Struct, frozen=True, tag=True):
    """The prompt is built, and prefill begins. Repeated before the first token if a server refuses the prompt as too long
    and is sent a shorter one."""

    request_id: int
    prompt_tokens: int
    cached_tokens: int
    context_length: int
    dropped_messages: int = 0
    """Number of the prompt's messages that did not fit and were left out."""
    time_s: float | None = None
    """Start of prefill, in seconds since the engine received the request. None: the engine does not know."""
    is_estimate: bool = False
    """`prompt_tokens` is estimated from the length of the text. The final figures may be exact."""
    is_chunked: bool = False
    """The reply arrives over a network in chunks, whose number of tokens is unknown before the end."""
    received_at_s: float | None = None
    """When the engine received the request, by `time.perf_counter`, which all processes of a machine share."""
    template_s: float | None = None
    tokenise_s: float | None = None
    is_first: bool = False
    """As in `Timeline`."""
    prompt_ids: tuple[int, ...] = ()
    """The whole prompt, if the request asks for a recording. Empty: the engine does not know its ids."""


class PrefillProgress(msgspec.Struct, frozen=True, tag=True):
    request_id: int
    done: int
    """Prompt tokens in the KV cache so far, reused ones included."""
    total: int
    time_s: float | None = None
    """Seconds since the engine received the request. None: the engine does not know."""
    work: ColdWork = ""
    """Of this chunk."""


class Retrying(msgspec.Struct, frozen=True, tag=True):
    """A server could not serve the request, which is sent again automatically after `wait_s` seconds. Only before the first
    token."""

    request_id: int
    reason: str
    """A clause, such as `lab is busy (429)`."""
    wait_s: float
    attempt: int
    """Number of the next try: 2 after the first one failed."""
    attempts: int
    """The largest number of tries."""
    row: int = 0


class RequestAdapted(msgspec.Struct, frozen=True, tag=True):
    """A server rejected a parameter, and the request was sent again without it, before the first token. Or a part of the
    parameters that were set during a reply has no effect."""

    request_id: int
    notes: tuple[str, ...]
    """Sentences for the user about what is sent differently from now on. Each is reported once per model."""
    capabilities: Capabilities | None = None
    """The engine's capabilities from now on; None: they stay."""


class TokenEvent(msgspec.Struct, frozen=True, tag=True):
    """One or more tokens, in order, and the text that they complete. One without tokens, the last of its row, has what happened
    after them."""

    request_id: int
    token_ids: tuple[int, ...]
    """Empty from a server that sends only text."""
    text: str
    """May be empty: incomplete characters and possible beginnings of a stop string are held back."""
    times_s: tuple[float, ...]
    """One for each token, or for each chunk of a server that does not count tokens: seconds since the engine received the
    request."""
    logprobs: tuple[float | None, ...] = ()
    """Natural logarithm of each token's probability before truncation and temperature, if the engine reports it. None: the
    logits of this one were never seen, as a device drew it."""
    drafted: tuple[bool, ...] = ()
    """For each time whether speculation drafted the token, so that it came from the same forward as the one before it.
    Empty if none was drafted."""
    row: int = 0
    """The row of a batch; 0 without candidates."""
    ends_thought: bool = False
    """A thought that began with this request's text ends in `text`. Its opening tag (`thoughts.OPENING`) belongs before the
    reply; where an answer is continued, the thought is no part of it."""
    distributions: tuple[Distribution | None, ...] = ()
    """For each token what the request's `record` asks for, as far as it is known; empty: nothing is."""
    pieces: dict[int, bytes] = {}
    """The bytes of tokens and alternatives that are in no earlier event of this row. Empty if nothing is recorded."""
    controls: dict[int, bytes] = {}
    """As in `Recording`, of `pieces`."""
    sampling_changes: tuple[SamplingChange, ...] = ()
    """Tokens of this event from which on other parameters applied."""
    pauses: tuple[Pause, ...] = ()
    """Before tokens of this event. No time includes them."""
    batches: tuple[BatchChange, ...] = ()
    """Tokens of this event from which on other rows were decoded together. Empty if nothing is recorded."""
    forced: tuple[bool, ...] = ()
    """For each token whether the user chose it in place of the sampler. Empty if none was chosen."""
    replaces: int | None = None
    """The row's latest token is withdrawn with this many characters at the end of its text; this event's one token, if it has
    one, is in its place and has its time."""
    spent: tuple[StepParts | None, ...] = ()
    """For each token where its time went, if the reply is recorded; empty: nothing is known."""
    end: RecordedToken | None = None
    """An end token that the user chose, which ended the reply after this event's tokens."""
    arrived_s: tuple[float | None, ...] = ()
    """For each time when it came into the app's process, by `time.perf_counter`. The engine thread of the app fills it."""

    @property
    def first_sampling(self) -> SamplingParams | None:
        """The parameters that its first token was drawn with, if they changed before it; None: as before."""
        return next((each.sampling for each in self.sampling_changes if each.at == 0), None)


class StepScores(msgspec.Struct, frozen=True, tag=True):
    """What a token of row 0 was drawn from, all of it, for the sampler's preview. Only while the control asks for it, at most
    `step_feed.EVERY_S` apart: the newest step is always sent in the end. Arrays are little-endian."""

    request_id: int
    at: int
    """The token's place in the request's reply: 0 is the first one. An end token, which is no part of the reply, has one too."""
    token_id: int
    logits: bytes
    """Of the model, float32 [vocab]."""
    seen_ids: bytes
    """Distinct ids of the prompt and of the reply before the token, int32."""
    reply_ids: bytes
    """Distinct ids of the reply before the token, int32."""
    reply_counts: bytes
    """How often each of `reply_ids` occurs there, int32."""
    bias_ids: bytes
    """Ids with a logit bias, ascending, int32."""
    bias_amounts: bytes
    """Added to their logits, float32; -inf bans a token."""
    allowed: bytes
    """What a constraint allowed, a bit for each token of the vocabulary, the highest bit of a byte first. Empty: everything."""
    pieces: dict[int, bytes]
    """The bytes of the most probable tokens, of those that no earlier event of the request has."""


class RowFinished(msgspec.Struct, frozen=True, tag=True):
    """One row of a batch has ended; others may continue. Posted once for each row, row 0 included, before the batch's
    `GenerationFinished`, also after a cancel or an error; not if the prompt was refused or the engine died. Requests
    without candidates have no such event."""

    request_id: int
    row: int
    reason: FinishReason
    stats: GenerationStats
    """The figures of this row alone."""
    text: str = ""
    """The end of this row's reply, which was held back until now."""
    error: ErrorInfo | None = None
    """With reason `error`."""
    arrived_s: float | None = None
    """As in `TokenEvent`."""


class GenerationFinished(msgspec.Struct, frozen=True, tag=True):
    """The last event of every request, whatever happens.

    For a batch, the reason is `error` or `cancelled` if any row ended that way, else that of row 0. The stats are those of
    the batch. There is no text: that of each row is in its `RowFinished`.
    """

    request_id: int
    reason: FinishReason
    stats: GenerationStats = GenerationStats()
    """The engine's figures; without any if it died or could not begin: see `Meter.observe`."""
    text: str = ""
    """The end of the reply, which was held back until now."""
    error: ErrorInfo | None = None
    """With reason `error`. Kind `prompt_too_long`: nothing was generated, and nothing should be stored."""
    arrived_s: float | None = None
    """As in `TokenEvent`."""


class PromptCounted(msgspec.Struct, frozen=True, tag=True):
    """The answer to a count: the tokens of a prompt that has not been sent."""

    count_id: int
    prompt_tokens: int
    context_length: int
    dropped_messages: int = 0
    """Number of the prompt's messages that would not fit."""
    is_estimate: bool = False
    """`prompt_tokens` is estimated from the length of the text, because there is no tokenizer for it."""
    message_tokens: tuple[int, ...] = ()
    """Tokens of the text of each message that was counted, also of those that would not fit. Those that fit and the tokens
    of the chat template make `prompt_tokens`."""
    fallen: tuple[int, ...] = ()
    """Positions of the messages that would not fit."""
    bias_problem: ErrorInfo | None = None
    """Why a request with this logit bias would be refused: a text of several tokens."""
    constraint_problem: ErrorInfo | None = None
    """Why a request with this constraint would be refused."""
    is_split_estimated: bool = False
    """`message_tokens` are estimates: the engine counts whole prompts only."""


GenerationEvent: TypeAlias = (
    GenerationStarted
    | PrefillProgress
    | Retrying
    | RequestAdapted
    | TokenEvent
    | StepScores
    | RowFinished
    | GenerationFinished
)
LoadEvent: TypeAlias = EngineStateChanged | LoadProgress | EngineLoaded | EngineFailed


class SecondModelEvent(msgspec.Struct, frozen=True):
    """Of the model that is loaded beside the session's own; its replies are known by the ids of their requests."""

    event: LoadEvent


EngineEvent: TypeAlias = LoadEvent | GenerationEvent | PromptCounted | SecondModelEvent
