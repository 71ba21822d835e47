"""One of the replies that are compared side by side."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Literal, NamedTuple, TypeAlias

from ttchat_tui.domain.candidates import Variant
from ttchat_tui.domain.conversation import Message
from ttchat_tui.domain.events import RowFinished
from ttchat_tui.domain.generation import FinishReason, GenerationStats, ThoughtFigures
from ttchat_tui.domain.meter import Meter
from ttchat_tui.domain.model_spec import EngineInfo
from ttchat_tui.domain.sampling import SamplingParams
from ttchat_tui.session.running_reply import RunningReply

LaneState: TypeAlias = Literal["waiting", "running", "ended"]
Wish: TypeAlias = Literal["answer", "continue"]
"""What a lane waits for: a reply of its own, or more of the one that it has."""


_NOTHING: Final = "It ended before its first token."


EDITED: Final = ", edited"
"""At the end of the label of a stored reply that the user has changed."""


def version_label(message: Message) -> str:
    """The label of a stored reply of which nothing is known."""
    return f"version {message.sibling_index + 1}"


class LaneEnding(NamedTuple):
    reason: FinishReason | None
    stats: GenerationStats | None
    is_lost: bool = False
    """The app ended while it ran."""


class Lane:
    """A reply, from before it is asked for until after it has ended."""

    def __init__(self, variant: Variant) -> None:
        self.variant = variant
        self.wish: Wish | None = "answer"
        """What it waits for; None: nothing."""
        self.message: Message | None = None
        """Its reply as it is stored; None: it has none yet, or it ended without a text."""
        self.note = ""
        """Why there is no reply, or why it failed."""
        self._before: tuple[Variant, Message | None] | None = None
        """What it had before it was asked again; it returns if nothing comes of that."""
        self._running: RunningReply | None = None
        self._row = 0
        self._meter: Meter | None = None

    @property
    def label(self) -> str:
        return self.variant.label

    @property
    def _end(self) -> RowFinished | None:
        """How its row of the running request has ended."""
        if self._running is None:
            return None
        rows = self._running.candidates
        return rows[self._row].end if self._row else rows.first_end

    @property
    def state(self) -> LaneState:
        if self._running is not None and self._end is None:
            return "running"
        return "waiting" if self.wish is not None else "ended"

    @property
    def text(self) -> str:
        """The reply so far."""
        if self._running is not None:
            return (self._running.candidates[self._row] if self._row else self._running).text
        return self.message.content if self.message is not None else ""

    @property
    def tokens(self) -> int:
        """Of the reply so far, with those of earlier requests."""
        if self._running is not None:
            return (self._running.candidates[self._row] if self._row else self._running).received
        ending, reply = self.ending, self.message.reply if self.message is not None else None
        counted = ending.stats.completion_tokens if ending is not None and ending.stats is not None else 0
        return max(counted, reply.tokens if reply is not None else 0)

    @property
    def thoughts(self) -> Sequence[ThoughtFigures]:
        """Figures of the thoughts so far."""
        if self._running is not None:
            return (self._running.candidates[self._row] if self._row else self._running).thoughts.figures
        ending = self.ending
        return ending.stats.thoughts if ending is not None and ending.stats is not None else ()

    @property
    def has_reply(self) -> bool:
        """It has ended with a reply."""
        if self._running is None or (end := self._end) is None:
            return self._running is None and self.message is not None
        if self._row:
            return not self._running.candidates[self._row].is_removed
        return bool(self.text or end.text) or end.reason == "stop"

    @property
    def ending(self) -> LaneEnding | None:
        """How it has ended; None: it has not, or it has no reply."""
        if (end := self._end) is not None:
            return LaneEnding(end.reason, end.stats)
        if self._running is not None or self.message is None or self.message.reply is None:
            return None
        reply = self.message.reply
        is_lost = reply.finish_reason is None and self.message.status in ("interrupted", "streaming")
        return LaneEnding(reply.finish_reason, reply.stats, is_lost)

    @property
    def sampling(self) -> SamplingParams | None:
        """What its reply began with; None: it has none yet."""
        record = self.message.reply if self.message is not None else None
        return record.sampling if record is not None else None

    @property
    def live(self) -> GenerationStats | None:
        """The figures so far of a reply that runs in a request of its own."""
        is_alone = self._running is not None and not self._running.request.candidates
        return self._meter.stats() if is_alone and self._meter is not None else None

    def label_made_by(self, info: EngineInfo | None) -> str:
        """Its label once the loaded model has made it again, which another model may have made."""
        record = self.message.reply if self.message is not None else None
        label = self.label.removesuffix(EDITED)
        if self.variant.model or record is None or not record.model or info is None:
            return label
        return label.replace(record.model, info.model)

    def ask_again(self, variant: Variant) -> None:
        """Wait for another reply in the place of the one that it has."""
        self._before = self.variant, self.message
        self.variant, self.wish = variant, "answer"

    def give_up(self, note: str) -> None:
        """Wait no longer, for this reason."""
        self.wish, self.note = None, note
        if self._before is not None:
            (self.variant, self.message), self._before = self._before, None

    def begin(self, running: RunningReply, row: int, meter: Meter) -> None:
        """`meter`: of the request."""
        self.wish, self.note = None, ""
        self._running, self._row, self._meter = running, row, meter
        self.message = running.candidates[row].message if row else running.message

    def stop(self) -> None:
        """End it, or wait no longer."""
        if self._running is None or self._end is not None:
            self.give_up(self.note or ("" if self.has_reply or self._before else "It was not begun."))
        elif self._running.request.candidates:
            self._running.control.stop_rows(self._row)
        else:
            self._running.control.cancel()

    def is_in(self, running: RunningReply) -> bool:
        return self._running is running

    def settle(self) -> None:
        """The request that it was in has ended."""
        running, row = self._running, self._row
        if running is None:
            return
        if row:
            other = running.candidates[row]
            self.message = None if other.is_removed else other.message
            end = other.end
        else:
            self.message = running.home.path.message(running.message.id)
            end = running.candidates.first_end
        self._running = None
        reason = end.error.message if end is not None and end.error is not None else ""
        reply = self.message.reply if self.message is not None else None
        if self.message is None:
            self.give_up(reason or _NOTHING)
        elif not self.message.content and reply is not None and reply.finish_reason == "cancelled":
            self.note = _NOTHING
        else:
            self.note = (reply.error if reply is not None else "") or reason
        self._before = None
