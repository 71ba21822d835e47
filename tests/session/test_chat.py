"""The session: what it stores, sends and reports, whatever the engine and the disk do."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.fakes import MODEL_MISSING, EventRecorder, Gate, Script, ScriptedEngine, prepare_scripted
from tests.new_store import new_store
from ttchat_tui.domain.chat import ChatMessage
from ttchat_tui.domain.errors import ErrorInfo
from ttchat_tui.domain.events import (
    EngineEvent,
    EngineFailed,
    EngineLoaded,
    EngineStateChanged,
    GenerationFinished,
    ProgressReporter,
    TokenEvent,
)
from ttchat_tui.domain.model_spec import EngineInfo, ModelSpec
from ttchat_tui.domain.recording import RecordLevel
from ttchat_tui.domain.sampling import SamplingParams
from ttchat_tui.domain.updates import (
    BranchShown,
    ConversationOpened,
    DraftReturned,
    EngineFault,
    MessageRemoved,
    Notice,
    PromptCost,
    ReplyEnded,
    ReplyStarted,
    ReplyStreamed,
    Update,
)
from ttchat_tui.engine.base import Engine
from ttchat_tui.engine.runtime.host import EngineHost
from ttchat_tui.session import ChatSession, left_out
from ttchat_tui.session.chat import CANCEL_AGAIN_S
from ttchat_tui.session.notices import LOAD_AND_SEND, NO_MODEL, STILL_LOADING
from ttchat_tui.storage.conversations import ConversationStore
from ttchat_tui.storage.errors import StorageError
from ttchat_tui.storage.message_path import MessagePath
from ttchat_tui.storage.opening import open_store


class Chat:
    """A session on a scripted engine and a real database, pumped by hand."""

    def __init__(
        self,
        path: Path,
        script: Script | None = None,
        gate: Gate | None = None,
        *,
        is_loaded: bool = True,
        record: RecordLevel = "full",
        engine: Engine | None = None,
    ) -> None:
        """`engine`: in place of the scripted one."""
        self.now = 0.0
        self.engine = ScriptedEngine(script, gate)
        self.host = EngineHost(engine or self.engine, prepare_scripted)
        self.store: ConversationStore = new_store(path)
        self.session = ChatSession(
            self.store, self.host, model="scripted", record=record, clock=lambda: self.now
        )
        self.recorder = EventRecorder(self.host)
        self.applied = 0
        self.host.start()
        self.host.load("scripted")
        if is_loaded:
            self.until(EngineLoaded)

    def until(self, kind: type[EngineEvent] | tuple[type[EngineEvent], ...], **fields: Any) -> list[Update]:
        """Wait for an event, and apply all events up to it."""
        event = self.recorder.until(kind, **fields)
        updates: list[Update] = []
        while True:
            next_event = self.recorder.events[self.applied]
            self.applied += 1
            updates.extend(self.session.apply(next_event))
            if next_event is event:
                return updates

    def ask(self, text: str) -> list[Update]:
        return [*self.session.submit(text), *self.until(GenerationFinished)]

    def close(self) -> None:
        self.session.close()
        self.host.shutdown()
        self.store.close()


def test_a_reply_is_stored_with_everything_needed_to_run_it_again(start: Callable[..., Chat]) -> None:
    chat = start(Script(replies=("Four.",)))
    chat.session.set_sampling(SamplingParams(temperature=0.3, seed=7))
    ended = [update for update in chat.ask("Two and two?") if isinstance(update, ReplyEnded)]
    user, reply = chat.store.path(ended[0].message.id)
    assert (user.content, reply.content, reply.status) == ("Two and two?", "Four.", "complete")
    assert reply.reply is not None
    assert reply.reply.seed == 7
    assert reply.reply.sampling is not None
    assert reply.reply.sampling.temperature == 0.3
    assert (reply.reply.model, reply.reply.engine, reply.reply.finish_reason) == (
        "scripted",
        "scripted",
        "stop",
    )
    assert len(reply.reply.token_ids) == 1
    assert reply.reply.stats is not None
    assert reply.reply.stats.ttft_s == 0.1


def test_a_model_that_does_not_load_leaves_the_one_before_to_be_reloaded(start: Callable[..., Chat]) -> None:
    chat = start()
    chat.session.load(MODEL_MISSING)
    said = [update for update in chat.until(EngineFailed) if isinstance(update, Notice)]
    assert said[0].error.message == "There is no model 'missing'. scripted is loaded again."
    chat.until(EngineLoaded)
    assert (chat.session.model, chat.session.loaded_model) == ("scripted", "scripted")


def test_the_model_before_has_the_name_that_its_server_gives_it(tmp_path: Path) -> None:
    class Served(ScriptedEngine):
        """`remote:` names none: the server chooses."""

        def load(self, spec: ModelSpec, report: ProgressReporter) -> EngineInfo:
            info = super().load(spec, report)
            return msgspec.structs.replace(info, model="parrot-1b") if spec.name == "remote:" else info

    chat = Chat(tmp_path / "conversations.db", engine=Served())
    chat.session.load("remote:")
    chat.until(EngineLoaded)
    chat.session.load(MODEL_MISSING)
    (said,) = [update for update in chat.until(EngineFailed) if isinstance(update, Notice)]
    assert said.error.message == "There is no model 'missing'. parrot-1b is loaded again."
    assert chat.session.model == "remote:", "by which it is loaded"
    chat.close()


def test_a_superseded_load_does_not_undo_the_newer_request(start: Callable[..., Chat]) -> None:
    chat = start()
    chat.session.model = "wanted"
    chat.session.apply(EngineStateChanged("loading", "slow"))
    overtaken = ErrorInfo(kind="load_cancelled", message="The load was cancelled.")
    assert chat.session.apply(EngineFailed(overtaken, "kept")) == [Notice(overtaken)]
    assert chat.session.model == "wanted"


def test_a_load_that_another_one_superseded_says_nothing(
    start: Callable[..., Chat], monkeypatch: pytest.MonkeyPatch
) -> None:
    chat = start()
    chat.session.model = "wanted"
    chat.session.apply(EngineStateChanged("loading", "slow"))
    monkeypatch.setattr(EngineHost, "is_loading", True)
    overtaken = ErrorInfo(kind="load_cancelled", message="The load was cancelled.")
    for before in ("kept", "none"):
        assert chat.session.apply(EngineFailed(overtaken, before)) == []
    (said,) = chat.session.apply(EngineFailed(overtaken, "reloading"))
    assert isinstance(said, Notice), "the user cancelled, and the model before is loaded again"


def test_a_conversation_has_its_title_while_the_first_reply_streams(start: Callable[..., Chat]) -> None:
    chat = start(Script(stepped=True), Gate())
    chat.session.submit("Is anybody there?")
    assert chat.session.conversation is not None
    assert chat.session.conversation.title == "Is anybody there?"


def test_the_message_is_on_disk_before_the_first_token(start: Callable[..., Chat], tmp_path: Path) -> None:
    chat = start(Script(stepped=True), Gate())
    chat.session.submit("Is anybody there?")
    other = open_store(tmp_path / "conversations.db")
    latest = other.latest()
    assert latest is not None
    assert latest.head_id is not None
    assert [message.content for message in other.path(latest.head_id)] == ["Is anybody there?", ""]
    other.close()


def test_the_whole_conversation_and_the_system_prompt_are_sent(start: Callable[..., Chat]) -> None:
    chat = start(Script(replies=("One.", "Two.")))
    chat.session.set_system_prompt("Be brief.")
    chat.ask("first")
    chat.ask("second")
    reply = chat.session.path[1]
    assert reply.reply is not None
    assert reply.reply.token_ids
    assert chat.engine.requests[-1].messages == (
        ChatMessage("system", "Be brief."),
        ChatMessage("user", "first"),
        ChatMessage("assistant", "One.", token_ids=reply.reply.token_ids),
        ChatMessage("user", "second"),
    )


def test_a_partial_reply_is_on_disk_after_a_second(start: Callable[..., Chat], tmp_path: Path) -> None:
    gate = Gate()
    chat = start(Script(replies=("one two three",), stepped=True), gate)
    chat.session.submit("count")
    gate.release()
    chat.until(TokenEvent)
    chat.now = 1.5
    gate.release()
    chat.until(TokenEvent)
    other = open_store(tmp_path / "conversations.db")
    latest = other.latest()
    assert latest is not None
    assert latest.head_id is not None
    assert other.message(latest.head_id).content == "one two"
    assert other.message(latest.head_id).status == "streaming"
    other.close()


def test_a_stalled_reply_is_checkpointed_by_the_pump(start: Callable[..., Chat]) -> None:
    gate = Gate()
    chat = start(Script(replies=("one two",), stepped=True), gate)
    chat.session.submit("count")
    gate.release()
    chat.until(TokenEvent)
    assert chat.session.running is not None
    chat.now = 1.1
    chat.session.tick()
    assert chat.store.message(chat.session.running.message.id).content == "one"


def test_stop_keeps_the_partial_reply(start: Callable[..., Chat]) -> None:
    gate = Gate()
    chat = start(Script(replies=("one two three",), stepped=True), gate)
    chat.session.submit("count")
    gate.release()
    chat.until(TokenEvent)
    assert chat.session.stop()
    ended = chat.until(GenerationFinished)[-2]
    assert isinstance(ended, ReplyEnded)
    assert (ended.message.content, ended.message.status) == ("one", "interrupted")
    assert not chat.session.stop()


def stopped_after_one_word(start: Callable[..., Chat], gate: Gate) -> Chat:
    """Of "one two three"; the next words wait for the gate."""
    chat = start(Script(replies=("one two three",), stepped=True), gate)
    chat.session.submit("count")
    gate.release()
    chat.until(TokenEvent)
    chat.session.stop()
    chat.until(GenerationFinished)
    return chat


def test_a_stopped_reply_can_be_continued_where_it_ended(start: Callable[..., Chat]) -> None:
    gate = Gate()
    chat = stopped_after_one_word(start, gate)
    gate.open()
    chat.session.branching.continue_reply()
    chat.until(GenerationFinished)
    request = chat.engine.requests[-1]
    assert request.continue_last
    assert request.messages[-1] == ChatMessage("assistant", "one")
    reply = chat.session.last_reply
    assert reply is not None
    assert (reply.content, reply.status) == ("one two three", "complete")
    assert reply.reply is not None
    assert len(reply.reply.token_ids) == 3
    assert request.written_ids == reply.reply.token_ids[:1]


def test_regenerating_adds_a_sibling_and_keeps_the_old_reply(start: Callable[..., Chat]) -> None:
    chat = start(Script(replies=("Same.",)))
    chat.ask("Again?")
    first = chat.session.last_reply
    updates = [*chat.session.branching.regenerate(), *chat.until(GenerationFinished)]
    second = chat.session.last_reply
    assert first is not None
    assert second is not None
    assert updates[0] == MessageRemoved(first.id)
    assert (second.sibling_index, second.sibling_count) == (1, 2)
    assert chat.store.message(first.id).content == "Same."
    assert chat.engine.requests[-1].messages == chat.engine.requests[0].messages


def test_a_reply_without_text_is_never_sent_back(start: Callable[..., Chat]) -> None:
    chat = start(Script(replies=("fine",), fault="raise", fault_at=0))
    chat.ask("first")
    chat.ask("second")
    assert chat.engine.requests[-1].messages == (ChatMessage("user", "first\n\nsecond"),)


def test_an_engine_error_is_reported_and_the_text_so_far_is_kept(start: Callable[..., Chat]) -> None:
    chat = start(Script(replies=("one two three",), fault="raise", fault_at=2))
    ended = next(update for update in chat.ask("count") if isinstance(update, ReplyEnded))
    assert (ended.message.content, ended.message.status) == ("one two", "error")
    assert ended.error is not None
    assert ended.error.message == "The script says so."


def test_a_message_that_cannot_fit_comes_back_as_a_draft(start: Callable[..., Chat]) -> None:
    chat = start(Script(context_length=16))
    text = "word " * 40
    updates = chat.ask(text)
    returned = next(update for update in updates if isinstance(update, DraftReturned))
    assert returned.text == text
    assert "44" in returned.error.message
    assert "16" in returned.error.message
    assert chat.session.path == []
    assert chat.session.conversation is None, "no list shows an empty one, and its draft would be lost"
    chat.session.save_draft(text)
    assert chat.store.drafts.of(None).text == text
    chat.ask("short")
    assert [message.content for message in chat.engine.requests[-1].messages] == ["short"]


def test_a_refused_regeneration_keeps_message_and_reply(start: Callable[..., Chat]) -> None:
    chat = start(Script(replies=("Yes.",), context_length=16))
    chat.ask("fits")
    chat.session.set_system_prompt("much too long " * 20)
    chat.session.branching.regenerate()
    chat.until(GenerationFinished)
    assert [message.content for message in chat.session.path] == ["fits", "Yes."]
    assert chat.session.conversation is not None
    chat.session.open(chat.session.conversation.id)
    assert [message.content for message in chat.session.path] == ["fits", "Yes."]


def test_a_regeneration_that_fails_leaves_the_reply_before_it(start: Callable[..., Chat]) -> None:
    chat = start(Script(replies=("Good.",)))
    chat.ask("hello")
    chat.engine.script = Script(fault="bug", fault_at=0)
    updates = [*chat.session.branching.regenerate(), *chat.until(GenerationFinished)]
    assert any(isinstance(update, Notice) for update in updates)
    assert chat.session.conversation is not None
    chat.session.open(chat.session.conversation.id)
    assert [message.content for message in chat.session.path] == ["hello", "Good."]


def test_a_refused_continuation_leaves_the_reply_unchanged(start: Callable[..., Chat]) -> None:
    chat = start(Script(replies=("a b c d e f g h i j k l m n o p",), context_length=20))
    chat.ask("go")
    before = chat.session.last_reply
    assert before is not None
    assert before.reply is not None
    assert before.reply.finish_reason == "context"
    chat.session.set_system_prompt("long " * 40)
    updates = [*chat.session.branching.continue_reply(), *chat.until(GenerationFinished)]
    assert any(isinstance(update, Notice) for update in updates)
    after = chat.store.message(before.id)
    assert (after.content, after.status, after.reply) == (before.content, before.status, before.reply)


@pytest.mark.parametrize("way", ["stop", "leave"])
def test_a_continuation_that_adds_nothing_leaves_the_reply_unchanged(
    start: Callable[..., Chat], way: str
) -> None:
    chat = stopped_after_one_word(start, Gate())
    before = chat.session.last_reply
    assert before is not None
    assert before.reply is not None
    assert before.reply.stats is not None
    chat.session.branching.continue_reply()
    assert chat.store.message(before.id).status == "streaming"
    if way == "stop":
        chat.session.stop()
        chat.until(GenerationFinished)
    else:
        chat.session.close()
    after = chat.store.message(before.id)
    assert (after.content, after.status, after.reply) == (before.content, before.status, before.reply)


@pytest.mark.parametrize("is_stopped", [False, True])
def test_a_continuation_that_the_model_ends_at_once_is_complete_and_keeps_its_figures(
    start: Callable[..., Chat], is_stopped: bool
) -> None:
    gate = Gate()
    chat = stopped_after_one_word(start, gate) if is_stopped else start(Script(replies=("Done.",)))
    gate.open()
    if not is_stopped:
        chat.ask("go")
    before = chat.session.last_reply
    assert before is not None
    assert before.reply is not None
    chat.engine.script = Script(replies=("",))
    updates = [*chat.session.branching.continue_reply(), *chat.until(GenerationFinished)]
    assert "the model ends its reply here" in next(u for u in updates if isinstance(u, Notice)).error.message
    after = chat.store.message(before.id)
    assert (after.content, after.status) == (before.content, "complete")
    assert after.reply == msgspec.structs.replace(before.reply, finish_reason="stop")


def test_a_reply_whose_engine_died_keeps_its_text_and_its_figures(start: Callable[..., Chat]) -> None:
    chat = start(Script(fault="bug", fault_at=2))
    chat.ask("now")
    stored = chat.store.message(chat.session.path[-1].id)
    assert (stored.content, stored.status) == ("Hello! This", "error")
    assert stored.reply is not None
    assert stored.reply.stats is not None
    assert (stored.reply.stats.completion_tokens, stored.reply.stats.ttft_s) == (2, 0.1)


def test_a_reply_that_could_not_be_written_is_written_later(
    start: Callable[..., Chat], monkeypatch: pytest.MonkeyPatch
) -> None:
    chat = start(Script(replies=("Fine.",)))
    full = StorageError(ErrorInfo(kind="disk_full", message="The disk is full."))

    def refuse(*_: object) -> None:
        raise full

    with monkeypatch.context() as patch:
        patch.setattr(chat.store, "finish_reply", refuse)
        assert chat.ask("now").count(Notice(full.info)) == 1
        chat.now += 60
        assert chat.session.tick() == [], "a lasting fault is reported once"
        assert chat.session.tick() == [], "nor does a look when nothing is due make it news"
        chat.now += 60
        assert chat.session.tick() == []
        patch.setattr(chat.store.queue, "adopt", refuse)
        assert chat.session.follow() == [], "nor does what is looked at every few seconds"
        (unkept,) = chat.session.close()
        assert unkept.message.startswith("A reply could not be saved")
    assert chat.session.has_work
    chat.now += 60
    chat.session.tick()
    assert not chat.session.has_work
    assert chat.session.close() == []
    stored = chat.store.message(chat.session.path[-1].id)
    assert (stored.content, stored.status) == ("Fine.", "complete")


def test_a_look_at_other_windows_reports_a_fault_that_it_meets_first(
    start: Callable[..., Chat], monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = Gate()
    chat = start(Script(replies=("A b.",), stepped=True), gate)
    chat.session.submit("now")
    gate.release()
    chat.until(TokenEvent)
    full = StorageError(ErrorInfo(kind="disk_full", message="The disk is full."))

    def refuse(*_: object) -> None:
        raise full

    with monkeypatch.context() as patch:
        patch.setattr(chat.store, "checkpoint", refuse)
        patch.setattr(chat.store.queue, "adopt", refuse)
        chat.now += 60
        assert chat.session.follow() == [Notice(full.info)]


def test_a_database_that_stays_locked_is_tried_less_and_less_often(
    start: Callable[..., Chat], monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = Gate()
    chat = start(Script(replies=("one two",), stepped=True), gate)
    chat.session.submit("count")
    gate.release()
    chat.until(TokenEvent)
    tries: list[float] = []

    def locked(*_: object) -> None:
        tries.append(chat.now)
        raise StorageError(ErrorInfo(kind="database_locked", message="Locked."))

    monkeypatch.setattr(chat.store, "checkpoint", locked)
    for _ in range(400):
        chat.now += 0.1
        chat.session.tick()
    gaps = [later - earlier for earlier, later in itertools.pairwise(tries)]
    assert 3 <= len(tries) <= 6
    assert gaps == sorted(gaps)


def test_a_message_sent_during_the_load_uses_the_models_recommendation(tmp_path: Path) -> None:
    gate = Gate()
    host = EngineHost(ScriptedEngine(Script(stepped_load=True), gate), prepare_scripted)
    store = open_store(tmp_path / "other.db")
    session = ChatSession(store, host, model="scripted")
    recorder = EventRecorder(host)
    host.start()
    host.load("scripted")
    session.submit("early")
    gate.open()
    recorder.until(GenerationFinished)
    for event in recorder.events:
        session.apply(event)
    assert session.last_reply is not None
    assert session.last_reply.reply is not None
    assert session.last_reply.reply.sampling is not None
    assert session.last_reply.reply.sampling.temperature == 0.6
    assert session.loaded_model == "scripted"
    host.shutdown()
    store.close()


def test_a_message_that_waits_for_a_load_can_be_withdrawn(tmp_path: Path) -> None:
    gate = Gate()
    host = EngineHost(ScriptedEngine(Script(stepped_load=True), gate), prepare_scripted)
    store = open_store(tmp_path / "other.db")
    session = ChatSession(store, host, model="scripted")
    host.start()
    host.load("scripted")
    session.submit("early")
    ended = session.drop_unstarted()[0]
    assert isinstance(ended, ReplyEnded)
    assert not session.is_busy
    assert [message.content for message in session.path] == ["early", ""]
    host.shutdown()
    store.close()


def loading(path: Path, gate: Gate) -> Chat:
    """A session whose model loads as the gate lets it."""
    return Chat(path, Script(stepped_load=True), gate, is_loaded=False)


def test_a_load_is_cancelled_by_two_requests_in_a_row_and_not_by_two_apart(tmp_path: Path) -> None:
    chat = loading(tmp_path / "any.db", Gate())
    asked = [Notice(STILL_LOADING)]
    assert chat.session.interrupt() == asked
    chat.now += CANCEL_AGAIN_S + 1
    assert chat.session.interrupt() == asked
    assert chat.session.interrupt() == []
    chat.until(EngineFailed)
    assert chat.host.state == "empty"
    chat.session.load("scripted")
    assert chat.session.interrupt() == asked, "the next load has its own two"
    chat.close()


@pytest.mark.parametrize("request_one", [
    lambda session: session.submit("hello"),
    lambda session: session.branching.regenerate(),
    lambda session: session.branching.continue_reply(),
])  # fmt: skip
@pytest.mark.parametrize("lose", ["unload", "cancel"])
def test_a_request_without_a_model_loads_the_current_one_and_waits_for_it(
    tmp_path: Path, lose: str, request_one: Callable[[ChatSession], list[Update]]
) -> None:
    gate = Gate()
    gate.release(4)
    chat = Chat(tmp_path / "any.db", Script(replies=("Fine.",), stepped_load=True), gate)
    chat.ask("first")
    chat.session.unload()
    chat.until(EngineStateChanged, state="empty")
    if lose == "cancel":
        chat.session.load("scripted")
        chat.session.cancel_load()
    request_one(chat.session)
    gate.open()
    ended = [update for update in chat.until(GenerationFinished) if isinstance(update, ReplyEnded)]
    assert ended[0].message.status == "complete"
    assert ended[0].message.content.endswith("Fine.")
    chat.close()


def test_after_a_failed_load_a_message_is_sent_the_second_time(start: Callable[..., Chat]) -> None:
    chat = start(Script(replies=("Fine.",)))
    chat.ask("first")
    chat.session.unload()
    chat.until(EngineStateChanged, state="empty")
    chat.session.load(MODEL_MISSING)
    chat.until(EngineFailed)
    assert chat.session.branching.regenerate() == [Notice(NO_MODEL)]
    assert chat.session.branching.continue_reply() == [Notice(NO_MODEL)]
    (refused,) = chat.session.submit("hello")
    assert isinstance(refused, DraftReturned)
    assert refused.error.cure == LOAD_AND_SEND
    (changed,) = chat.session.submit("hello!")
    assert isinstance(changed, DraftReturned), "another text is another first time"
    chat.session.submit("hello!")
    updates = chat.until(GenerationFinished)
    assert any(isinstance(update, EngineFault) for update in updates), "the load has its own error"
    assert [update.message.status for update in updates if isinstance(update, ReplyEnded)] == ["error"]
    assert chat.session.path[-2].content == "hello!"


def test_the_draft_of_a_new_conversation_is_gone_once_it_is_sent(start: Callable[..., Chat]) -> None:
    chat = start()
    chat.session.save_draft("hello")
    chat.ask("hello")
    assert chat.store.drafts.of(None).text == ""


def test_a_failed_deletion_changes_nothing(
    start: Callable[..., Chat], monkeypatch: pytest.MonkeyPatch
) -> None:
    chat = start()
    chat.ask("first")
    conversation = chat.session.conversation
    assert conversation is not None

    def refuse(_: int) -> None:
        raise StorageError(ErrorInfo(kind="database_locked", message="Locked."))

    monkeypatch.setattr(chat.store, "delete", refuse)
    with pytest.raises(StorageError):
        chat.session.delete(conversation.id)
    assert chat.session.conversation == conversation


def test_flags_override_the_settings_of_a_resumed_conversation(start: Callable[..., Chat]) -> None:
    chat = start()
    chat.session.set_sampling(SamplingParams(temperature=1.0, top_k=5))
    chat.ask("first")
    chat.session.new_conversation()
    chat.session.resume({"temperature": 0.0}, "Now this.")
    assert (chat.session.sampling.temperature, chat.session.sampling.top_k) == (0.0, 5)
    assert chat.session.system_prompt == "Now this."


def test_an_empty_conversation_costs_nothing(start: Callable[..., Chat]) -> None:
    chat = start()
    chat.ask("first")
    chat.session.new_conversation()
    assert chat.session.context.count("") == [PromptCost(0, 256, 0)]


def test_one_dropped_message_is_reported_in_the_singular() -> None:
    assert left_out(1) == "1 message was not sent: it did not fit into the context."
    assert left_out(1200) == "1,200 messages were not sent: they did not fit into the context."


def test_dropped_messages_are_reported_and_stay_stored(start: Callable[..., Chat]) -> None:
    chat = start(Script(replies=("a b c d e",), context_length=30))
    updates: list[Update] = []
    for number in range(4):
        updates = chat.ask(f"question {number} of four")
    started = next(update for update in updates if isinstance(update, ReplyStarted))
    assert started.dropped_messages > 0
    assert len(chat.session.path) == 8


def test_new_sampling_reaches_the_reply_that_runs(start: Callable[..., Chat]) -> None:
    gate = Gate()
    chat = start(Script(replies=("one two three",), stepped=True), gate)
    chat.session.submit("count")
    gate.release()
    chat.until(TokenEvent)
    chat.session.set_sampling(SamplingParams(temperature=2.0))
    gate.open()
    chat.until(GenerationFinished)
    assert chat.session.path[-1].content == "one TWO THREE"


def test_events_of_a_reply_that_was_left_are_dropped(start: Callable[..., Chat]) -> None:
    gate = Gate()
    chat = start(Script(replies=("one two three",), stepped=True), gate)
    chat.session.submit("count")
    gate.release()
    chat.until(TokenEvent)
    left = chat.session.path[-1].id
    assert chat.session.conversation is not None
    assert ConversationOpened(None, ()) in chat.session.delete(chat.session.conversation.id)
    assert chat.until(GenerationFinished) == []
    assert (chat.store.message(left).content, chat.store.message(left).status) == ("one", "interrupted")


def test_settings_belong_to_the_conversation(start: Callable[..., Chat]) -> None:
    chat = start()
    chat.ask("first")
    first = chat.session.conversation
    chat.session.set_sampling(SamplingParams(temperature=0.11))
    chat.session.set_system_prompt("First only.")
    chat.session.new_conversation()
    assert chat.session.sampling.temperature == 0.6, "a new one begins with the model's recommendation"
    assert chat.session.system_prompt == ""
    assert first is not None
    chat.session.open(first.id)
    assert chat.session.sampling.temperature == 0.11
    assert chat.session.system_prompt == "First only."


def test_only_the_newest_count_is_answered(start: Callable[..., Chat]) -> None:
    chat = start()
    chat.session.context.count("one")
    chat.session.context.count("one two three")
    cost = next(update for update in chat.ask("hello there") if isinstance(update, PromptCost))
    assert cost.prompt_tokens == 1 + 2 + 3


def test_a_full_disk_returns_the_draft_and_the_chat_continues(
    start: Callable[..., Chat], monkeypatch: pytest.MonkeyPatch
) -> None:
    chat = start(Script(replies=("Fine.",)))
    full = StorageError(ErrorInfo(kind="disk_full", message="The disk is full."))

    def refuse(*_: object, **__: object) -> None:
        raise full

    with monkeypatch.context() as patch:
        patch.setattr(chat.store, "add_user_message", refuse)
        assert chat.session.submit("kept?") == [DraftReturned("kept?", full.info)]
        assert chat.session.conversation is None, "no list shows an empty one or its draft"
        patch.setattr(chat.store, "discard", refuse)
        assert chat.session.submit("kept?") == [DraftReturned("kept?", full.info)]
        chat.session.save_draft("kept?")
        assert chat.store.drafts.of(None).text == "kept?"
    with monkeypatch.context() as patch:
        patch.setattr(chat.store, "finish_reply", refuse)
        updates = chat.ask("now")
        assert Notice(full.info) in updates
        assert chat.session.path[-1].content == "Fine."
    assert any(isinstance(update, ReplyStreamed) for update in chat.ask("and again"))


@pytest.mark.parametrize("fails", ["create_conversation", "drafts"])
def test_a_message_is_sent_and_its_draft_gone_or_both_are_as_they_were(
    start: Callable[..., Chat], monkeypatch: pytest.MonkeyPatch, fails: str
) -> None:
    chat = start(Script(replies=("Fine.",)))
    full = StorageError(ErrorInfo(kind="disk_full", message="The disk is full."))

    def refuse(*_: object, **__: object) -> None:
        raise full

    chat.session.save_draft("hello")
    with monkeypatch.context() as patch:
        patch.setattr(*((chat.store.drafts, "set") if fails == "drafts" else (chat.store, fails)), refuse)
        is_returned = DraftReturned("hello", full.info) in chat.session.submit("hello")
    assert is_returned == (chat.session.path == []) == (chat.store.latest() is None)
    chat.session.save_draft("hello" if is_returned else "")
    assert chat.store.drafts.of(None).text == ("hello" if is_returned else "")


class Versions:
    """Two replies to one message, the newer one on screen, and the store as another window sees it."""

    def __init__(self, chat: Chat) -> None:
        self.session, self.store = chat.session, chat.store
        chat.ask("hello")
        self.older = self.session.path[-1]
        self.session.branching.regenerate()
        chat.until(GenerationFinished)
        self.newer = self.session.path[-1]


def test_a_version_that_another_window_has_removed_is_reported(start: Callable[..., Chat]) -> None:
    shown = Versions(start(Script(replies=("One.", "Two."))))
    path = shown.session.path
    shown.store.remove_message(shown.newer.id)
    with pytest.raises(StorageError, match="This message no longer exists"):
        shown.session.branching.turn_version(shown.newer.id, -1)
    assert shown.session.path is path


@pytest.mark.parametrize("fails", ["newest_ids", "messages", "set_head"])
def test_a_version_that_cannot_be_read_changes_nothing(
    start: Callable[..., Chat], monkeypatch: pytest.MonkeyPatch, fails: str
) -> None:
    shown = Versions(start(Script(replies=("One.", "Two."))))
    path = shown.session.path

    def refuse(*_: object, **__: object) -> None:
        raise StorageError(ErrorInfo(kind="database_locked", message="It is locked."))

    with monkeypatch.context() as patch:
        broken, name = (MessagePath, "_require") if fails == "messages" else (shown.store, fails)
        patch.setattr(broken, name, refuse)
        with pytest.raises(StorageError):
            shown.session.branching.turn_version(shown.newer.id, -1)
    assert shown.session.path is path
    assert shown.store.conversation(shown.newer.conversation_id).head_id == shown.newer.id
    (opened,) = shown.session.branching.turn_version(shown.newer.id, -1)
    assert isinstance(opened, BranchShown)
    assert shown.session.conversation == shown.store.conversation(shown.newer.conversation_id)
    assert [message.id for message in shown.session.path][-1] == shown.older.id


def test_a_message_opens_in_its_branch_from_anywhere(start: Callable[..., Chat]) -> None:
    shown = Versions(start(Script(replies=("One.", "Two."))))
    branches = [shown.older.id, shown.newer.id]
    for is_open in (True, False):
        for wanted in branches:
            if not is_open:
                shown.session.new_conversation()
            shown.session.open_at(wanted)
            assert shown.session.path[-1].id == wanted
            assert shown.store.conversation(shown.newer.conversation_id).head_id == wanted
    assert shown.session.open_at(shown.session.path[0].id) == [], "it is on screen"


@pytest.mark.parametrize("fails", ["message", "leaf_of", "conversation", "path", "set_head"])
def test_a_message_that_cannot_be_read_changes_nothing(
    start: Callable[..., Chat], monkeypatch: pytest.MonkeyPatch, fails: str
) -> None:
    shown = Versions(start(Script(replies=("One.", "Two."))))
    shown.session.new_conversation()

    def refuse(*_: object) -> None:
        raise StorageError(ErrorInfo(kind="database_locked", message="It is locked."))

    with monkeypatch.context() as patch:
        patch.setattr(shown.store, fails, refuse)
        with pytest.raises(StorageError):
            shown.session.open_at(shown.older.id)
    assert shown.session.conversation is None


def test_a_branch_does_not_change_while_a_reply_runs_in_it(start: Callable[..., Chat]) -> None:
    gate = Gate()
    shown = Versions(start(Script(replies=("One.", "Two."))))
    chat = start(Script(stepped=True), gate)
    chat.session.open(shown.newer.conversation_id)
    chat.session.submit("and?")
    path = [message.id for message in chat.session.path]
    (notice,) = chat.session.open_at(shown.older.id)
    assert isinstance(notice, Notice)
    chat.session.new_conversation()
    opened, notice = chat.session.open_at(shown.older.id)
    assert isinstance(opened, ConversationOpened)
    assert isinstance(notice, Notice)
    assert [message.id for message in chat.session.path] == path
    gate.open()


def test_deleting_the_open_conversation_opens_a_new_one_and_undo_brings_it_back(
    start: Callable[..., Chat],
) -> None:
    chat = start()
    chat.ask("first")
    conversation = chat.session.conversation
    assert conversation is not None
    chat.session.delete(conversation.id)
    assert chat.session.conversation is None
    assert chat.store.conversations() == []
    chat.session.undelete()
    assert [message.role for message in chat.session.path] == ["user", "assistant"]


@pytest.mark.parametrize(
    ("said", "stored", "sent"),
    [
        ("Hm.\n</think>\n\nFour.", "<think>\nHm.\n</think>\n\nFour.", "Four."),
        ("[THINK]Hm.[/THINK]Four.", "<think>\nHm.\n</think>\n\nFour.", "Four."),
        ("Write `</think>`.", "Write `</think>`.", "Write `</think>`."),
        ("<think>\nHm.", "<think>\nHm.", None),
    ],
)
def test_thoughts_are_stored_as_a_block_and_not_sent_back(
    start: Callable[..., Chat], said: str, stored: str, sent: str | None
) -> None:
    chat = start(Script(replies=(said, "Five.")))
    (ended,) = [update for update in chat.ask("Two and two?") if isinstance(update, ReplyEnded)]
    assert ended.message.content == stored
    assert chat.store.path(ended.message.id)[-1].content == stored
    chat.ask("And one?")
    messages = chat.engine.requests[-1].messages
    assert [message.content for message in messages if message.role == "assistant"] == (
        [sent] if sent else []
    )
    assert messages[-1].content.endswith("And one?")


def test_what_the_engine_has_said_by_the_end_is_kept(start: Callable[..., Chat]) -> None:
    chat = start(Script(replies=("Four.",)))
    chat.session.submit("Two and two?")
    reply = chat.session.path[-1].id
    chat.recorder.until(GenerationFinished)
    left = chat.recorder.events[chat.applied :]
    chat.session.events = lambda: left  # type: ignore[method-assign]  # a screen that was stuck has not applied them
    chat.session.close()
    kept = chat.store.message(reply)
    assert (kept.content, kept.status) == ("Four.", "complete")
