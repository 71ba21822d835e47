"""One reply: what is asked of an engine, how it is steered while it runs, how it ended."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Literal, TypeAlias

import msgspec

from ttchat_tui.domain.chat import ChatMessage
from ttchat_tui.domain.sampling import SamplingParams

FinishReason: TypeAlias = Literal["stop", "length", "context", "cancelled", "error"]
"""stop: end of turn or a stop string · length: max_tokens · context: the context is full · cancelled: the user
stopped it · error: the engine failed; what came before is kept."""


class Candidate(msgspec.Struct, frozen=True, kw_only=True):
    """One more reply to the same prompt, generated in the same batch: a row beside row 0."""

    seed: int
    """Never random here: whoever asks has drawn it."""
    sampling: SamplingParams | None = None
    """Its own parameters, max_tokens and stop strings included, fixed for the whole row; None: those of row 0, live
    changes included."""


class GenerationRequest(msgspec.Struct, frozen=True, kw_only=True):
    """One reply to generate; with `candidates`, a batch of replies to the same prompt."""

    id: int
    """Unique in this process; every event of the reply carries it."""
    messages: tuple[ChatMessage, ...]
    """System prompt first if there is one, then the turns, the user's new message last (or, to continue a reply,
    the unfinished assistant message last, with `continue_last`)."""
    sampling: SamplingParams
    seed: int
    """Never random here: whoever asks has drawn it."""
    continue_last: bool = False
    """The last message is an assistant's that is to be continued, not answered."""
    written_ids: tuple[int, ...] = ()
    """The ids that the model wrote of the message to be continued, where they are known: it goes on from them, half a
    character at their end included. Ids that do not stand for that message's text are not used."""
    candidates: tuple[Candidate, ...] = ()
    """Rows 1, 2 … of the batch. Row 0 is the request's own seed and sampling."""

    @property
    def rows(self) -> int:
        """How many replies are generated at once."""
        return 1 + len(self.candidates)


class GenerationStats(msgspec.Struct, frozen=True, kw_only=True):
    """The figures of one reply, or of a whole batch: then tokens are counted over its rows, and rates are of all rows
    together. Times in seconds, on the engine's monotonic clock, from the engine's receipt of the request; None where
    too few tokens came to say."""

    prompt_tokens: int = 0
    cached_tokens: int = 0
    """Of the prompt, how many were found in the KV cache and not prefilled again."""
    completion_tokens: int = 0
    context_length: int = 0
    """The most tokens that prompt and reply may have together."""
    ttft_s: float | None = None
    """Time to first token: template, tokenisation, prefill and the first sampled token."""
    prefill_s: float | None = None
    prefill_tps: float | None = None
    """Tokens computed in prefill (prompt less cached) per second of prefill."""
    decode_tps: float | None = None
    """None also where time or forwards were too few to be honest (see `domain/meter.py`). (n - 2) / (t_n - t_2): the first decode step is apart, it may compile or warm caches. Of a batch: the sum of
    all rows' n - 2, from the earliest t_2 to the last token. Tokens that speculation guessed count with the
    forward that they came out of: those of the first decode step are left out with it."""
    first_step_s: float | None = None
    """From the first token to the second."""
    itl_p50_s: float | None = None
    itl_p95_s: float | None = None
    """Inter-token latency, the first step left out; from forward to forward where speculation made several tokens of
    one."""
    total_s: float | None = None
    dropped_messages: int = 0
    """Oldest messages that did not fit and were left out of the prompt (nothing is deleted)."""
    decode_forwards: int | None = None
    """Forwards that the tokens after the first took; fewer than those where drafts were right. None: not counted."""
    chunks: int | None = None
    """Pieces that the reply came in over a network; `ttft_s` and `total_s` have the network in them then, and the
    inter-token figures are between pieces. None: the engine runs on this machine and times tokens."""
    sampling_changes: int = 0
    """How often parameters were changed between two tokens: the reply's record has those that it began with."""
    is_estimate: bool = False
    """The server told no token counts: `prompt_tokens` is a guess from the text, `completion_tokens` and `decode_tps`
    count pieces."""
    notes: tuple[str, ...] = ()
    """Sentences of the app about what a server sent besides text (a call of a tool, a picture), or that it sent none."""


class GenerationControl:
    """How the UI reaches a running reply: cancel, and sampling parameters from the next token on.

    Thread-safe. An engine reads it between steps; one that works elsewhere (another process) subscribes instead.
    """

    def __init__(self, sampling: SamplingParams) -> None:
        self._lock = threading.Lock()
        self._cancelled = threading.Event()
        self._sampling = sampling
        self._listeners: list[Callable[[GenerationControl], None]] = []

    @property
    def is_cancelled(self) -> bool:
        return self._cancelled.is_set()

    @property
    def sampling(self) -> SamplingParams:
        """The parameters for the next token. Replaced as a whole: never half of a change."""
        return self._sampling

    def cancel(self) -> None:
        """Ask the engine to stop after the current step. Idempotent."""
        self._cancelled.set()
        self._notify()

    def set_sampling(self, sampling: SamplingParams) -> None:
        """Use these parameters from the next token on. The seed of a running reply does not change."""
        self._sampling = sampling
        self._notify()

    def subscribe(self, listener: Callable[[GenerationControl], None]) -> None:
        """Call `listener` after each change, on the thread that made it; at once if it is cancelled already."""
        with self._lock:
            self._listeners.append(listener)
        if self.is_cancelled:
            listener(self)

    def _notify(self) -> None:
        with self._lock:
            listeners = list(self._listeners)
        for listener in listeners:
            listener(self)
