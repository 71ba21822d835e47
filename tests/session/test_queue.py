"""Messages that wait for the running reply: order, changes, holding, restarts, and what fails meanwhile."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import msgspec
import pytest

from tests.fakes import Script
from tests.session.test_chat import Chat
from tests.session.test_elsewhere import SHOUTING, Away, of_kind
from ttchat_tui.domain.errors import ErrorInfo, ErrorKind
from ttchat_tui.domain.events import EngineLoaded, EngineStateChanged, GenerationFinished
from ttchat_tui.domain.updates import (
    DraftReturned,
    MessageAdded,
    Notice,
    QueueChanged,
    ReplyBegan,
    ReplyEnded,
    ReplyEndedElsewhere,
)
from ttchat_tui.session.notices import Unsaved
from ttchat_tui.storage.errors import StorageError
from ttchat_tui.storage.opening import open_scratch_store
from ttchat_tui.storage.writers import _start_time, this_process

Start = Callable[..., Chat]


class Asked(Away):
    """The conversation `count` on screen, with one word of its reply."""

    def __init__(self, start: Start) -> None:
        super().__init__(start)
        self.session.open(self.home)

    @property
    def waiting(self) -> list[str]:
        return [each.content for each in self.session.queue.messages]

    @property
    def said(self) -> list[str]:
        return [each.content for each in self.session.path]

    @property
    def asked(self) -> list[str]:
        """The last message of each request to the engine."""
        return [request.messages[-1].content for request in self.chat.engine.requests]

    @property
    def is_held(self) -> bool:
        return bool(self.waiting) and not self.session.queue.is_waiting

    def finish_all(self, replies: int) -> None:
        self.gate.open()
        for _ in range(replies):
            self.chat.until(GenerationFinished)


def test_what_is_sent_during_a_reply_follows_it_in_order(start: Start) -> None:
    chat = Asked(start)
    for text in ("second", "third"):
        updates = chat.session.submit(text)
        assert of_kind(updates, QueueChanged)
        assert not of_kind(updates, MessageAdded), "it is in no tree before its turn"
    assert chat.waiting == ["second", "third"]
    began = chat.finish()
    assert [each.message.content for each in of_kind(began, MessageAdded)] == ["second"]
    assert of_kind(began, ReplyEnded)
    assert of_kind(began, ReplyBegan)
    chat.finish_all(2)
    assert chat.asked == ["count", "second", "third"]
    assert chat.said == ["count", "one two three", "second", "one two three", "third", "one two three"]
    assert chat.waiting == []


def test_messages_of_several_conversations_wait_in_one_queue(start: Start) -> None:
    chat = Asked(start)
    chat.session.submit("second")
    chat.session.new_conversation()
    chat.session.submit("elsewhere")
    assert chat.session.conversation is not None
    other = chat.session.conversation.id
    assert chat.session.conversation.title == "elsewhere", "it is named and listed before it has a message"
    assert [each.id for each in chat.session.conversations()] == [other, chat.home]
    assert [each.id for each in chat.store.conversations()] == [chat.home], "no export or resume has it"
    assert (chat.session.marks.of(other), chat.session.marks.of(chat.home)) == ("queued", "running")
    chat.session.set_sampling(SHOUTING)
    chat.finish_all(3)
    assert chat.asked == ["count", "second", "elsewhere"]
    assert chat.said == ["elsewhere", "ONE TWO THREE"], "its own settings apply"
    chat.session.open(chat.home)
    assert chat.said[2:] == ["second", "one two three"]


def test_candidates_stay_with_their_message(start: Start) -> None:
    chat = Asked(start)
    chat.chat.engine.script = Script(replies=("one",), batch_sizes=(1, 2))
    chat.session.submit("two of them", candidates=2)
    chat.finish_all(2)
    assert chat.session.path[-1].sibling_count == 2


def test_waiting_messages_are_edited_moved_and_dropped(start: Start) -> None:
    chat = Asked(start)
    for text in ("a", "b", "c"):
        chat.session.submit(text)
    a, b, c = (each.id for each in chat.session.queue.messages)
    queue = chat.session.queue
    assert queue.move(c, -1) == [QueueChanged()]
    assert chat.waiting == ["a", "c", "b"]
    assert queue.move(a, -1) == [], "it is the first"
    assert queue.begin_edit(b).content == "b"
    queue.end_edit("B")
    queue.drop(a)
    assert chat.waiting == ["c", "B"]
    for change in (queue.drop, queue.begin_edit, lambda each: queue.move(each, 1)):
        with pytest.raises(StorageError, match="queued message"):
            change(a)
    chat.finish_all(3)
    assert chat.asked == ["count", "c", "B"]


def test_a_message_that_is_being_edited_keeps_its_place_and_is_waited_for(start: Start) -> None:
    chat = Asked(start)
    chat.session.submit("a")
    chat.session.submit("b")
    chat.session.queue.begin_edit(chat.session.queue.messages[0].id)
    chat.finish()
    assert not chat.session.is_busy
    began = chat.session.queue.end_edit("A")
    assert of_kind(began, ReplyBegan)
    chat.finish_all(2)
    assert chat.asked == ["count", "A", "b"]


@pytest.mark.parametrize(("kind", "waiting"), [("disk_full", ["a", "b"]), ("not_found", ["b"])])
def test_an_edited_message_that_cannot_be_stored_returns_and_is_not_sent_as_it_was(
    start: Start, monkeypatch: pytest.MonkeyPatch, kind: ErrorKind, waiting: list[str]
) -> None:
    chat = Asked(start)
    chat.session.submit("a")
    chat.session.submit("b")
    chat.session.queue.begin_edit(chat.session.queue.messages[0].id)
    chat.finish()

    def refuse(*_: object) -> None:
        raise StorageError(ErrorInfo(kind=kind, message="No."))

    monkeypatch.setattr(chat.store.queue, "edit", refuse)
    assert [each.text for each in of_kind(chat.session.queue.end_edit("A"), DraftReturned)] == ["A"]
    assert (chat.waiting, chat.is_held) == (waiting, True)
    assert chat.asked == ["count"]


def test_a_message_that_returns_to_the_prompt_is_not_in_the_queue(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    chat = Asked(start)

    def refuse(*_: object) -> None:
        raise StorageError(ErrorInfo(kind="storage_failed", message="The disk does not answer."))

    with monkeypatch.context() as patch:
        patch.setattr("ttchat_tui.storage.queue._own", refuse)
        assert of_kind(chat.session.submit("second"), DraftReturned)
    assert chat.store.queue.messages() == [], "it is in the prompt again, and only there"


def test_stopping_holds_the_queue_until_it_is_released(start: Start) -> None:
    chat = Asked(start)
    chat.session.submit("second")
    assert chat.session.interrupt() == [QueueChanged()]
    chat.chat.until(GenerationFinished)
    assert not chat.session.is_busy
    assert chat.is_held
    chat.gate.open()
    chat.session.submit("this one first")
    chat.session.submit("and this one")
    chat.finish_all(2)
    assert (chat.asked, chat.waiting) == (["count", "this one first", "and this one"], ["second"]), (
        "what is sent now is not held"
    )
    chat.session.branching.regenerate()
    chat.chat.until(GenerationFinished)
    assert chat.waiting == ["second"]
    assert of_kind(chat.session.queue.release(), ReplyBegan)
    chat.chat.until(GenerationFinished)
    assert chat.said[-2:] == ["second", "one two three"]
    assert not chat.session.queue.held


def test_a_failed_reply_holds_the_queue(start: Start) -> None:
    chat = Asked(start)
    chat.chat.engine.script = Script(fault="bug", fault_at=0)
    for text in ("fails", "third"):
        chat.session.submit(text)
    chat.finish_all(2)
    assert chat.asked == ["count", "fails"]
    assert (chat.waiting, chat.is_held) == (["third"], True)


def test_the_failure_of_a_reply_that_was_left_holds_nothing(start: Start) -> None:
    chat = Asked(start)
    chat.session.submit("second")
    assert chat.session.running is not None
    failed = ErrorInfo(kind="engine_died", message="It crashed.")
    left = GenerationFinished(chat.session.running.request.id - 1, "error", error=failed)
    assert chat.session.apply(left) == []
    assert not chat.session.queue.held


def test_a_prompt_that_is_too_long_returns_and_holds_the_rest(start: Start) -> None:
    chat = Asked(start)
    chat.chat.engine.script = Script(context_length=20)
    chat.chat.host.load("scripted")
    chat.session.submit("word " * 40)
    chat.session.submit("third")
    chat.gate.open()
    chat.chat.until(EngineLoaded)
    returned = of_kind(chat.chat.until(GenerationFinished), DraftReturned)
    assert [each.text for each in returned] == ["word " * 40]
    assert chat.waiting == ["third"]
    assert chat.is_held


def test_the_queue_waits_for_a_model(start: Start) -> None:
    chat = Asked(start)
    chat.session.submit("second")
    chat.chat.host.unload()
    chat.chat.until(EngineStateChanged, state="empty")
    assert chat.waiting == ["second"]
    chat.gate.open()
    chat.chat.host.load("scripted")
    chat.chat.until(EngineLoaded)
    chat.chat.until(GenerationFinished)
    assert chat.said[-2:] == ["second", "one two three"]


def test_a_dropped_message_leaves_no_empty_conversation(start: Start) -> None:
    chat = Asked(start)
    for is_on_screen in (True, False):
        chat.session.new_conversation()
        chat.session.submit("never mind")
        if not is_on_screen:
            chat.session.open(chat.home)
        (queued,) = chat.session.queue.messages
        chat.session.queue.drop(queued.id)
        with pytest.raises(StorageError, match="conversation"):
            chat.store.conversation(queued.conversation_id)
        assert [each.id for each in chat.session.conversations()] == [chat.home]
        assert chat.session.conversation is None if is_on_screen else chat.said == ["count", "one"]


def test_a_deleted_conversation_takes_its_messages_along_and_brings_them_back_held(start: Start) -> None:
    chat = Asked(start)
    chat.session.submit("second")
    assert not of_kind(chat.session.delete(chat.home), Notice)
    assert chat.waiting == []
    assert not chat.session.is_busy, "nothing starts in a deleted conversation"
    chat.session.undelete()
    assert (chat.waiting, chat.is_held) == (["second"], True)


def test_a_conversation_that_another_window_deleted_is_skipped_and_reported(start: Start) -> None:
    chat = Asked(start)
    chat.session.new_conversation()
    chat.session.submit("gone")
    assert chat.session.conversation is not None
    gone = chat.session.conversation.id
    chat.session.new_conversation()
    chat.session.submit("third")
    chat.store.delete(gone)
    notices = of_kind(chat.finish(), Notice)
    assert ["“gone” was not sent" in each.error.message for each in notices] == [True]
    chat.finish_all(1)
    assert chat.said == ["third", "one two three"]
    chat.store.undelete(gone)
    assert [each.content for each in chat.store.queue.messages()] == ["gone"], "nothing is lost"


def test_a_message_that_cannot_be_stored_when_its_turn_comes_is_held(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    chat = Asked(start)
    chat.session.submit("second")

    def refuse(*_: object, **__: object) -> None:
        raise StorageError(ErrorInfo(kind="disk_full", message="The disk is full."))

    with monkeypatch.context() as patch:
        patch.setattr(chat.store, "add_user_message", refuse)
        notices = of_kind(chat.finish(), Notice)
    assert [each.error.message for each in notices] == [
        "The queued message “second” was not sent. The disk is full."
    ]
    assert (chat.waiting, chat.is_held) == (["second"], True)
    chat.session.queue.release()
    chat.finish_all(1)
    assert chat.asked == ["count", "second"]


def test_a_message_whose_reply_cannot_begin_is_sent_and_holds_the_rest(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    chat = Asked(start)
    chat.session.submit("second")
    chat.session.submit("third")

    def refuse(*_: object) -> None:
        raise StorageError(ErrorInfo(kind="disk_full", message="The disk is full."))

    with monkeypatch.context() as patch:
        patch.setattr(chat.store, "begin_reply", refuse)
        chat.finish()
    assert (chat.said[-1], chat.waiting, chat.is_held) == ("second", ["third"], True)


def test_a_message_that_another_window_has_taken_is_not_sent_again(start: Start) -> None:
    chat = Asked(start)
    chat.session.submit("second")
    (queued,) = chat.session.queue.messages
    chat.store.add_user_message(chat.home, chat.reply, "second", queued_id=queued.id)
    notices = of_kind(chat.finish(), Notice)
    assert ["was not sent" in each.error.message for each in notices] == [True]
    assert not chat.session.is_busy
    assert [each.content for each in chat.store.tree(chat.home)].count("second") == 1


def test_a_refused_reply_elsewhere_holds_the_queue_too(start: Start) -> None:
    chat = Asked(start)
    chat.chat.engine.script = Script(fault="bug", fault_at=0)
    chat.session.submit("fails")
    chat.session.new_conversation()
    chat.session.submit("mine")
    chat.gate.open()
    chat.chat.until(GenerationFinished)
    ended = of_kind(chat.chat.until(GenerationFinished), ReplyEndedElsewhere)
    assert [each.status for each in ended] == ["error"]
    assert (chat.waiting, chat.is_held) == (["mine"], True)


def test_after_a_crash_the_queue_waits_held_and_nothing_is_sent_twice(
    start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chat = Asked(start)
    for text in ("second", "third"):
        chat.session.submit(text)
    chat.finish()
    crashed = tmp_path / "crashed"
    crashed.mkdir()
    for file in tmp_path.glob("conversations.db*"):
        shutil.copyfile(file, crashed / file.name)
    for module in ("messages", "queue"):
        monkeypatch.setattr(f"ttchat_tui.storage.{module}.has_writer_ended", lambda writer, silent_s: True)
    again = Chat(crashed / "conversations.db", Script(replies=("Here.",)))
    with closing(again):
        assert again.session.queue.restore() == [QueueChanged()]
        assert [each.content for each in again.session.queue.messages] == ["third"]
        assert not again.session.queue.is_waiting
        assert not again.session.is_busy
        again.session.queue.release()
        again.until(GenerationFinished)
        again.session.open(chat.home)
        said = [message.content for message in again.session.path]
        assert said == ["count", "one two three", "second", "", "third", "Here."]


def test_the_queue_of_a_process_is_taken_over_once_it_has_ended(start: Start) -> None:
    chat = Asked(start)
    chat.session.submit("second")
    living = os.getppid()
    with subprocess.Popen(["true"]) as process:
        ended = process.pid
    for pid, waiting in ((living, []), (ended, ["second"])):
        writer = msgspec.structs.replace(this_process(), pid=pid, started=_start_time(living))
        with chat.store._database.transaction() as transaction:
            transaction.execute("UPDATE queue SET writer = ?", (writer.encoded(),))
        chat.session.queue.restore()
        assert chat.waiting == waiting
    assert chat.is_held


def test_a_session_that_is_not_kept_takes_no_messages_over(start: Start) -> None:
    chat = Asked(start)
    chat.session.submit("second")
    with chat.store._database.transaction() as transaction:
        transaction.execute("UPDATE queue SET writer = 'of a process that has ended'")
    chat.store.mode = "read-only"  # its changes are in a copy: the next start would send them again
    chat.session.queue.restore()
    assert chat.waiting == []


def test_the_end_of_the_app_reports_waiting_messages_only_if_nothing_is_kept(
    start: Start, tmp_path: Path
) -> None:
    chat = Asked(start)
    chat.session.submit("second")
    assert chat.session.close() == []
    with closing(open_scratch_store(tmp_path / "conversations.db")) as scratch:
        chat.session._store = scratch
        lost = Unsaved("The queued message in “count” was not sent, and is not kept:", "second")
        assert chat.session.close() == [lost]
