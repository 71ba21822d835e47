"""The recording of a running reply, as its events come."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Final, NamedTuple

from msgspec import structs

from ttchat_tui.domain.events import TokenEvent
from ttchat_tui.domain.generation import GenerationStats
from ttchat_tui.domain.recording import (
    NOT_RECORDED,
    BatchChange,
    Likelihood,
    Pause,
    RecordedPrompt,
    RecordedToken,
    Recording,
    SamplingChange,
    text_id,
)
from ttchat_tui.domain.sampling import SamplingParams
from ttchat_tui.storage.recording_parts import StoredPart, encoded

PART_TOKENS: Final = 512
"""Tokens of a stored part. A checkpoint encodes the last part anew, which takes a few milliseconds at most."""


class _Mark(NamedTuple):
    """How much there was when a part began."""

    tokens: int = 0
    changes: int = 0
    pauses: int = 0
    prompts: int = 0
    batches: int = 0


class Recorder:
    """Takes token events; gives the recording so far, and the parts of it that are to be stored."""

    def __init__(self, first: int = 0) -> None:
        """`first`: tokens of the reply that are there already."""
        self._first = first
        self._tokens: list[RecordedToken] = []
        self._changes: list[SamplingChange] = []
        self._pauses: list[Pause] = []
        self._prompts: list[RecordedPrompt] = []
        self._batches: list[BatchChange] = []
        self._pieces: dict[int, bytes] = {}
        self._controls: dict[int, bytes] = {}
        self._parts = [_Mark()]
        self._written = 0
        """Parts that are complete and stored."""
        self._written_tokens = 0
        """Tokens that are stored, one that was withdrawn since included."""

    @property
    def first(self) -> int:
        """Tokens of the reply before the first one that it takes."""
        return self._first

    @property
    def end(self) -> int:
        """Tokens of the reply with those that it has taken."""
        return self._first + len(self._tokens)

    @property
    def recording(self) -> Recording:
        """A view: it grows with the reply."""
        return Recording(
            self._tokens,
            self._first,
            self._changes,
            self._pieces,
            self._pauses,
            self._prompts,
            self._controls,
            self._batches,
        )

    def begin_with(self, sampling: SamplingParams) -> None:
        """Its first token will be drawn with other parameters than those of the reply's record."""
        self._changes = [SamplingChange(self._first, sampling)]

    def set_prompt(self, prompt: RecordedPrompt) -> None:
        """The prompt of its request, before the first token."""
        self._prompts = [prompt]

    def add(self, event: TokenEvent) -> None:
        if event.replaces is not None:
            self._withdraw()
        at = self._first + len(self._tokens)
        self._changes += [SamplingChange(at + each.at, each.sampling) for each in event.sampling_changes]
        self._pauses += [Pause(at + each.at, each.seconds) for each in event.pauses]
        self._batches += [BatchChange(at + each.at, each.rows) for each in event.batches]
        self._pieces.update(event.pieces)
        self._controls.update(event.controls)
        self._tokens += tokens_of(event, self._pieces)
        if event.end is not None:
            self._tokens.append(event.end)
        if len(self._tokens) - self._parts[-1].tokens >= PART_TOKENS:
            self._parts.append(self._mark())

    def _withdraw(self) -> None:
        """The latest token is no longer part of the reply. What happened before it stays."""
        self._tokens.pop()
        if self._parts[-1].tokens > len(self._tokens):
            self._parts.pop()
            self._written = min(self._written, len(self._parts) - 1)

    def forget(self) -> None:
        """Nothing that it has taken is part of the reply. What is stored of it is replaced by a part without tokens."""
        for taken in (self._tokens, self._changes, self._pauses, self._prompts, self._batches):
            taken.clear()
        self._parts, self._written = [_Mark()], 0

    def counted_in(self, stats: GenerationStats) -> GenerationStats:
        """`stats` with how probable the tokens were."""
        likelihood = Likelihood()
        likelihood.take(self.recording.written)
        return structs.replace(
            stats, mean_logprob=likelihood.mean_logprob, greedy_share=likelihood.greedy_share
        )

    def unwritten(self) -> tuple[StoredPart, ...]:
        """The parts that are not stored, or not in full; one without tokens where the only one was withdrawn, or where the reply
        ended at once. Raises StorageError: see `encoded`."""
        marks = [*self._parts[self._written :], self._mark()]
        return tuple(
            encoded(self._between(begin, end))
            for begin, end in pairwise(marks)
            if begin != end or begin.tokens < self._written_tokens
        )

    def note_written(self) -> None:
        """What `unwritten` returned is stored, and nothing was added since."""
        self._written, self._written_tokens = len(self._parts) - 1, len(self._tokens)

    def _mark(self) -> _Mark:
        return _Mark(
            len(self._tokens),
            len(self._changes),
            len(self._pauses),
            len(self._prompts),
            len(self._batches),
        )

    def _between(self, begin: _Mark, end: _Mark) -> Recording:
        return Recording(
            tokens=self._tokens[begin.tokens : end.tokens],
            first=self._first + begin.tokens,
            changes=self._changes[begin.changes : end.changes],
            pauses=self._pauses[begin.pauses : end.pauses],
            pieces=self._pieces,
            controls=self._controls,
            prompts=self._prompts[begin.prompts : end.prompts],
            batches=self._batches[begin.batches : end.batches],
        )


def tokens_of(event: TokenEvent, pieces: dict[int, bytes]) -> Iterator[RecordedToken]:
    """One for each token of the event; of a server that does not name them, one for its text, whose piece is added to
    `pieces`."""
    if not event.times_s:
        return
    drafted = event.drafted or (False,) * len(event.times_s)
    forced = event.forced or (False,) * len(event.times_s)
    logprobs = event.logprobs or (None,) * len(event.times_s)
    known = event.distributions or (None,) * len(event.times_s)
    spent = event.spent or (None,) * len(event.times_s)
    if not event.token_ids and not event.distributions:
        piece = event.text.encode("utf-8", "replace")
        token_id = text_id(piece, pieces)
        pieces[token_id] = piece
        yield RecordedToken(token_id, event.times_s[-1], drafted[-1])
        return
    for place, (time_s, seen) in enumerate(zip(event.times_s, known, strict=True)):
        named = seen.token_id if seen is not None else None
        ids = event.token_ids
        yield RecordedToken(
            token_id=named if named is not None else ids[place] if ids else NOT_RECORDED,
            time_s=time_s,
            is_drafted=drafted[place],
            logprob=logprobs[place],
            rank=seen.rank if seen else None,
            entropy=seen.entropy if seen else None,
            alternatives=seen.alternatives if seen else b"",
            is_forced=forced[place],
            spent=spent[place],
        )
