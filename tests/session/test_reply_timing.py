"""The app's part of a timeline, on a clock that is moved by hand."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from tests.storage.examples import STARTED, ask
from ttchat_tui.domain.anatomy import parts_of, whole_s
from ttchat_tui.domain.conversation import Message
from ttchat_tui.domain.events import GenerationFinished, GenerationStarted, RowFinished, TokenEvent
from ttchat_tui.domain.generation import GenerationStats
from ttchat_tui.domain.recording import Pause
from ttchat_tui.domain.timeline import Timeline
from ttchat_tui.session.conversation import OpenConversation
from ttchat_tui.session.reply_timing import ReplyTiming
from ttchat_tui.storage.conversations import ConversationStore
from ttchat_tui.storage.opening import open_store

REQUESTED_S, RECEIVED_S = 1000.0, 1002.0
STATS = GenerationStats(
    ttft_s=0.5,
    first_step_s=0.25,
    total_s=1.0,
    paused_s=30.0,
    timeline=Timeline(started_s=0.5, last_token_s=0.75),
)


class TimedApp:
    """A reply of two tokens with a pause of 30 s between them, in an app whose clock stands where a test puts it."""

    def __init__(self, folder: Path, *, is_shown: bool = True) -> None:
        self.now_s = REQUESTED_S
        self.store: ConversationStore = open_store(folder / "chats.db")
        question = ask(self.store, "?")
        self.reply = self.store.begin_reply(question.conversation_id, question.id, STARTED)
        self.home = OpenConversation(self.store, "")
        self.timing = ReplyTiming(lambda: self.now_s, lambda: is_shown)
        self.timing.completed(GenerationStarted(1, 4, 0, 64, received_at_s=RECEIVED_S))
        self.token(0.5, arrived_s=RECEIVED_S + 0.52)
        self.draw(RECEIVED_S + 0.6)
        self.token(0.75, arrived_s=RECEIVED_S + 30.81, pauses=(Pause(0, 30.0),))
        self.draw(RECEIVED_S + 30.84)

    def token(self, time_s: float, arrived_s: float, pauses: tuple[Pause, ...] = ()) -> None:
        event = TokenEvent(1, (5,), "a", (time_s,), pauses=pauses, arrived_s=(arrived_s,))
        self.timing.completed(event)

    def draw(self, now_s: float) -> None:
        self.now_s = now_s
        self.timing.drawn(self.store)

    def end(self, *, drawn_s: float) -> Message:
        """The stored reply, after its end has come 0.05 s late and was drawn."""
        ended = GenerationFinished(1, "stop", STATS, arrived_s=RECEIVED_S + 31.05)
        event = self.timing.completed(ended)
        assert isinstance(event, GenerationFinished)
        record = msgspec.structs.replace(STARTED, stats=event.stats)
        message = self.store.finish_reply(self.reply.id, "aa", "complete", record)
        self.timing.stored(self.home, message)
        self.draw(drawn_s)
        return self.store.message(self.reply.id)


def stats_of(message: Message) -> GenerationStats:
    assert message.reply is not None
    assert message.reply.stats is not None
    return message.reply.stats


def test_a_reply_knows_how_long_it_waited_and_how_late_its_text_was(tmp_path: Path) -> None:
    stats = stats_of(TimedApp(tmp_path).end(drawn_s=RECEIVED_S + 31.15))
    timeline = stats.timeline
    assert timeline is not None
    assert timeline.pipe is not None
    assert timeline.screen is not None
    assert timeline.wait_s == 2.0
    assert (timeline.pipe.p50_s, timeline.pipe.p95_s) == pytest.approx((0.02, 0.06))
    assert (timeline.screen.p50_s, timeline.screen.p95_s) == pytest.approx((0.03, 0.08))
    parts = {part.name: part.seconds for part in parts_of(stats)}
    assert (parts["wait"], parts["pipe"], parts["screen"]) == pytest.approx((2.0, 0.05, 0.1))


def test_the_whole_is_what_a_clock_on_the_wall_shows_but_for_pauses(tmp_path: Path) -> None:
    stats = stats_of(TimedApp(tmp_path).end(drawn_s=RECEIVED_S + 31.15))
    on_the_wall_s = RECEIVED_S + 31.15 - REQUESTED_S
    assert whole_s(stats) == pytest.approx(on_the_wall_s - 30.0)
    assert sum(part.seconds for part in parts_of(stats)) == pytest.approx(on_the_wall_s - 30.0, rel=0.02)


def test_the_first_of_several_candidates_does_not_wait_for_the_others(tmp_path: Path) -> None:
    app = TimedApp(tmp_path)
    row = app.timing.completed(RowFinished(1, 0, "stop", STATS, arrived_s=RECEIVED_S + 31.05))
    assert isinstance(row, RowFinished)
    app.draw(RECEIVED_S + 31.15)
    app.timing.completed(GenerationFinished(1, "stop", GenerationStats(), arrived_s=RECEIVED_S + 60.0))
    record = msgspec.structs.replace(STARTED, stats=row.stats)
    app.timing.stored(app.home, app.store.finish_reply(app.reply.id, "aa", "complete", record))
    app.draw(RECEIVED_S + 60.1)
    timeline = stats_of(app.store.message(app.reply.id)).timeline
    assert timeline is not None
    assert timeline.screen is not None
    assert timeline.screen.last_s == pytest.approx(0.1)


def test_a_reply_that_is_not_on_screen_has_no_lag_of_the_screen(tmp_path: Path) -> None:
    timeline = stats_of(TimedApp(tmp_path, is_shown=False).end(drawn_s=RECEIVED_S + 31.15)).timeline
    assert timeline is not None
    assert (timeline.wait_s, timeline.screen) == (2.0, None)


def test_a_reply_that_was_continued_meanwhile_keeps_its_own_figures(tmp_path: Path) -> None:
    app = TimedApp(tmp_path)
    app.end(drawn_s=RECEIVED_S + 31.1)
    app.store.resume_reply(app.reply.id)
    app.store.checkpoint(app.reply.id, "aaa", (5, 5, 5))
    app.store.complete_stats(
        msgspec.structs.replace(app.reply, content="aa", reply=msgspec.structs.replace(STARTED, stats=STATS))
    )
    reply = app.store.message(app.reply.id).reply
    assert reply is not None
    assert reply.stats is None
