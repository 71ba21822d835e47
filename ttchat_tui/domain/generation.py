"""One reply: the request, its control while it runs, and its figures."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Final, Literal, TypeAlias

import msgspec

from ttchat_tui.domain.chat import ChatMessage
from ttchat_tui.domain.recording import BatchChange, RecordLevel, SamplingChange
from ttchat_tui.domain.sampling import SamplingParams
from ttchat_tui.domain.timeline import Timeline

FinishReason: TypeAlias = Literal["stop", "length", "context", "cancelled", "error"]
"""stop: end of turn or a stop string · length: max_tokens · context: the context is full · cancelled: by the user ·
error: the engine failed, and the text before that is kept."""

END_NOTES: Final[dict[FinishReason, str]] = {
    "length": "ended at max tokens",
    "context": "ended: the context is full",
    "cancelled": "stopped",
}
"""The note under a reply that the model did not end itself. An error has its own message."""


MAIN_THREAD_CHECK_S: Final = 1.0
"""How often a paused reply checks that the main thread is alive."""


class Candidate(msgspec.Struct, frozen=True, kw_only=True):
    """One more reply to the same prompt, generated in the same batch."""

    seed: int
    """A fixed number: a random seed is drawn before the request is made."""
    sampling: SamplingParams | None = None
    """Its own parameters, max_tokens and stop strings included. Where they differ from those of row 0 they hold; what the user
    changes of the others during the reply acts. None: those of row 0."""


class Given(msgspec.Struct, frozen=True, kw_only=True):
    """What is given to the engine instead of being made anew: by a replay or a score."""

    prompt_ids: tuple[int, ...] = ()
    """The prompt, in place of the request's messages; empty: they are rendered and tokenized as for any reply."""
    changes: tuple[SamplingChange, ...] = ()
    """Changes of sampling, which apply from their tokens on."""
    chosen: dict[int, int] = {}
    """Tokens that the user chose in one row, by their places in the reply: they are in the place of those that are drawn. One that a
    constraint forbids ends the constraint."""
    row: int = 0
    """The row that is made again, to which `chosen` belongs."""
    batches: tuple[BatchChange, ...] = ()
    """Which rows are decoded together: the others end where they are in none, and nowhere else. Empty: each ends by itself."""
    ids: tuple[int, ...] = ()
    """Teacher forcing: the tokens of the reply, whatever the model would write. Nothing but the context's end ends it before the
    last one, and with the last one it ends with `length`. What is recorded of each is as of a token that was drawn."""
    text: str = ""
    """A text to follow in the same way, without messages: tokenized without a chat template, after the model's own beginning
    of a text, if it has one. It may be longer than the context: see `decoding/scoring.py`. Its first token has no
    probability where nothing precedes it."""

    @property
    def is_followed(self) -> bool:
        """Nothing is drawn."""
        return bool(self.ids or self.text)


NOTHING_GIVEN: Final = Given()


class GenerationRequest(msgspec.Struct, frozen=True, kw_only=True):
    """One reply to generate; with `candidates`, a batch of replies to the same prompt."""

    id: int
    """Unique in this process. Every event of the reply has it."""
    messages: tuple[ChatMessage, ...]
    """The system prompt if there is one, then the turns. The last one is the user's new message, or with `continue_last`
    the unfinished reply."""
    keep: tuple[int, ...] = ()
    """Positions in `messages` that stay when others do not fit: each keeps its whole turn."""
    sampling: SamplingParams
    seed: int
    """A fixed number: a random seed is drawn before the request is made."""
    continue_last: bool = False
    """Continue the last message, which is the assistant's, instead of answering it."""
    written_ids: tuple[int, ...] = ()
    """Token ids of the reply to continue, if they are known. The model continues from them, even in the middle of a
    character. Ids that do not decode to the message's text are ignored."""
    candidates: tuple[Candidate, ...] = ()
    """Rows 1, 2 … of the batch. Row 0 has the request's own seed and sampling."""
    record: RecordLevel = "off"
    """What is recorded of each token, of every row."""
    models_at_once: int = 1
    """So many models decode on this machine's processor at once: each takes its share of the threads."""
    given: Given = NOTHING_GIVEN
    """Engines without `Capabilities.follows` refuse what has to be followed."""

    @property
    def rows(self) -> int:
        """Number of replies in the batch."""
        return 1 + len(self.candidates)

    @property
    def is_varied(self) -> bool:
        """Candidates have parameters of their own: the batch compares them."""
        return any(each.sampling is not None for each in self.candidates)


class ThoughtFigures(msgspec.Struct, frozen=True):
    """The figures of one thought in a reply."""

    tokens: int
    """Tokens, or chunks of a server that does not count tokens."""
    seconds: float
    """From the token before its first one to its last one."""


class GenerationStats(msgspec.Struct, frozen=True, kw_only=True):
    """The figures of one reply or of a whole batch. For a batch, token counts and rates are those of all rows together.

    Times are in seconds since the engine received the request, on its monotonic clock, which stops while the user pauses
    the reply. None: there were too few tokens to measure.
    """

    prompt_tokens: int = 0
    cached_tokens: int = 0
    """Prompt tokens that the KV cache held already, so that they were not prefilled again."""
    completion_tokens: int = 0
    context_length: int = 0
    """The largest number of tokens of prompt and reply together."""
    ttft_s: float | None = None
    """Time to first token (TTFT): template, tokenization, prefill and the first sampled token."""
    prefill_s: float | None = None
    prefill_tps: float | None = None
    """Prefilled tokens (prompt minus cached) per second of prefill."""
    decode_tps: float | None = None
    """Steady decode rate: (n - 2) / (t_n - t_2). The first decode step is left out because it may compile or fill caches;
    tokens that were drafted in it are left out, too. For a batch: the sum of n - 2 over all rows, from the earliest t_2 to
    the last token. None also if the time is too short or the forwards are too few (see `domain/meter.py`)."""
    first_step_s: float | None = None
    """Time from the first token to the second."""
    itl_p50_s: float | None = None
    itl_p95_s: float | None = None
    itl_p99_s: float | None = None
    """Percentiles of the inter-token latency (ITL) without the first step. With speculation, it is measured between
    forwards."""
    total_s: float | None = None
    paused_s: float = 0.0
    """How long the user paused the reply. No other figure includes it."""
    dropped_messages: int = 0
    """Number of messages that did not fit and were left out of the prompt. They are not deleted. From the engine: messages of
    the prompt; stored: messages of the conversation."""
    decode_forwards: int | None = None
    """Forwards for the tokens after the first. Fewer than tokens if drafts were accepted. None: not counted."""
    chunks: int | None = None
    """Number of chunks in which the reply arrived over a network: `ttft_s` and `total_s` include the network, and the
    latencies are between chunks. None: the engine runs on this machine and measures tokens."""
    has_form: bool | None = None
    """Whether the text has the form that the constraint asks for, also where it was cut off. None: there is no constraint, or a
    server follows it."""
    sampling_changes: int = 0
    """How often the parameters changed after the first token. The reply's record has those of the first one."""
    is_estimate: bool = False
    """The server did not report token counts: `prompt_tokens` is estimated from the text, and `completion_tokens` and
    `decode_tps` count chunks."""
    thoughts: tuple[ThoughtFigures, ...] = ()
    """Of each thought in the reply, in order, counted by the session; those of a continued reply are sums."""
    mean_logprob: float | None = None
    """Of the recorded tokens, in nats, counted by the session. None: no probabilities are known."""
    greedy_share: float | None = None
    """The share of the recorded tokens that were the most probable ones."""
    timeline: Timeline | None = None
    """Where the time went. None: it was not measured. A batch as a whole has none, each of its rows has one."""
    notes: tuple[str, ...] = ()
    """Sentences of the app about other content that a server sent (a tool call, an image), or about an empty reply."""


class Pacing(msgspec.Struct, frozen=True):
    """Whether a reply is paused, and how many single steps the user has asked for."""

    is_paused: bool = False
    steps: int = 0
    """All since the reply began, so that the engine's process can miss a state between two others."""


END_OF_THOUGHT: Final = -1
"""In place of a token: those with which the model's chat template ends the thought that is open."""


class Forced(msgspec.Struct, frozen=True):
    """A token that the user chooses in place of the sampler."""

    token_id: int
    """Or `END_OF_THOUGHT`, which has no effect where no thought is open. It applies to each row, an id to row 0."""
    instead_of: int | None = None
    """The token that it replaces, by its place in this request's reply from 0, while it is still the last one; otherwise it has
    no effect. None: the next token."""


class GenerationControl:
    """Control of a running reply: cancel it, pause it, let it make single steps, choose tokens, change the sampling parameters
    from the next token on, or ask for the scores of its steps.

    Thread-safe. An engine reads it between steps. An engine in another process subscribes to it.
    """

    def __init__(self, sampling: SamplingParams) -> None:
        self._lock = threading.Lock()
        self._has_changed = threading.Condition(self._lock)
        self._is_cancelled = False
        self._sampling = sampling
        self._pacing = Pacing()
        self._stopped_rows = frozenset[int]()
        self._steps_taken = 0
        self._forced: tuple[Forced, ...] = ()
        self._is_previewed = False
        self._listeners: list[Callable[[GenerationControl], None]] = []

    @property
    def is_cancelled(self) -> bool:
        return self._is_cancelled

    @property
    def sampling(self) -> SamplingParams:
        """The parameters for the next token. They are replaced as a whole, so a reader never sees half a change."""
        return self._sampling

    def cancel(self) -> None:
        """Ask the engine to stop after the current step. Idempotent."""
        self._is_cancelled = True
        self._notify()

    @property
    def stopped_rows(self) -> frozenset[int]:
        """Rows of a batch that end alone, before their next token. Replaced as a whole."""
        return self._stopped_rows

    def stop_rows(self, *rows: int) -> None:
        """Ask the engine to end these rows of a batch; the others continue. Idempotent."""
        self._stopped_rows |= frozenset(rows)
        self._notify()

    def set_sampling(self, sampling: SamplingParams) -> None:
        """Use these parameters from the next token on. The seed stays that of the request."""
        self._sampling = sampling
        self._notify()

    @property
    def pacing(self) -> Pacing:
        """Replaced as a whole."""
        return self._pacing

    @property
    def is_paused(self) -> bool:
        """The engine waits before its next step, or will; a cancelled reply is not paused."""
        return self._pacing.is_paused and not self._is_cancelled

    def set_pacing(self, pacing: Pacing) -> None:
        """Pause or resume, as another control was. Steps that were not made before the reply resumed are forgotten."""
        with self._lock:
            self._pacing = pacing
            if not pacing.is_paused:
                self._steps_taken = pacing.steps
        self._notify()

    def pause(self) -> None:
        """Ask the engine to wait before its next step. Its KV cache stays."""
        self.set_pacing(msgspec.structs.replace(self._pacing, is_paused=True))

    def resume(self) -> None:
        self.set_pacing(msgspec.structs.replace(self._pacing, is_paused=False))

    def step(self) -> None:
        """Let a paused reply make one step: one token, or one of each row of a batch."""
        with self._lock:
            if self.is_paused:
                self._pacing = msgspec.structs.replace(self._pacing, steps=self._pacing.steps + 1)
        self._notify()

    @property
    def forced(self) -> tuple[Forced, ...]:
        """All since the reply began, in order: an engine remembers how many it has taken. Replaced as a whole."""
        return self._forced

    def force(self, *forced: Forced) -> None:
        """Choose tokens, one after the other."""
        with self._lock:
            self._forced += forced
        self._notify()

    @property
    def is_previewed(self) -> bool:
        """The sampler's preview is open: an engine that can sends `StepScores`."""
        return self._is_previewed

    def set_previewed(self, is_previewed: bool) -> None:
        self._is_previewed = is_previewed
        self._notify()

    def await_step(self, forced_taken: int | None = None, was_previewed: bool = True) -> bool:
        """For an engine, before each step: return True when it may begin. A cancel ends the wait too, and so does the end of
        the main thread, which cancels the reply: nobody is left to resume it. With `forced_taken` it returns False once there
        are more of `forced`, before any step; so it does if the sampler's preview was opened since `was_previewed` was read."""
        while True:
            with self._lock:
                if forced_taken is not None and forced_taken < len(self._forced):
                    return False
                if self._is_previewed and not was_previewed:
                    return False
                was_previewed = self._is_previewed
                if not self.is_paused:
                    return True
                if self._steps_taken < self._pacing.steps:
                    self._steps_taken += 1
                    return True
                self._has_changed.wait(MAIN_THREAD_CHECK_S)
            self.cancel_if_deserted()

    def cancel_if_deserted(self) -> None:
        """Cancel the reply if the main thread has ended, after a crash of the UI."""
        if not threading.main_thread().is_alive():
            self.cancel()

    def subscribe(self, listener: Callable[[GenerationControl], None]) -> None:
        """Call `listener` after each change, on the thread that made it, and now if the reply is cancelled already."""
        with self._lock:
            self._listeners.append(listener)
        if self.is_cancelled:
            listener(self)

    def _notify(self) -> None:
        with self._lock:
            self._has_changed.notify_all()
            listeners = list(self._listeners)
        for listener in listeners:
            listener(self)
