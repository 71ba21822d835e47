"""The other candidates of a batch: kept while they stream, and stored as siblings of row 0's reply at the end."""

from __future__ import annotations

import os
from typing import Final

import msgspec

from ttchat_tui.domain.conversation import Message, MessageStatus, ReplyRecord
from ttchat_tui.domain.events import GenerationFinished, RowFinished, TokenEvent
from ttchat_tui.domain.generation import Candidate, GenerationStats
from ttchat_tui.domain.recording import RecordedPrompt
from ttchat_tui.domain.sampling import SamplingParams
from ttchat_tui.domain.thoughts import normalised
from ttchat_tui.session.recorder import Recorder
from ttchat_tui.session.thought_meter import ThoughtMeter
from ttchat_tui.storage.conversations import ConversationStore

_SEEDS: Final = 2**63
"""Seeds are below this, so that they fit into SQLite's integers."""


def draw_candidates(sampling: SamplingParams, rows: int) -> tuple[Candidate, ...]:
    """Candidates for rows 1 to `rows` - 1. Their seeds follow a fixed seed; otherwise they are random."""
    if sampling.seed is None:
        return tuple(Candidate(seed=fresh_seed()) for _ in range(1, rows))
    return tuple(Candidate(seed=(sampling.seed + row) % _SEEDS) for row in range(1, rows))


def fresh_seed() -> int:
    """A random seed."""
    return int.from_bytes(os.urandom(4), "big")  # `secrets` would load OpenSSL on the way to the first frame


def status_of(end: RowFinished) -> MessageStatus:
    """The status to store for a row that ended this way."""
    if end.error is not None:
        return "error"
    return "interrupted" if end.reason == "cancelled" else "complete"


class _CandidateRow(msgspec.Struct):
    seed: int
    thoughts: ThoughtMeter
    parts: list[str] = []
    token_ids: list[int] = []
    recorder: Recorder | None = None
    end: RowFinished | None = None


class CandidateRows:
    """The rows of one request. Row 0 streams as a reply like any other: only its end is kept here."""

    def __init__(self, candidates: tuple[Candidate, ...], *, is_recorded: bool = False) -> None:
        self._rows = [
            _CandidateRow(candidate.seed, ThoughtMeter(), recorder=Recorder() if is_recorded else None)
            for candidate in candidates
        ]
        self.first_end: RowFinished | None = None
        """How row 0 ended."""

    def add(self, event: TokenEvent) -> None:
        row = self._rows[event.row - 1]
        row.thoughts.add(event)
        row.parts.append(event.text)
        row.token_ids.extend(event.token_ids)
        if row.recorder is not None:
            row.recorder.add(event)

    def set_prompt(self, prompt: RecordedPrompt) -> None:
        """The prompt of every row. `prompt`: of row 0."""
        for number, row in enumerate(self._rows, start=1):
            if row.recorder is not None:
                row.recorder.set_prompt(msgspec.structs.replace(prompt, row=number))

    def end_row(self, event: RowFinished) -> None:
        if event.row == 0:
            self.first_end = event
            return
        row = self._rows[event.row - 1]
        row.parts.append(event.text)
        row.end = event

    def store(
        self, store: ConversationStore, first: Message, record: ReplyRecord, batch: GenerationFinished
    ) -> tuple[Message, ...]:
        """Store every row that has text as a sibling of `first`, in order. `first` stays the head.

        Args:
            record: row 0's record, for the fields that all rows share.
            batch: the end of the batch, used for rows that have no end of their own (the engine died).
        Raises:
            StorageError: this row and those after it are lost.
        """
        parent_id, stored = first.parent_id, list[Message]()
        assert parent_id is not None
        for number, row in enumerate(self._rows, start=1):
            text = "".join(row.parts)
            end = row.end or RowFinished(
                batch.request_id, number, batch.reason, GenerationStats(), error=batch.error
            )
            if not row.token_ids and not text and end.reason != "stop":
                continue
            begun = store.begin_reply(
                first.conversation_id, parent_id, msgspec.structs.replace(record, seed=row.seed)
            )
            assert begun.reply is not None
            stats = msgspec.structs.replace(end.stats, thoughts=row.thoughts.figures)
            ended = msgspec.structs.replace(
                begun.reply,
                token_ids=tuple(row.token_ids),
                finish_reason=end.reason,
                stats=row.recorder.counted_in(stats) if row.recorder is not None else stats,
                error=end.error.message if end.error else "",
            )
            recorded = row.recorder.unwritten() if row.recorder is not None else ()
            stored.append(store.finish_reply(begun.id, normalised(text), status_of(end), ended, recorded))
        if stored:
            store.set_head(first.conversation_id, first.id)
        return tuple(stored)
