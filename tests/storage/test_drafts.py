"""Drafts of several windows: none overwrites another's, and what ended windows left comes back, the newest first."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from unittest import mock

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from tests.size import sized
from tests.storage.examples import HandClock, ask
from ttchat_tui.domain.conversation import Draft, Edit
from ttchat_tui.storage.conversations import ConversationStore
from ttchat_tui.storage.database import open_in_memory
from ttchat_tui.storage.errors import StorageError
from ttchat_tui.storage.writers import Writer


class FakeProcess:
    """A process that lives until it `ends`."""

    alive: set[str] = set()

    def __init__(self, number: int, store: ConversationStore) -> None:
        self.writer = Writer("this host", number, "1")
        self.store = store
        self.typed: dict[int | None, Draft] = {}
        """What it has typed and not sent, by conversation."""
        FakeProcess.alive.add(self.writer.encoded())

    @contextmanager
    def runs(self) -> Iterator[None]:
        with (
            mock.patch("ttchat_tui.storage.drafts.this_process", return_value=self.writer),
            mock.patch(
                "ttchat_tui.storage.drafts.has_writer_ended",
                lambda writer, _: writer not in FakeProcess.alive,
            ),
        ):
            yield

    def open(self, place: int | None) -> Draft:
        with self.runs():
            self.typed[place] = self.store.drafts.of(place)
        return self.typed[place]

    def type(self, place: int | None, text: str, edit: Edit | None = None) -> None:
        with self.runs():
            self.store.drafts.set(place, text, edit)
        self.typed[place] = Draft(text, edit)

    def end(self) -> None:
        FakeProcess.alive.discard(self.writer.encoded())


@pytest.fixture
def store() -> Iterator[ConversationStore]:
    made = ConversationStore(open_in_memory(Path("drafts")), clock=HandClock(), mode="read-write")
    yield made
    made.close()
    FakeProcess.alive.clear()


@pytest.mark.parametrize("is_new", [True, False], ids=["new", "stored"])
def test_two_windows_type_in_one_conversation_and_both_drafts_stay(
    store: ConversationStore, is_new: bool
) -> None:
    place = None if is_new else ask(store).conversation_id
    one, two = FakeProcess(1, store), FakeProcess(2, store)
    one.type(place, "from the first")
    assert two.open(place) == Draft(), "it belongs to the first window"
    two.type(place, "from the second", Edit(1, "an edit"))
    two.type(place, "from the second")
    assert one.open(place).text == "from the first"
    one.type(place, "")
    assert two.open(place).text == "from the second"


def test_the_newest_draft_is_there_at_the_next_start_and_the_older_one_after_it(
    store: ConversationStore,
) -> None:
    place = ask(store).conversation_id
    clock = store.drafts._clock
    assert isinstance(clock, HandClock)
    one, two = FakeProcess(1, store), FakeProcess(2, store)
    for window, text in ((two, "older"), (one, "newer")):
        clock.now += 1
        window.type(place, text, Edit(1, f"{text} edit"))
        window.end()
    later, beside = FakeProcess(3, store), FakeProcess(4, store)
    assert later.open(place) == Draft("newer", Edit(1, "newer edit"))
    assert beside.open(place).text == "older", "each is taken over by one window"
    later.type(place, "")
    beside.end()
    assert later.open(place).text == "older"
    assert store.conversation(place).draft == "older", "for backups and earlier versions"


def test_a_draft_of_an_earlier_version_is_taken_over_once(store: ConversationStore) -> None:
    place = ask(store).conversation_id
    with store._database.transaction() as transaction:
        transaction.execute("UPDATE conversations SET draft = 'former'")
        transaction.execute(
            "INSERT INTO app_state VALUES (?, ?)", (f"edit {place}", '{"message_id": 1, "text": "e"}')
        )
        transaction.execute("INSERT INTO app_state VALUES ('new_draft', 'former new')")
    one, two = FakeProcess(1, store), FakeProcess(2, store)
    assert one.open(place) == Draft("former", Edit(1, "e"))
    assert two.open(place) == Draft()
    assert one.open(None).text == "former new"
    assert two.open(None).text == ""


def test_a_draft_that_cannot_be_taken_over_is_shown(
    store: ConversationStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = ask(store).conversation_id
    one, two = FakeProcess(1, store), FakeProcess(2, store)
    one.type(place, "left")
    one.end()

    def refuse(*_: object) -> None:
        raise StorageError(mock.Mock(kind="disk_full"))

    monkeypatch.setattr(store.drafts, "_take", refuse)
    assert two.open(place).text == "left"


def test_drafts_in_purged_conversations_go_and_others_stay(store: ConversationStore) -> None:
    gone, kept = ask(store).conversation_id, ask(store).conversation_id
    one = FakeProcess(1, store)
    for place in (gone, kept, None):
        one.type(place, f"in {place}")
    with store._database.transaction() as transaction:
        transaction.execute("DELETE FROM conversations WHERE id = ?", (gone,))
    store.purge_deleted()
    assert [one.open(place).text for place in (gone, kept, None)] == ["", f"in {kept}", "in None"]


class Drafting(RuleBasedStateMachine):
    """The model: the drafts that ended windows left, by place. Each living window knows what it has typed."""

    def __init__(self) -> None:
        super().__init__()
        self.clock = HandClock()
        self.store = ConversationStore(open_in_memory(Path("model")), clock=self.clock, mode="read-write")
        self.places = (None, ask(self.store).conversation_id, ask(self.store).conversation_id)
        self.left: dict[int | None, list[Draft]] = {place: [] for place in self.places}
        """The oldest first."""
        self.windows: list[FakeProcess] = []
        self.ids: set[tuple[int | None, int]] = set()
        self.texts = 0
        self.start()

    @precondition(lambda self: len(self.windows) < 3)
    @rule()
    def start(self) -> None:
        self.texts += 1
        self.windows.append(FakeProcess(self.texts, self.store))

    @rule(at=st.integers(0, 2), place=st.integers(0, 2), is_sent=st.booleans(), has_edit=st.booleans())
    def type(self, at: int, place: int, is_sent: bool, has_edit: bool) -> None:
        window, self.texts = self.windows[at % len(self.windows)], self.texts + 1
        self.open(at, place)
        self.clock.now += 1
        edit = Edit(1, f"edit {self.texts}") if has_edit and self.places[place] else None
        window.type(self.places[place], "" if is_sent else f"draft {self.texts}", None if is_sent else edit)

    @rule(at=st.integers(0, 2), place=st.integers(0, 2))
    def open(self, at: int, place: int) -> None:
        window, home = self.windows[at % len(self.windows)], self.places[place]
        own = window.typed.get(home, Draft())
        self.clock.now += 1
        found = window.open(home)
        if own == Draft() and self.left[home]:
            own = self.left[home].pop()
        assert found == own

    @precondition(lambda self: len(self.windows) > 1)
    @rule(at=st.integers(0, 2))
    def end(self, at: int) -> None:
        window = self.windows.pop(at % len(self.windows))
        window.end()
        for home, draft in window.typed.items():
            if draft != Draft():
                self.left[home].append(draft)
                self.left[home].sort(key=lambda each: int(each.text.split()[-1]))

    @invariant()
    def no_window_has_another_ones_draft(self) -> None:
        for window in self.windows:
            with window.runs():
                for home, draft in window.typed.items():
                    assert self.store.drafts.of(home, adopts=False) == draft

    def teardown(self) -> None:
        for window in self.windows:
            window.end()
        self.store.close()
        FakeProcess.alive.clear()


Drafting.TestCase.settings = settings(
    max_examples=sized(25, 1_000), stateful_step_count=sized(20, 60), deadline=None
)
TestDrafting = Drafting.TestCase
