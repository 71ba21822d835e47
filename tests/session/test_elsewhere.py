"""Replies that run while another conversation is on screen: reports and reopening; drafts, figures and files."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import TypeVar

import pytest

from tests.fakes import Gate, Script
from tests.session.test_chat import Chat
from ttchat_tui.domain.conversation import Edit
from ttchat_tui.domain.errors import ErrorInfo
from ttchat_tui.domain.events import (
    GenerationFinished,
    GenerationStarted,
    TokenEvent,
)
from ttchat_tui.domain.generation import GenerationStats
from ttchat_tui.domain.sampling import SamplingParams
from ttchat_tui.domain.updates import (
    ConversationOpened,
    ConversationsChanged,
    DraftReturned,
    MessageRemoved,
    Notice,
    ReplyEnded,
    ReplyEndedElsewhere,
    ReplyStreamed,
    Update,
)
from ttchat_tui.session.notices import Unsaved
from ttchat_tui.storage.errors import StorageError
from ttchat_tui.storage.opening import open_store

SHOUTING = SamplingParams(temperature=2.0)


class Away:
    """A reply with one word so far, and a new conversation on screen."""

    def __init__(self, start: Callable[..., Chat], reply: str = "one two three") -> None:
        self.gate = Gate()
        self.chat = start(Script(replies=(reply,), stepped=True), self.gate)
        self.session, self.store = self.chat.session, self.chat.store
        self.session.submit("count")
        assert self.session.conversation is not None
        self.home = self.session.conversation.id
        self.reply = self.session.path[-1].id
        self.step()
        self.left = self.session.new_conversation()

    def step(self) -> list[Update]:
        self.gate.release()
        return self.chat.until(TokenEvent)

    def finish(self) -> list[Update]:
        self.gate.open()
        updates = self.chat.until(GenerationFinished)
        self.gate.shut()
        return updates


U = TypeVar("U")


def of_kind(updates: list[Update], *kinds: type[U]) -> list[U]:
    return [update for update in updates if isinstance(update, kinds)]


def test_a_reply_elsewhere_continues_is_stored_and_its_end_is_reported(start: Callable[..., Chat]) -> None:
    away = Away(start)
    assert away.left == [ConversationOpened(None, ())]
    assert away.session.is_busy
    assert not away.session.is_answering
    assert away.session.answered_elsewhere == "“count”"
    assert away.session.marks.of(away.home) == "running"
    assert away.step() == [], "nothing of its text is for this screen"
    ended = away.finish()
    reported = of_kind(ended, ReplyEndedElsewhere)
    assert [(update.conversation.id, update.status) for update in reported] == [(away.home, "complete")]
    assert ConversationsChanged() in ended
    assert not of_kind(ended, ReplyEnded, ReplyStreamed)
    assert away.session.marks.of(away.home) == "finished"
    kept = away.store.message(away.reply)
    assert (kept.content, kept.status) == ("one two three", "complete")
    away.session.open(away.home)
    assert away.session.marks.of(away.home) == "", "it has been looked at"
    assert away.session.path[-1].content == "one two three"


def test_a_reply_that_is_found_again_streams_on(start: Callable[..., Chat]) -> None:
    away = Away(start)
    away.step()
    assert away.store.message(away.reply).content == "", "the checkpoint is not due"
    opened = away.session.open(away.home)[-1]
    assert isinstance(opened, ConversationOpened)
    assert (opened.messages[-1].content, opened.messages[-1].status) == ("one two", "streaming")
    assert away.session.is_answering
    assert ReplyStreamed(away.reply, " three") in away.step()
    ended = of_kind(away.finish(), ReplyEnded)
    assert [update.message.content for update in ended] == ["one two three"]
    assert away.session.path[-1].status == "complete"


def test_a_partial_reply_out_of_sight_is_on_disk_after_a_second(
    start: Callable[..., Chat], tmp_path: Path
) -> None:
    away = Away(start)
    away.chat.now = 1.5
    away.step()
    other = open_store(tmp_path / "conversations.db")
    assert (other.message(away.reply).content, other.message(away.reply).status) == ("one two", "streaming")
    other.close()


def test_stopping_acts_on_the_conversation_on_screen_only(start: Callable[..., Chat]) -> None:
    away = Away(start)
    assert not away.session.stop()
    assert away.session.drop_unstarted() == []
    away.session.open(away.home)
    assert away.session.stop()
    away.chat.until(GenerationFinished)
    kept = away.store.message(away.reply)
    assert (kept.content, kept.status) == ("one", "interrupted")


def test_settings_of_the_conversation_on_screen_are_not_those_of_the_reply_elsewhere(
    start: Callable[..., Chat],
) -> None:
    away = Away(start)
    away.session.set_sampling(SHOUTING)
    away.session.set_system_prompt("Shout.")
    away.finish()
    assert away.store.message(away.reply).content == "one two three"
    assert away.store.conversation(away.home).sampling is None
    assert away.store.conversation(away.home).system_prompt == ""


def test_a_draft_and_a_title_stay_with_their_conversation(start: Callable[..., Chat]) -> None:
    away = Away(start)
    away.session.save_draft("for the new one")
    away.session.rename(away.home, "Numbers")
    assert away.session.answered_elsewhere == "“Numbers”"
    ended = of_kind(away.finish(), ReplyEndedElsewhere)
    assert [update.conversation.title for update in ended] == ["Numbers"]
    assert away.store.drafts.of(None).text == "for the new one"
    assert away.store.conversation(away.home).draft == ""


def test_a_conversation_that_is_deleted_while_it_is_answered_ends_the_reply_and_can_come_back(
    start: Callable[..., Chat],
) -> None:
    away = Away(start)
    assert of_kind(away.session.delete(away.home), ReplyEndedElsewhere) == []
    assert not away.session.is_busy
    assert away.chat.until(GenerationFinished) == []
    away.session.undelete()
    assert [message.content for message in away.session.path] == ["count", "one"]
    assert away.session.path[-1].status == "interrupted"


def test_leaving_the_app_keeps_the_text_of_a_reply_elsewhere(start: Callable[..., Chat]) -> None:
    away = Away(start)
    assert away.session.close() == []
    kept = away.store.message(away.reply)
    assert (kept.content, kept.status) == ("one", "interrupted")


def test_the_candidates_of_a_batch_are_stored_out_of_sight_too(start: Callable[..., Chat]) -> None:
    gate = Gate()
    chat = start(Script(replies=("one two",), stepped=True, batch_sizes=(1, 2)), gate)
    chat.session.submit("count", candidates=2)
    reply = chat.session.path[-1].id
    gate.release()
    chat.until(TokenEvent, row=1)
    chat.session.new_conversation()
    gate.open()
    ended = chat.until(GenerationFinished)
    assert len(of_kind(ended, ReplyEndedElsewhere)) == 1
    assert chat.store.message(reply).sibling_count == 2


def test_a_refused_prompt_stays_where_it_was_asked_when_that_is_out_of_sight(
    start: Callable[..., Chat],
) -> None:
    chat = start(Script(stepped_load=False, context_length=20))
    chat.session.submit("word " * 40)
    assert chat.session.conversation is not None
    home = chat.session.conversation.id
    chat.session.new_conversation()
    ended = of_kind(chat.until(GenerationFinished), ReplyEndedElsewhere, DraftReturned, MessageRemoved)
    assert [type(update) for update in ended] == [ReplyEndedElsewhere]
    assert chat.session.marks.of(home) == "failed"
    chat.session.open(home)
    asked, reply = chat.session.path
    assert (asked.content, reply.status) == ("word " * 40, "error")
    assert reply.reply is not None
    assert "tokens" in reply.reply.error


def test_another_try_that_fails_out_of_sight_leaves_the_reply_before_it(start: Callable[..., Chat]) -> None:
    chat = start(Script(replies=("Good.",)))
    chat.ask("hello")
    assert chat.session.conversation is not None
    home = chat.session.conversation.id
    chat.engine.script = Script(fault="bug", fault_at=0)
    chat.session.branching.regenerate()
    chat.session.new_conversation()
    ended = of_kind(chat.until(GenerationFinished), ReplyEndedElsewhere, Notice)
    assert [getattr(update, "status", "") for update in ended] == ["error"]
    chat.session.open(home)
    assert [message.content for message in chat.session.path] == ["hello", "Good."]


def test_unsaved_text_is_shown_when_its_conversation_is_reopened(
    start: Callable[..., Chat], monkeypatch: pytest.MonkeyPatch
) -> None:
    away = Away(start)

    def refuse(*_: object) -> None:
        raise StorageError(ErrorInfo(kind="disk_full", message="The disk is full."))

    with monkeypatch.context() as patch:
        patch.setattr(away.store, "finish_reply", refuse)
        away.finish()
        away.session.open(away.home)
        assert away.session.path[-1].content == "one two three"
    assert away.session.flush_unsaved() is None
    assert away.store.message(away.reply).content == "one two three"


# --- drafts


def refuse(*_: object, **__: object) -> None:
    raise StorageError(ErrorInfo(kind="disk_full", message="The disk is full.", cure="Free some space."))


def test_a_draft_that_cannot_be_stored_is_there_when_its_conversation_is_found_again(
    start: Callable[..., Chat], monkeypatch: pytest.MonkeyPatch
) -> None:
    chat = start(Script(replies=("Hi.",)))
    chat.ask("hello")
    assert chat.session.conversation is not None
    home = chat.session.conversation.id
    with monkeypatch.context() as patch:
        patch.setattr(chat.store.drafts, "set", refuse)
        assert [type(update) for update in chat.session.save_draft("half a")] == [Notice]
        assert chat.session.save_draft("half a thought") == [], "it is reported once"
        chat.session.new_conversation()
        chat.session.save_draft("another")
        chat.session.open(home)
        assert chat.session.draft == "half a thought"
        edit = Edit(1, "hello again")
        chat.session.save_draft("half a thought", edit)
        assert chat.session.edit_in_progress == edit
        why = "The disk is full. This was written and not sent:"
        lost = ("another", "half a thought", "hello again")
        assert sorted(chat.session.close(), key=str) == [Unsaved(why, each) for each in lost]
    chat.session.save_draft("a whole thought", edit)
    assert (chat.store.conversation(home).draft, chat.store.drafts.of(home).edit) == ("a whole thought", edit)
    assert chat.store.drafts.of(None).text == "another", "the others are stored as well, once it can be done"
    assert chat.session.close() == []


def test_a_draft_in_a_conversation_that_another_window_deleted_comes_back_with_it(
    start: Callable[..., Chat],
) -> None:
    chat = start(Script(replies=("Hi.",)))
    chat.ask("hello")
    assert chat.session.conversation is not None
    chat.store.delete(chat.session.conversation.id)
    assert [type(update) for update in chat.session.save_draft("half a thought")] == [Notice]
    chat.session.new_conversation()
    assert chat.session.save_draft("new") == [], "it keeps no other draft from being stored"
    chat.session.undelete()
    assert chat.session.draft == "half a thought"
    assert chat.session.conversation is not None
    chat.store.delete(chat.session.conversation.id)
    again = chat.session.save_draft("a whole thought")
    assert [type(update) for update in again] == [Notice], "a fault that returns is reported again"


def test_a_draft_that_was_sent_does_not_come_back(
    start: Callable[..., Chat], monkeypatch: pytest.MonkeyPatch
) -> None:
    chat = start(Script(replies=("Hi.",)))
    with monkeypatch.context() as patch:
        patch.setattr(chat.store.drafts, "set", refuse)
        chat.session.save_draft("hello")
    chat.ask("hello")
    chat.session.new_conversation()
    assert chat.session.draft == ""


def test_a_restored_conversation_that_cannot_be_read_is_listed_and_reported(
    start: Callable[..., Chat], tmp_path: Path
) -> None:
    chat = start(Script(replies=("Hi.",)))
    chat.ask("hello")
    assert chat.session.conversation is not None
    home = chat.session.conversation.id
    chat.session.delete(home)
    with closing(sqlite3.connect(tmp_path / "conversations.db")) as other, other:
        other.execute("UPDATE conversations SET sampling = '['")
    updates = chat.session.undelete()
    assert [type(update) for update in updates] == [Notice, ConversationsChanged]
    assert [each.id for each in chat.store.conversations()] == [home]


# --- figures and files


@pytest.mark.parametrize("way", ["close", "delete"])
def test_figures_of_a_reply_that_came_by_pieces_keep_their_marks_when_it_is_broken_off(
    start: Callable[..., Chat], way: str
) -> None:
    gate = Gate()
    chat = start(Script(replies=("one two three",), stepped=True), gate)
    chat.session.submit("count")
    reply = chat.session.path[-1].id
    assert chat.session.running is not None
    request = chat.session.running.request.id
    chat.until(
        GenerationStarted
    )  # The engine's own: it must not come after the next one, which stands for a server's.
    chat.session.apply(GenerationStarted(request, 4, 0, 0, is_estimate=True, is_chunked=True))
    for number in range(3):
        chat.session.apply(TokenEvent(request, (), "word ", (0.1 + number,)))
    if way == "close":
        chat.session.close()
    else:
        assert chat.session.conversation is not None
        chat.session.delete(chat.session.conversation.id)
    kept = chat.store.message(reply)
    assert kept.reply is not None
    stats = kept.reply.stats
    assert isinstance(stats, GenerationStats)
    assert (stats.chunks, stats.completion_tokens, stats.is_estimate) == (3, 3, True)


def test_between_replies_the_log_is_merged_into_the_file(start: Callable[..., Chat], tmp_path: Path) -> None:
    chat = start(Script(replies=("Hi.",)))
    chat.ask("hello")
    assert chat.session.has_work
    chat.session.tick()
    assert not chat.session.has_work
    copy = shutil.copyfile(tmp_path / "conversations.db", tmp_path / "copy.db")
    with closing(sqlite3.connect(copy)) as connection:
        assert connection.execute("SELECT content FROM messages").fetchall() == [("hello",), ("Hi.",)]


def test_a_missing_database_file_is_reported_with_the_next_message(
    start: Callable[..., Chat], tmp_path: Path
) -> None:
    chat = start(Script(replies=("Hi.",)))
    chat.ask("hello")
    (tmp_path / "conversations.db").unlink()
    notices = of_kind([*chat.ask("again"), *chat.session.tick()], Notice)
    assert [notice.error.kind for notice in notices] == ["database_written_anew"]
    with closing(sqlite3.connect(tmp_path / "conversations.db")) as connection:
        assert connection.execute("SELECT count(*) FROM messages").fetchone() == (4,)


def test_undo_restores_deletions_one_by_one_also_after_a_restart(
    start: Callable[..., Chat],
) -> None:
    chat = start(Script(replies=("Hi.",)))
    made: list[int] = []
    for text in ("one", "two", "three"):
        chat.ask(text)
        assert chat.session.conversation is not None
        made.append(chat.session.conversation.id)
        chat.session.new_conversation()
    for conversation_id in (made[1], made[2], made[0]):
        chat.session.delete(conversation_id)
    chat.close()
    again = start(Script())
    found: list[int] = []
    while again.session.undelete():
        assert again.session.conversation is not None
        found.append(again.session.conversation.id)
        again.session.new_conversation()  # what comes back is opened only where nothing else is
    assert found == [made[0], made[2], made[1]]
