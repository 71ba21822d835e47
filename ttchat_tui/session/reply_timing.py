"""The part of a reply's timeline that only the app knows: its wait, and how late its text came and was drawn."""

from __future__ import annotations

import logging
from collections.abc import Callable

from msgspec import structs

from ttchat_tui.domain.conversation import Message
from ttchat_tui.domain.events import (
    GenerationEvent,
    GenerationFinished,
    GenerationStarted,
    RowFinished,
    TokenEvent,
)
from ttchat_tui.domain.generation import GenerationStats
from ttchat_tui.domain.timeline import Lag, LagMeter, Timeline
from ttchat_tui.session.conversation import OpenConversation
from ttchat_tui.storage.conversations import ConversationStore
from ttchat_tui.storage.errors import StorageError

log = logging.getLogger(__name__)


class ReplyTiming:
    """Of one request. All clocks are `time.perf_counter`, which the processes of a machine share."""

    def __init__(self, clock: Callable[[], float], is_shown: Callable[[], bool]) -> None:
        """The request is made now. `is_shown`: its conversation is on screen."""
        self._clock = clock
        self._is_shown = is_shown
        self._requested_s = clock()
        self._received_s: float | None = None
        self._paused_s: dict[int, float] = {}
        """Of each row; the engine's times leave pauses out."""
        self._pipe = LagMeter()
        self._screen = LagMeter()
        self._undrawn_s: list[float] = []
        """When tokens of row 0 came that are not drawn yet."""
        self._timeline: Timeline | None = None
        """That of row 0, once it has ended."""
        self._ended_s: float | None = None
        """When its end came."""
        self._end_lag: Lag | None = None
        """Of its end, which a batch stores only when all rows have ended."""
        self._home: OpenConversation | None = None
        self._message: Message | None = None
        """The stored reply, until its end is drawn."""

    def completed(self, event: GenerationEvent) -> GenerationEvent:
        """Take note of `event`; one that ends a row gets the app's part of the timeline."""
        match event:
            case GenerationStarted():
                self._received_s = (
                    event.received_at_s or self._received_s
                )  # a server may be sent another prompt
            case TokenEvent():
                self._note_token(event)
            case RowFinished() | GenerationFinished():
                row = event.row if isinstance(event, RowFinished) else 0
                return structs.replace(event, stats=self._with_app(event.stats, event.arrived_s, row))
            case _:
                pass
        return event

    def _note_token(self, event: TokenEvent) -> None:
        if self._received_s is None or not event.arrived_s or event.replaces is not None:
            return  # a token in the place of another one has the time of that one
        before, is_drawn = self._paused_s.get(event.row, 0.0), event.row == 0 and self._is_shown()
        lags_s: list[float] = []
        for place, (time_s, arrived_s) in enumerate(zip(event.times_s, event.arrived_s, strict=True)):
            if arrived_s is None:
                continue
            paused_s = before + sum(each.seconds for each in event.pauses if each.at <= place)
            lags_s.append(arrived_s - self._received_s - time_s - paused_s)
            if is_drawn:
                self._undrawn_s.append(arrived_s)
        self._paused_s[event.row] = before + sum(each.seconds for each in event.pauses)
        self._pipe.add(lags_s)

    def _with_app(self, stats: GenerationStats, arrived_s: float | None, row: int) -> GenerationStats:
        timeline = stats.timeline
        if timeline is None or self._received_s is None:
            return stats
        wait_s = round(self._received_s - self._requested_s, 6)
        timeline = structs.replace(timeline, wait_s=wait_s)
        if arrived_s is not None and stats.total_s is not None:
            last_s = arrived_s - self._received_s - stats.total_s - stats.paused_s
            timeline = structs.replace(timeline, pipe=self._pipe.lag(last_s))
        if row == 0:
            self._timeline, self._ended_s = timeline, arrived_s
        return structs.replace(stats, timeline=timeline)

    def stored(self, home: OpenConversation, message: Message) -> None:
        """`message` is in the database, and its end is drawn next."""
        stats = message.reply.stats if message.reply else None
        timeline = stats.timeline if stats else None
        if timeline is not None and timeline == self._timeline and self._is_shown():
            self._home, self._message = home, message

    def drawn(self, store: ConversationStore) -> None:
        """All that has come is on the screen. After the reply's end, that completes its stored timeline."""
        now_s = self._clock()
        self._screen.add([now_s - each for each in self._undrawn_s])
        self._undrawn_s.clear()
        if self._end_lag is None and self._ended_s is not None:
            self._end_lag = self._screen.lag(now_s - self._ended_s)
        message, self._message = self._message, None
        if message is None or self._home is None or self._end_lag is None:
            return
        message = with_screen_lag(message, self._end_lag)
        self._home.replace(message)
        try:
            store.complete_stats(message)
        except (
            StorageError
        ) as error:  # the reply is stored; a screen that is late is no reason for a message on it
            log.warning("the timeline of a reply has no lag of the screen: %s", error)


def with_screen_lag(message: Message, lag: Lag) -> Message:
    assert message.reply is not None
    assert message.reply.stats is not None
    assert message.reply.stats.timeline is not None
    timeline = structs.replace(message.reply.stats.timeline, screen=lag)
    stats = structs.replace(message.reply.stats, timeline=timeline)
    return structs.replace(message, reply=structs.replace(message.reply, stats=stats))
