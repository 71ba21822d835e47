"""Requests that the engine refuses: whatever was said is in one place afterwards, and the conversation is as it was."""

from __future__ import annotations

import re
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.fakes import Script, ScriptedEngine
from tests.session.test_chat import Chat
from tests.session.test_elsewhere import of_kind
from tests.session.test_queue_windows import as_process
from tests.size import sized
from ttchat_tui.domain.candidates import Variant
from ttchat_tui.domain.conversation import Draft, Edit, joined
from ttchat_tui.domain.errors import REFUSALS, ErrorInfo
from ttchat_tui.domain.events import GenerationEvent, GenerationFinished, GenerationStarted
from ttchat_tui.domain.generation import GenerationControl, GenerationRequest
from ttchat_tui.domain.recording import Recording
from ttchat_tui.domain.updates import BranchShown, ConversationOpened, DraftReturned, ReplyEnded, Update
from ttchat_tui.engine.base import refusal
from ttchat_tui.session.forking import text_before
from ttchat_tui.storage.drafts import StoredDrafts
from ttchat_tui.storage.errors import StorageError
from ttchat_tui.storage.writers import Writer

REFUSED = ErrorInfo(kind="constraint", message="It cannot be answered.")
OTHER = Writer("another host", 1, "1")


class Refusing(ScriptedEngine):
    """Refuses requests while `error` is set, once `may_end` is."""

    def __init__(self, script: Script) -> None:
        super().__init__(script)
        self.error: ErrorInfo | None = None
        self.has_started = False
        self.may_end = threading.Event()
        self.may_end.set()

    def generate(self, request: GenerationRequest, control: GenerationControl) -> Iterator[GenerationEvent]:
        self.may_end.wait()
        if self.error is None:
            yield from super().generate(request, control)
            return
        if self.has_started:
            yield GenerationStarted(request.id, 1, 0, 8)
        yield refusal(request, self.error)


class Refused:
    """A window on an engine that refuses what the test wants."""

    def __init__(self, path: Path) -> None:
        self.engine = Refusing(Script(replies=("one two",), batch_sizes=(1, 2)))
        self.chat = Chat(path, engine=self.engine)
        self.session, self.store = self.chat.session, self.chat.store

    @property
    def said(self) -> list[str]:
        return [each.content for each in self.session.path]

    def begin(self, begin: Callable[[], list[Update]], error: ErrorInfo | None = REFUSED) -> list[Update]:
        """Ask for what will be refused, later."""
        self.engine.may_end.clear()
        self.engine.error = error
        return begin()

    def end(self) -> list[Update]:
        self.engine.may_end.set()
        return self.chat.until(GenerationFinished)


@pytest.fixture
def refused(tmp_path: Path) -> Iterator[Refused]:
    window = Refused(tmp_path / "conversations.db")
    yield window
    window.engine.may_end.set()
    window.chat.close()


@pytest.mark.parametrize("is_new", [True, False])
def test_a_kill_between_the_refusal_and_the_prompt_loses_nothing(refused: Refused, is_new: bool) -> None:
    if not is_new:
        refused.chat.ask("before")
    refused.begin(lambda: refused.session.submit("refused"))
    edit = Edit(refused.session.path.ids[0], "changed")
    refused.session.save_draft("typed since", edit)
    refused.end()
    home_id = refused.session.conversation.id if refused.session.conversation else None
    kept = refused.store.drafts.of(home_id)  # nothing has stored it from the screen
    if is_new:
        assert (home_id, kept) == (None, Draft("refused\n\ntyped since\n\nchanged"))
    else:
        assert kept == Draft("refused\n\ntyped since", edit)


def test_the_draft_of_a_new_conversation_joins_what_returns_there(refused: Refused) -> None:
    refused.begin(lambda: refused.session.submit("refused"))
    assert refused.session.conversation is not None
    home_id = refused.session.conversation.id
    refused.session.new_conversation()
    refused.session.save_draft("for later")
    refused.session.open(home_id)
    (returned,) = of_kind(refused.end(), DraftReturned)
    assert refused.session.conversation is None
    assert returned.text == refused.session.draft == "refused\n\nfor later"


def test_a_message_below_which_others_have_written_stays(refused: Refused) -> None:
    refused.chat.ask("before")
    refused.begin(lambda: refused.session.submit("refused"))
    asked, reply = refused.session.path[-2:]
    assert reply.reply is not None
    with as_process(OTHER):
        refused.store.begin_reply(asked.conversation_id, asked.id, reply.reply)
    updates = refused.end()
    assert not of_kind(updates, DraftReturned), "it is stored, and would be said twice"
    assert [each.error for each in of_kind(updates, ReplyEnded)] == [REFUSED]
    assert refused.said == ["before", "one two", "refused", ""]
    assert len(refused.store.children(asked.id, asked.conversation_id)) == 2


def test_a_refusal_that_cannot_be_undone_changes_nothing(
    refused: Refused, monkeypatch: pytest.MonkeyPatch
) -> None:
    refused.begin(lambda: refused.session.submit("refused"))

    def fail(*_: object, **__: object) -> str:
        raise StorageError(ErrorInfo(kind="disk_full", message="The disk is full."))

    monkeypatch.setattr(StoredDrafts, "give_back", fail)
    updates = refused.end()
    assert not of_kind(updates, DraftReturned)
    assert refused.said == ["refused", ""]
    assert [each.content for each in refused.store.path(refused.session.path.ids[-1])] == ["refused", ""]


def test_what_another_window_has_withdrawn_leaves_the_screen(refused: Refused, tmp_path: Path) -> None:
    refused.chat.ask("before")
    assert refused.session.conversation is not None
    with as_process(OTHER):
        other = Chat(tmp_path / "conversations.db", Script(replies=("fine",)))
        other.session.open(refused.session.conversation.id)
    refused.begin(lambda: refused.session.submit("refused"))
    with as_process(OTHER):
        other.session.other_windows.follow()
        assert [each.content for each in other.session.path][2:] == ["refused", ""]
        other.session.submit("waits there")
    refused.end()
    with as_process(OTHER):
        updates = other.session.other_windows.follow()
        assert BranchShown(2, ()) in updates
        other.until(GenerationFinished)
        assert [each.content for each in other.session.path][2:] == ["waits there", "fine"]
        assert other.store.queue.messages() == []
        other.close()


def test_a_queued_message_whose_place_is_gone_stays_in_the_queue(
    refused: Refused, monkeypatch: pytest.MonkeyPatch
) -> None:
    refused.begin(lambda: refused.session.submit("first"), error=None)
    refused.session.submit("second")

    def fail(*_: object, **__: object) -> None:
        raise StorageError(ErrorInfo(kind="not_found", message="This message is gone."))

    with monkeypatch.context() as patch:
        patch.setattr(refused.store, "add_user_message", fail)
        refused.end()
    assert [each.content for each in refused.session.queue.messages] == ["second"]
    assert not refused.session.queue.is_waiting, "it is held"


class Screen:
    """What the prompt has, over a session; `said` is all that the user has said, once each."""

    def __init__(self, folder: Path) -> None:
        self.window = Refused(folder / "conversations.db")
        self.session, self.store = self.window.session, self.window.store
        self.prompt, self.said = "", Counter[str]()

    def show(self, updates: list[Update]) -> None:
        for update in updates:
            if isinstance(update, DraftReturned):
                self.prompt = joined(update.text, self.prompt)
            elif isinstance(update, ConversationOpened):
                self.prompt = self.session.draft
        self.session.save_draft(self.prompt)

    def new_words(self) -> str:
        words = f"[{self.said.total()}]"
        self.said[words] += 1
        return words

    def type(self) -> None:
        self.prompt = joined(self.prompt, self.new_words())
        self.session.save_draft(self.prompt)

    def send(self) -> None:
        text = joined(self.prompt, self.new_words())
        self.prompt = ""
        self.show(self.session.submit(text))

    def compare(self) -> None:
        wanted = [Variant(f"seed {seed}", seed=seed) for seed in range(3)]
        text = "" if self.session._why_not("") else self.new_words()
        self.show(self.session.candidates.ask(wanted, text))

    def edit(self) -> None:
        own = [each for each in self.session.path if each.role == "user"]
        if own and not self.session.branching.why_not():
            self.show(self.session.branching.edit(own[0].id, self.new_words()))

    def retry(self) -> None:
        self.show(self.session.branching.regenerate())

    def resume(self) -> None:
        self.show(self.session.branching.continue_reply())

    def write(self) -> None:
        replies = [each for each in self.session.path if each.role == "assistant"]
        if replies and not self.session.is_busy:
            words = self.new_words()
            self.show(self.session.branching.write(replies[0].id, words, to_continue=True))

    def rewrite(self) -> None:
        replies = [each for each in self.session.path if each.role == "assistant"]
        recording = self.session.recordings.of(replies[-1].id) if replies else Recording()
        is_possible = not self.session.branching.why_not() and recording.tokens
        if is_possible and text_before(replies[-1].content, recording, 0) is not None:
            versions = replies[-1].sibling_count
            self.show(self.session.forking.rewrite(replies[-1].id, recording, 0, self.new_words()))
            self.end()
            is_refused = self.window.engine.error is not None
            last = self.store.message(self.session.path.ids[-1])
            assert last.sibling_count == versions + (not is_refused), "a refused rewrite leaves no version"

    def new(self) -> None:
        self.session.save_draft(self.prompt)
        self.show(self.session.new_conversation())

    def open(self) -> None:
        self.session.save_draft(self.prompt)
        if stored := self.session.conversations():
            self.show(self.session.open(stored[-1].id))

    def end(self) -> None:
        self.window.engine.may_end.set()
        while self.session.is_busy:
            self.show(self.window.chat.until(GenerationFinished))

    def places(self) -> Counter[str]:
        """Where each of the words is: in stored messages, in the queue, in drafts."""
        found = [each.content for each in self.store.queue.messages()]
        for home in self.store.conversations(limit=100):
            found += [
                each.content for each in self.store.tree(home.id) if each.role == "user" or each.is_edited
            ]
        for home_id in (None, *(each.id for each in self.session.conversations())):
            found.append(self.store.drafts.of(home_id, adopts=False).text)
        return Counter(word for text in found for word in re.findall(r"\[\d+\]", text))


ACTS = ("type", "send", "compare", "edit", "retry", "resume", "write", "rewrite", "new", "open", "end")


@settings(max_examples=sized(40, 2000), deadline=None)
@given(
    history=st.lists(
        st.tuples(st.sampled_from(ACTS), st.sampled_from((None, *sorted(REFUSALS))), st.booleans()),
        max_size=14,
    )
)
def test_whatever_is_refused_all_that_was_said_is_in_one_place(
    history: list[tuple[str, str | None, bool]],
) -> None:
    with TemporaryDirectory() as folder:
        screen = Screen(Path(folder))
        try:
            for act, kind, has_started in history:
                engine = screen.window.engine
                if not screen.session.is_busy:
                    engine.may_end.clear()
                    engine.has_started = has_started
                    engine.error = ErrorInfo(kind=kind, message="No.") if kind else None  # pyright: ignore
                getattr(screen, act)()
            screen.end()
            assert screen.places() == screen.said
        finally:
            screen.window.engine.may_end.set()
            screen.window.chat.close()
