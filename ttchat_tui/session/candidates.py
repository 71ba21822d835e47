"""The further rows of a batch: kept while they stream, stored as siblings of row 0's reply when the batch is over."""

from __future__ import annotations

import os
from typing import Final

import msgspec

from ttchat_tui.domain.conversation import Message, MessageStatus, ReplyRecord
from ttchat_tui.domain.events import GenerationFinished, RowFinished, TokenEvent
from ttchat_tui.domain.generation import Candidate, GenerationStats
from ttchat_tui.domain.sampling import SamplingParams
from ttchat_tui.domain.thoughts import normalised
from ttchat_tui.storage.conversations import ConversationStore

_SEEDS: Final = 2**63
"""Seeds are below this: SQLite's integers hold them."""


def draw_candidates(sampling: SamplingParams, rows: int) -> tuple[Candidate, ...]:
    """Rows 1 to `rows` - 1: the seeds that follow a fixed one, else fresh ones."""
    if sampling.seed is None:
        return tuple(Candidate(seed=fresh_seed()) for _ in range(1, rows))
    return tuple(Candidate(seed=(sampling.seed + row) % _SEEDS) for row in range(1, rows))


def fresh_seed() -> int:
    """For a row to which no seed was given."""
    return int.from_bytes(os.urandom(4), "big")  # `secrets` would load OpenSSL on the way to the first frame


def status_of(end: RowFinished) -> MessageStatus:
    """As what a row that ended so is kept."""
    if end.error is not None:
        return "error"
    return "interrupted" if end.reason == "cancelled" else "complete"


class _CandidateRow(msgspec.Struct):
    seed: int
    parts: list[str] = []
    token_ids: list[int] = []
    end: RowFinished | None = None


class CandidateRows:
    """Rows 0, 1 … of one request; of row 0, which is a reply like any other, only its end."""

    def __init__(self, candidates: tuple[Candidate, ...]) -> None:
        self._rows = [_CandidateRow(candidate.seed) for candidate in candidates]
        self.first_end: RowFinished | None = None
        """How row 0 ended."""

    def add(self, event: TokenEvent) -> None:
        row = self._rows[event.row - 1]
        row.parts.append(event.text)
        row.token_ids.extend(event.token_ids)

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
        """Keep every row that says something as a sibling of `first`, in order; `first` stays the head.

        Args:
            record: of row 0, for what all rows have in common.
            batch: how rows ended whose own end never came (the engine died).
        Raises:
            StorageError: the rows from the one that could not be written on are lost.
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
            ended = msgspec.structs.replace(
                begun.reply,
                token_ids=tuple(row.token_ids),
                finish_reason=end.reason,
                stats=end.stats,
                error=end.error.message if end.error else "",
            )
            stored.append(store.finish_reply(begun.id, normalised(text), status_of(end), ended))
        if stored:
            store.set_head(first.conversation_id, first.id)
        return tuple(stored)
