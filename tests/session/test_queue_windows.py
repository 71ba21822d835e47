"""The queue between windows: any order of changes, ends, deaths and pauses sends each message once or leaves it in one queue."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from unittest import mock

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from tests.session.test_chat import Chat
from tests.session.test_elsewhere import of_kind
from tests.size import sized
from tests.storage.examples import STARTED, HandClock, ask
from ttchat_tui.domain.conversation import QueuedMessage
from ttchat_tui.domain.events import GenerationFinished
from ttchat_tui.domain.updates import DraftReturned, Notice, Update
from ttchat_tui.session.message_queue import MessageQueue
from ttchat_tui.session.presence import BEAT_S, Presence
from ttchat_tui.storage.conversations import ConversationStore
from ttchat_tui.storage.database import open_in_memory
from ttchat_tui.storage.errors import StorageError
from ttchat_tui.storage.writers import SILENCE_S, Writer


@contextmanager
def as_process(writer: Writer) -> Iterator[None]:
    with ExitStack() as patches:
        for module in ("queue", "presence", "messages"):
            patches.enter_context(
                mock.patch(f"ttchat_tui.storage.{module}.this_process", return_value=writer)
            )
        yield


class QueueWindow:
    """A queue in a process on a host of its own, so that others see it by its signs of life only."""

    def __init__(self, number: int, store: ConversationStore, clock: HandClock) -> None:
        self.writer = Writer(f"host {number}", 1, "1")
        self.store = store
        self.sent: list[int] = []
        self.queue = MessageQueue(store, list, lambda _: None)
        self.presence = Presence(store, clock, lambda: bool(self.queue.messages))
        self.is_alive = self.runs = True
        self.seen_at = clock.now
        """Its last sign of life."""

    def send(self, home: int, message: QueuedMessage) -> None:
        try:
            self.store.add_user_message(home, None, message.content, queued_id=message.id)
        except StorageError as error:
            if error.info.kind != "not_found":
                raise
        else:
            self.sent.append(message.id)
        self.queue.remove(message)


class Windows(RuleBasedStateMachine):
    """The model: what was queued by id, who has it, and what was dropped."""

    def __init__(self) -> None:
        super().__init__()
        self.clock = HandClock()
        self.store = ConversationStore(open_in_memory(Path("model")), clock=self.clock, mode="read-write")
        self.home = ask(self.store).conversation_id
        self.texts: dict[int, str] = {}
        self.owner: dict[int, QueueWindow] = {}
        self.dropped: set[int] = set()
        self.all: list[QueueWindow] = []
        for _ in range(2):
            self.start_window()

    def window(self, at: int) -> QueueWindow:
        running = [each for each in self.all if each.is_alive and each.runs]
        return running[at % len(running)]

    @property
    def has_several(self) -> bool:
        return sum(each.is_alive and each.runs for each in self.all) > 1

    @precondition(lambda self: sum(each.is_alive for each in self.all) < 3)
    @rule()
    def start_window(self) -> None:
        self.all.append(QueueWindow(len(self.all), self.store, self.clock))
        self._follow(self.all[-1], lambda window: window.queue.restore())

    @rule(at=st.integers(0, 2))
    def follow(self, at: int) -> None:
        self._follow(self.window(at), lambda window: window.queue.follow())

    def _follow(self, window: QueueWindow, look: Callable[[QueueWindow], list[Update]]) -> None:
        before = {each.id for each in window.queue.messages}
        with as_process(window.writer):
            look(window)
        for message in window.queue.messages:
            if (left := self.owner[message.id]) is not window:
                is_silent = self.clock.now - left.seen_at > SILENCE_S
                assert not left.is_alive or is_silent, "a living window keeps its queue"
                assert message.id in window.queue.held or message.id in before, "it is offered, not sent"
                self.owner[message.id], window.seen_at = window, self.clock.now
        mine = {each for each, owner in self.owner.items() if owner is window}
        assert {each.id for each in window.queue.messages} == mine, "what is shown is what it has"

    @rule(at=st.integers(0, 2), text=st.sampled_from("abc"))
    def enqueue(self, at: int, text: str) -> None:
        window = self.window(at)
        with as_process(window.writer):
            window.queue.add(self.home, text, 1)
            self.beat(window)
        added = max(each.id for each in window.queue.messages)
        assert added not in window.queue.held
        self.texts[added], self.owner[added] = text, window

    @rule(at=st.integers(0, 2), place=st.integers(0, 5), text=st.sampled_from("xyz"))
    def edit(self, at: int, place: int, text: str) -> None:
        if message := self._chosen(window := self.window(at), place):
            with as_process(window.writer):
                window.queue.begin_edit(message.id)
                returned = of_kind(window.queue.end_edit(text), DraftReturned)
            assert bool(returned) == (self.owner.get(message.id) is not window), (
                "stored, or back in the prompt"
            )
            if not returned:
                self.texts[message.id] = text

    @rule(at=st.integers(0, 2), place=st.integers(0, 5), is_drop=st.booleans())
    def drop_or_move(self, at: int, place: int, is_drop: bool) -> None:
        if message := self._chosen(window := self.window(at), place):
            with as_process(window.writer):
                try:
                    if is_drop:
                        window.queue.drop(message.id)
                    else:
                        window.queue.move(message.id, 1)
                except StorageError:
                    assert any(self.owner.get(each.id) is not window for each in window.queue.messages)
                else:
                    if is_drop:
                        self.dropped.add(message.id)
                        del self.owner[message.id]

    @rule(at=st.integers(0, 2))
    def send(self, at: int) -> None:
        window = self.window(at)
        if (message := window.queue.next()) is not None:
            with as_process(window.writer):
                window.send(self.home, message)
            if message.id in window.sent:
                assert self.owner.pop(message.id) is window, "it was in no other window's hands"

    @rule(at=st.integers(0, 2), is_release=st.booleans())
    def hold_or_release(self, at: int, is_release: bool) -> None:
        queue = self.window(at).queue
        if is_release:
            queue.release()
        else:
            queue.hold()

    def beat(self, window: QueueWindow) -> None:
        with as_process(window.writer):
            window.presence.beat()
        window.seen_at = self.clock.now

    @precondition(lambda self: self.has_several)
    @rule(at=st.integers(0, 2), is_orderly=st.booleans())
    def end(self, at: int, is_orderly: bool) -> None:
        window = self.window(at)
        if is_orderly:
            with as_process(window.writer):
                window.queue.give_up()
        window.is_alive = False

    @precondition(lambda self: self.has_several)
    @rule(at=st.integers(0, 2), silences=st.integers(0, 2))
    def stop_and_resume(self, at: int, silences: int) -> None:
        """Then it does whatever comes next with what it knew before."""
        stopped = self.window(at)
        stopped.runs = False
        self.wait(silences)
        self.follow(at)
        stopped.runs = True

    @rule(silences=st.integers(1, 4))
    def wait(self, silences: int) -> None:
        for _ in range(4 * silences):
            self.clock.now += BEAT_S + 1
            for window in self.all:
                if window.is_alive and window.runs:
                    self.beat(window)

    def _chosen(self, window: QueueWindow, place: int) -> QueuedMessage | None:
        messages = window.queue.messages
        return messages[place % len(messages)] if messages else None

    @invariant()
    def nothing_is_lost_or_doubled(self) -> None:
        rows = self.store._database.rows("SELECT id, content, writer FROM queue")
        queued = {row["id"]: row for row in rows}
        sent = [each for window in self.all for each in window.sent]
        assert sorted([*queued, *sent, *self.dropped]) == sorted(self.texts)
        assert all(row["content"] == self.texts[each] for each, row in queued.items())
        stored = self.store._database.rows("SELECT content FROM messages")[1:]
        assert sorted(row["content"] for row in stored) == sorted(self.texts[each] for each in sent)
        for each, row in queued.items():
            assert row["writer"] in (self.owner[each].writer.encoded(), "")

    def teardown(self) -> None:
        for window in self.all:
            window.is_alive = False
        self.clock.now += SILENCE_S + 1
        self.start_window()
        assert {each.id for each in self.all[-1].queue.messages} == set(self.owner), "the next start has all"
        self.store.close()


Windows.TestCase.settings = settings(
    max_examples=sized(15, 1_000), stateful_step_count=sized(25, 60), deadline=None
)
TestWindows = Windows.TestCase


WAITS_UNTIL_KILLED = """
import sys
from pathlib import Path
from ttchat_tui.storage.opening import open_store
store = open_store(Path(sys.argv[1]))
home = store.create_conversation().id
for text in ("one", "two"):
    store.queue.add(home, text, 1)
print("ready", flush=True)
sys.stdin.read()
"""


def test_a_living_window_offers_what_a_killed_one_left_and_sends_it_once(
    start: Callable[..., Chat], tmp_path: Path
) -> None:
    chat = start()
    path = tmp_path / "conversations.db"
    with subprocess.Popen(
        [sys.executable, "-c", WAITS_UNTIL_KILLED, str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as other:
        assert other.stdout is not None
        other.stdout.readline()
        assert chat.session.follow() == [], "it lives"
        other.send_signal(signal.SIGKILL)
    notices = of_kind(chat.session.follow(), Notice)
    assert [each.error.message for each in notices] == [
        "Another window has ended with 2 messages that wait. They are held here."
    ]
    queue = chat.session.queue
    assert [each.content for each in queue.messages] == ["one", "two"]
    assert not queue.is_waiting
    assert chat.session.follow() == [], "it is said once"
    home = queue.messages[0].conversation_id
    queue.release()
    for _ in range(2):
        chat.until(GenerationFinished)
    asked = [each.content for each in chat.store.tree(home) if each.role == "user"]
    assert asked == ["one", "two"]
    assert chat.store.queue.adopt() == []


def test_a_closed_window_leaves_its_queue_to_a_living_one_at_once(start: Callable[..., Chat]) -> None:
    closed, living = start(), start()
    with as_process(Writer("another host", 1, "1")):
        closed.session.queue.add(ask(closed.store).conversation_id, "waits", 1)
    assert living.session.follow() == []
    with as_process(Writer("another host", 1, "1")):
        closed.session.close()
    assert living.session.follow()
    assert [each.content for each in living.session.queue.messages] == ["waits"]


def test_a_window_whose_queue_was_taken_over_says_so(start: Callable[..., Chat]) -> None:
    paused, other = start(), start()
    paused.session.queue.add(ask(paused.store).conversation_id, "waits", 1)
    with paused.store._database.transaction() as transaction:
        transaction.execute("UPDATE queue SET writer = ''")
    home = paused.session.queue.messages[0].conversation_id
    with as_process(Writer("another host", 1, "1")):
        other.session.follow()
        assert other.session.queue.elsewhere(home) == []
    (waiting,) = of_kind(paused.session.queue.elsewhere(home), Notice)
    assert waiting.error.message.startswith("A message of this conversation waits in another window.")
    (notice,) = of_kind(paused.session.follow(), Notice)
    assert notice.error.message.startswith("A message that waited here cannot be sent")
    assert not paused.session.queue.messages


@pytest.mark.parametrize(("beats", "expected"), [(True, []), (False, ["interrupted"])])
def test_a_long_prefill_on_another_host_is_no_interrupted_reply(beats: bool, expected: list[str]) -> None:
    clock = HandClock()
    store = ConversationStore(open_in_memory(Path("prefill")), clock=clock, mode="read-write")
    asked = ask(store)
    with as_process(Writer("another host", 1, "1")):
        store.begin_reply(asked.conversation_id, asked.id, STARTED)
        presence = Presence(store, clock, lambda: True)
        for _ in range(6):
            clock.now += BEAT_S
            if beats:
                presence.beat()
    assert [each.status for each in store.recover()] == expected
