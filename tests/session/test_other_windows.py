"""What a window shows of a reply that another window writes, what waits for it, and what becomes of it if that window dies."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.fakes import Gate, Script
from tests.session.test_chat import Chat
from tests.session.test_elsewhere import of_kind
from tests.session.test_queue_windows import as_process
from tests.size import sized
from tests.storage.examples import STARTED
from ttchat_tui.domain.conversation import MessageStatus
from ttchat_tui.domain.events import GenerationFinished, TokenEvent
from ttchat_tui.domain.updates import (
    DraftReturned,
    MessageAdded,
    Notice,
    QueueChanged,
    ReplyBegan,
    ReplyFollowed,
)
from ttchat_tui.session.notices import ANSWERED_BY_OTHER, OTHER_HAS_ENDED, STOP_IT_THERE, held_after
from ttchat_tui.storage.opening import open_store
from ttchat_tui.storage.writers import Writer

Start = Callable[..., Chat]
ELSEWHERE = Writer("another host", 1, "1")
WORDS = ("one ", "one two ", "one two three")


class OtherProcess:
    """Another process that answers in a conversation, as its store sees it."""

    def __init__(self, path: Path, home: int) -> None:
        self.store = open_store(path)
        conversation = self.store.conversation(home)
        assert conversation.head_id is not None
        with as_process(ELSEWHERE):
            asked = self.store.add_user_message(home, conversation.head_id, "count")
            self.reply = self.store.begin_reply(home, asked.id, STARTED)

    def write(self, text: str) -> None:
        self.store.checkpoint(self.reply.id, text, ())

    def pause(self, is_paused: bool) -> None:
        with as_process(ELSEWHERE):
            self.store.presence.beat(is_paused=is_paused)

    def end(self, status: MessageStatus = "complete", text: str = WORDS[-1]) -> None:
        self.store.finish_reply(self.reply.id, text, status, STARTED)


@pytest.fixture
def answered(start: Start, tmp_path: Path) -> Iterator[tuple[Chat, OtherProcess]]:
    """A window with a conversation on screen, in which another one answers."""
    chat = start(Script(replies=("Hi.",)))
    chat.ask("hello")
    assert chat.session.conversation is not None
    other = OtherProcess(tmp_path / "conversations.db", chat.session.conversation.id)
    yield chat, other
    other.store.close()


def test_a_pause_in_another_window_is_seen_until_it_ends(answered: tuple[Chat, OtherProcess]) -> None:
    chat, other = answered
    chat.session.other_windows.follow()
    windows = chat.session.other_windows
    for is_paused in (False, True, True, False, True):
        other.pause(is_paused)
        windows.follow()
        assert (windows.is_answering, windows.is_paused) == (True, is_paused)
    chat.session.new_conversation()
    assert not windows.is_paused, "it is another conversation's"
    assert chat.session.path == []
    other.end()
    windows.follow()
    assert not windows.is_paused


def test_versions_that_another_window_is_writing_are_no_candidates_yet(
    answered: tuple[Chat, OtherProcess],
) -> None:
    chat, other = answered
    with as_process(ELSEWHERE):
        second = other.store.begin_reply(other.reply.conversation_id, other.reply.parent_id or 0, STARTED)
    other.write("one")
    chat.session.other_windows.follow()
    candidates = chat.session.candidates
    candidates.reopen()
    assert not candidates.is_on_screen, "they would be shown as ended"
    other.store.finish_reply(second.id, "two", "complete", STARTED)
    other.end()
    assert chat.session.other_windows.is_answering, "as of the last look"
    candidates.reopen()
    assert candidates.is_on_screen
    assert {lane.text for lane in candidates.lanes} == {WORDS[-1], "two"}


def test_a_window_tells_others_at_once_that_it_pauses_and_resumes(start: Start, tmp_path: Path) -> None:
    gate = Gate()
    chat = start(Script(replies=("one two three",), stepped=True), gate)
    other = open_store(tmp_path / "conversations.db")
    chat.session.submit("count")
    gate.release()
    chat.until(TokenEvent)
    chat.session.tick()  # a beat: the next one would not be due for a while
    assert chat.session.conversation is not None
    for is_paused in (True, False, True):
        assert chat.session.pausing.toggle() is None
        chat.session.tick()
        with as_process(ELSEWHERE):
            assert other.presence.paused_by_others() == (
                {chat.session.conversation.id} if is_paused else set()
            )
    chat.session.stop()
    gate.open()
    chat.until(GenerationFinished)
    with as_process(ELSEWHERE):
        assert other.presence.paused_by_others() == set()
    chat.session.tick()
    rows = other._database.rows("SELECT key FROM app_state WHERE key LIKE 'paused %'")
    assert [*rows] == [], "nothing is left of it"
    other.close()


def test_the_words_of_another_window_are_followed_to_the_end(answered: tuple[Chat, OtherProcess]) -> None:
    chat, other = answered
    added = chat.session.other_windows.follow()
    assert [each.message.content for each in of_kind(added, MessageAdded)] == ["count", ""]
    assert chat.session.other_windows.is_answering
    for words in WORDS:
        other.write(words)
        (followed,) = of_kind(chat.session.other_windows.follow(), ReplyFollowed)
        assert (followed.message.content, followed.message.status) == (words, "streaming")
        assert chat.session.path[-1].content == words
    assert chat.session.other_windows.follow() == [], "nothing is new"
    assert chat.session.interrupt() == [Notice(STOP_IT_THERE)]
    other.end()
    (ended,) = of_kind(chat.session.other_windows.follow(), ReplyFollowed)
    assert (ended.message.content, ended.message.status) == (WORDS[-1], "complete")
    assert not chat.session.other_windows.is_answering


def test_it_is_known_that_another_window_answers_when_a_conversation_is_opened(
    start: Start, answered: tuple[Chat, OtherProcess]
) -> None:
    _, other = answered
    late = start()
    late.session.open(other.reply.conversation_id)
    assert late.session.other_windows.is_answering
    late.session.new_conversation()
    assert not late.session.other_windows.is_answering


def test_a_reply_that_another_window_continues_is_followed(answered: tuple[Chat, OtherProcess]) -> None:
    chat, other = answered
    other.end()
    chat.session.other_windows.follow()
    with as_process(ELSEWHERE):
        other.store.resume_reply(other.reply.id)
    other.write(f"{WORDS[-1]} four")
    (followed,) = of_kind(chat.session.other_windows.follow(), ReplyFollowed)
    assert (followed.message.content, followed.message.status) == ("one two three four", "streaming")
    assert chat.session.other_windows.is_answering


def test_a_message_waits_for_the_reply_of_another_window_and_follows_it(
    answered: tuple[Chat, OtherProcess],
) -> None:
    chat, other = answered
    sent = chat.session.submit("and then?")
    assert of_kind(sent, QueueChanged)
    assert not of_kind(sent, DraftReturned)
    assert chat.session.queue.behind_others
    assert not of_kind(chat.session.other_windows.follow(), ReplyBegan), "nothing follows half a reply"
    other.end()
    assert of_kind(chat.session.other_windows.follow(), ReplyBegan)
    chat.until(GenerationFinished)
    said = ["hello", "Hi.", "count", WORDS[-1], "and then?", "Hi."]
    assert [each.content for each in chat.session.path] == said
    assert chat.engine.requests[-1].messages[-2].content == WORDS[-1], "the whole reply is sent"


def test_what_waits_for_another_window_lets_other_conversations_pass(
    answered: tuple[Chat, OtherProcess],
) -> None:
    chat, other = answered
    chat.session.submit("and then?")
    chat.session.new_conversation()
    assert of_kind(chat.session.submit("elsewhere"), ReplyBegan)
    chat.until(GenerationFinished)
    assert [each.content for each in chat.session.queue.messages] == ["and then?"]
    other.end()
    chat.session.other_windows.follow()
    chat.until(GenerationFinished)
    assert [each.content for each in chat.store.tree(other.reply.conversation_id)][-2:] == [
        "and then?",
        "Hi.",
    ]


@pytest.mark.parametrize("status", ["interrupted", "error"])
def test_what_waits_for_a_reply_that_does_not_end_well_is_held(
    answered: tuple[Chat, OtherProcess], status: MessageStatus
) -> None:
    chat, other = answered
    chat.session.submit("and then?")
    other.end(status)
    assert Notice(held_after(status)) in chat.session.other_windows.follow()
    assert not chat.session.queue.is_waiting
    assert of_kind(chat.session.queue.release(), ReplyBegan)


def test_a_script_that_cannot_wait_is_refused(answered: tuple[Chat, OtherProcess]) -> None:
    chat, _ = answered
    assert chat.session.submit("and then?", may_wait=False) == [DraftReturned("and then?", ANSWERED_BY_OTHER)]
    assert not chat.session.queue.messages


def test_another_version_waits_until_the_other_window_has_ended(answered: tuple[Chat, OtherProcess]) -> None:
    chat, other = answered
    for refused in (chat.session.branching.regenerate(), chat.session.branching.continue_reply()):
        assert refused == [Notice(ANSWERED_BY_OTHER)]
    other.end()
    chat.session.other_windows.follow()
    assert of_kind(chat.session.branching.regenerate(), ReplyBegan)


# --- windows that die

ANSWERS_UNTIL_KILLED = """
import sys
from pathlib import Path
from tests.storage.examples import STARTED
from ttchat_tui.storage.opening import open_store
store = open_store(Path(sys.argv[1]))
home = store.conversation(int(sys.argv[2]))
asked = store.add_user_message(home.id, home.head_id, "count")
reply = store.begin_reply(home.id, asked.id, STARTED)
store.checkpoint(reply.id, sys.argv[3], ())
print("ready", flush=True)
sys.stdin.read()
"""


def answer_and_die(path: Path, home: int, text: str, meanwhile: Callable[[], object]) -> None:
    """Another process answers with `text` so far, `meanwhile` runs, and it is killed."""
    with subprocess.Popen(
        [sys.executable, "-c", ANSWERS_UNTIL_KILLED, str(path), str(home), text],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as other:
        assert other.stdout is not None
        other.stdout.readline()
        meanwhile()
        other.send_signal(signal.SIGKILL)


def opened(chat: Chat) -> int:
    chat.ask("hello")
    assert chat.session.conversation is not None
    return chat.session.conversation.id


def test_a_window_that_dies_while_it_answers_is_noticed(start: Start, tmp_path: Path) -> None:
    chat = start(Script(replies=("Hi.",)))

    def look_and_send() -> None:
        chat.session.other_windows.follow()
        assert chat.session.other_windows.is_answering
        chat.session.submit("and then?")

    answer_and_die(tmp_path / "conversations.db", opened(chat), "one two", look_and_send)
    updates = chat.session.other_windows.follow()
    (followed,) = of_kind(updates, ReplyFollowed)
    assert (followed.message.content, followed.message.status) == ("one two", "interrupted")
    assert Notice(OTHER_HAS_ENDED) in updates
    assert not chat.session.other_windows.is_answering
    assert not chat.session.queue.is_waiting, "what waited for it is held"
    assert chat.session.other_windows.interrupted() == [], "the screen shows it"
    assert of_kind(chat.session.branching.continue_reply(), ReplyBegan)


@settings(max_examples=sized(6, 50), deadline=None)
@given(
    looks=st.lists(st.sampled_from(["start", "script", "look"]), max_size=4),
    text=st.sampled_from(["", "one"]),
)
def test_each_interrupted_reply_is_reported_by_one_window_whoever_sees_it_first(
    tmp_path_factory: pytest.TempPathFactory, looks: list[str], text: str
) -> None:
    """`script`: a program that opens the file and has no screen. Also for a reply that died before its first word."""
    path = tmp_path_factory.mktemp("windows") / "conversations.db"
    chats = [Chat(path, Script(replies=("Hi.",)))]
    home = opened(chats[0])
    chats[0].session.new_conversation()
    answer_and_die(path, home, text, lambda: None)
    reported = list[int]()
    for look in [*looks, "start"]:
        if look == "script":
            store = open_store(path)
            store.recover()
            store.close()
            continue
        if look == "start":
            chats.append(Chat(path))
        reported += [each.id for each in chats[-1].session.other_windows.interrupted()]
        if reported:
            assert any(each.session.marks.of(home) == "failed" for each in chats)
    assert reported == [home]
    for chat in chats:
        chat.close()


def test_the_words_so_far_are_those_that_were_stored_last(answered: tuple[Chat, OtherProcess]) -> None:
    chat, other = answered
    other.write("one two")
    chat.session.other_windows.follow()
    other.write("else")  # its beginning has turned out to be a thought
    (followed,) = of_kind(chat.session.other_windows.follow(), ReplyFollowed)
    assert followed.message.content == "else"
