"""The other rows of a batch: replies of their own, stored beside row 0's from the beginning."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Final

from msgspec import structs

from ttchat_tui.domain.candidates import Variant
from ttchat_tui.domain.conversation import Message, MessageStatus, ReplyRecord
from ttchat_tui.domain.errors import ErrorInfo
from ttchat_tui.domain.events import GenerationFinished, RowFinished, TokenEvent
from ttchat_tui.domain.generation import Candidate
from ttchat_tui.domain.model_spec import EngineInfo
from ttchat_tui.domain.recording import RecordedPrompt
from ttchat_tui.domain.reply_settings import differing
from ttchat_tui.domain.sampling import SamplingParams
from ttchat_tui.domain.thoughts import OPENING, normalised
from ttchat_tui.session.recorder import Recorder
from ttchat_tui.session.thought_meter import ThoughtMeter
from ttchat_tui.storage.conversations import ConversationStore

_SEEDS: Final = 2**63
"""Seeds are below this, so that they fit into SQLite's integers."""


def draw_rows(sampling: SamplingParams, rows: int) -> tuple[Candidate, ...]:
    """So many rows with these parameters. Their seeds follow a fixed seed; otherwise they are random."""
    if sampling.seed is None:
        return tuple(Candidate(seed=fresh_seed()) for _ in range(rows))
    return tuple(Candidate(seed=(sampling.seed + row) % _SEEDS) for row in range(rows))


def fresh_seed() -> int:
    """A random seed."""
    return int.from_bytes(os.urandom(4), "big")  # `secrets` would load OpenSSL on the way to the first frame


def why_alike(
    wanted: Sequence[Variant], sampling: SamplingParams, info: EngineInfo | None
) -> ErrorInfo | None:
    """The engine takes no parameter in which these are to differ. `sampling`: the conversation's."""
    names = differing([each.settings.over(sampling) for each in wanted])
    if info is None or not names or set(names) & info.capabilities.sampling:
        return None
    words = " and ".join(name.replace("_", "-") for name in names)
    return ErrorInfo(kind="usage", message=f"{info.label} takes no {words}: all would be alike.")


def status_of(end: RowFinished) -> MessageStatus:
    """The status to store for a row that ended this way."""
    if end.error is not None:
        return "error"
    return "interrupted" if end.reason == "cancelled" else "complete"


class CandidateRow:
    """One row as it grows."""

    def __init__(self, message: Message, recorder: Recorder | None) -> None:
        """`message`: its stored reply, without text."""
        self.message = message
        self.recorder = recorder
        self.thoughts = ThoughtMeter()
        self.is_dirty = False
        """It has text that is not on disk."""
        self.end: RowFinished | None = None
        self.is_removed = False
        """It has ended without a text, and is not stored any more."""
        self.received = 0
        """So far; chunks of a server that does not count tokens."""
        self._parts: list[str] = []
        self._token_ids: list[int] = []

    @property
    def text(self) -> str:
        return "".join(self._parts)

    def add(self, event: TokenEvent) -> None:
        if event.first_sampling is not None and not self._token_ids and self.message.reply is not None:
            record = structs.replace(self.message.reply, sampling=event.first_sampling)
            self.message = structs.replace(self.message, reply=record)
        self.thoughts.add(event)
        if event.ends_thought:
            self._parts.insert(0, OPENING)
        self._parts.append(event.text)
        self._token_ids.extend(event.token_ids)
        self.received += len(event.times_s)
        if self.recorder is not None:
            self.recorder.add(event)
        self.is_dirty = True

    def finish(self, end: RowFinished) -> None:
        self._parts.append(end.text)
        self.end = end
        self.is_dirty = False  # it is stored as a whole now

    @property
    def has_reply(self) -> bool:
        """It has text, or the model has chosen to say nothing."""
        return bool(self.received or self.text) or (self.end is not None and self.end.reason == "stop")

    def checkpoint(self, store: ConversationStore) -> None:
        """Write new text. Raises StorageError."""
        recorded = self.recorder.unwritten() if self.recorder is not None else ()
        store.checkpoint(self.message.id, self.text, tuple(self._token_ids), recorded)
        if self.recorder is not None:
            self.recorder.note_written()
        self.is_dirty = False

    def ended(self, first: ReplyRecord) -> Message:
        """The final row. `first`: row 0's record, which knows the model that has run."""
        record, end = self.message.reply, self.end
        assert record is not None
        assert end is not None
        stats = structs.replace(end.stats, thoughts=self.thoughts.figures)
        record = structs.replace(
            record,
            model=first.model,
            engine=first.engine,
            token_ids=tuple(self._token_ids),
            finish_reason=end.reason,
            stats=self.recorder.counted_in(stats) if self.recorder is not None else stats,
            error=end.error.message if end.error else "",
        )
        return structs.replace(
            self.message, content=normalised(self.text), status=status_of(end), reply=record
        )


class CandidateRows:
    """Rows 1, 2 … of one request. Row 0 streams as a reply like any other: only its end is kept here."""

    def __init__(self, rows: Sequence[CandidateRow] = ()) -> None:
        self.rows = list(rows)
        self.first_end: RowFinished | None = None
        """How row 0 ended."""

    def __getitem__(self, number: int) -> CandidateRow:
        """Row `number` of the request, from 1 on."""
        return self.rows[number - 1]

    def end_first(self, event: GenerationFinished) -> None:
        """The request has ended, and row 0 with it unless it ended before."""
        if self.first_end is None:
            self.first_end = RowFinished(
                event.request_id, 0, event.reason, event.stats, event.text, error=event.error
            )

    def set_prompt(self, prompt: RecordedPrompt) -> None:
        """The prompt of every row. `prompt`: of row 0."""
        for number, row in enumerate(self.rows, start=1):
            if row.recorder is not None:
                row.recorder.set_prompt(structs.replace(prompt, row=number))

    @property
    def stored(self) -> tuple[Message, ...]:
        """The messages of all rows that are in the store, in order."""
        return tuple(row.message for row in self.rows if not row.is_removed)
