"""Candidates of two models at the same time: two hosts, one session."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.fakes import MODEL_MISSING, Gate, Script, ScriptedEngine, prepare_scripted
from tests.patience import Patience
from tests.session.test_candidates import FOUR, ask, on_disk
from ttchat_tui.domain.events import ProgressReporter
from ttchat_tui.domain.model_spec import ModelSpec
from ttchat_tui.domain.sampling import SamplingParams
from ttchat_tui.domain.updates import Notice, Update
from ttchat_tui.engine.base import OutOfMemory
from ttchat_tui.engine.runtime.host import EngineHost
from ttchat_tui.session import ChatSession
from ttchat_tui.session.lane import Lane
from ttchat_tui.storage.opening import open_store

TWO = "model=scripted,other count"


class TwoModels:
    """A session with two scripted engines, pumped as the screen pumps it."""

    def __init__(self, path: Path, first: Script, second: Script, room: Callable[[str], None]) -> None:
        self.now = 0.0
        self.gates = Gate(), Gate()
        self.engine = ScriptedEngine(first, self.gates[0])
        self._second_script = second
        self.second = self._make_second_engine()
        """Of the newest second host."""
        self.second_hosts: list[EngineHost] = []
        self.store = open_store(path)
        self._room = room
        self._ids = itertools.count(1)
        self.host = EngineHost(self.engine, prepare_scripted, request_ids=self._ids)
        self.session = ChatSession(
            self.store,
            self.host,
            model="scripted",
            second_host=self._make_second,
            clock=lambda: self.now,
        )
        self._woken = threading.Event()
        self.session.set_waker(self._woken.set)
        self.updates: list[Update] = []
        self.host.start()
        self.session.load("scripted")
        self.until(lambda: self.session.loaded_model == "scripted")

    def _make_second_engine(self) -> ScriptedEngine:
        return ScriptedEngine(self._second_script, self.gates[1])

    def _make_second(self) -> EngineHost:
        if self.second_hosts:  # The one before still closes its engine.
            self.second = self._make_second_engine()

        def prepare(name: str, report: ProgressReporter) -> ModelSpec:
            self._room(name)
            return prepare_scripted(name, report)

        host = EngineHost(self.second, prepare, request_ids=self._ids)
        self.second_hosts.append(host)
        host.start()
        return host

    def until(self, condition: Callable[[], bool]) -> None:
        patience = Patience(20.0)
        while not condition():
            self._woken.clear()
            for event in self.session.events():
                self.updates += self.session.apply(event)
            self.updates += self.session.tick()
            if condition():
                return
            self._woken.wait(0.2)
            assert not patience.is_out(), [(lane.state, lane.text, lane.note) for lane in self.lanes]

    def ended(self) -> None:
        self.until(lambda: not self.session.candidates.is_running)

    @property
    def lanes(self) -> list[Lane]:
        return self.session.candidates.lanes

    @property
    def said(self) -> list[str]:
        return [update.error.message for update in self.updates if isinstance(update, Notice)]

    def models(self) -> list[str]:
        replies = [lane.message.reply for lane in self.lanes if lane.message is not None]
        return [reply.model for reply in replies if reply is not None]

    def close(self) -> None:
        self.session.close()
        for host in (self.host, *self.second_hosts):
            host.shutdown()
        self.store.close()


MakeTwoModels = Callable[..., TwoModels]
STEPPED = Script(replies=(FOUR,), batch_sizes=(4,), stepped=True)


def both_stream(chat: TwoModels) -> None:
    """One token of each."""
    ask(chat, TWO)
    for gate in chat.gates:
        gate.release()
    chat.until(lambda: [lane.text for lane in chat.lanes] == ["one", "one"])


def test_both_begin_together_stream_side_by_side_and_have_figures_of_their_own(
    two_models: MakeTwoModels,
) -> None:
    chat = two_models()
    candidates = chat.session.candidates
    candidates.second.watch(True)
    ask(chat, TWO)
    assert [lane.state for lane in chat.lanes] == ["waiting", "waiting"]
    assert candidates.why_waiting == "other is being loaded beside scripted: both begin then."
    assert chat.session.is_answering
    for gate in chat.gates:
        gate.release()
    chat.until(lambda: [lane.text for lane in chat.lanes] == ["one", "one"])
    assert [lane.state for lane in chat.lanes] == ["running", "running"]
    assert (candidates.why_waiting, len(chat.second.requests)) == ("", 1)
    assert candidates.second.sharing == "Both models decode on this processor: 1 thread each."
    assert [each.requests[0].models_at_once for each in (chat.engine, chat.second)] == [2, 2]
    assert all(lane.live is not None and lane.live.ttft_s is not None for lane in chat.lanes)
    chat.now += 5
    chat.session.tick()
    assert on_disk(chat) == [("one", "streaming")] * 2
    chat.gates[1].open()
    chat.until(lambda: chat.lanes[1].state == "ended")
    assert (chat.lanes[0].state, chat.session.is_busy) == ("running", True)
    chat.gates[0].open()
    chat.ended()
    assert chat.models() == ["scripted", "other"]
    assert [lane.text for lane in chat.lanes] == [FOUR, FOUR]
    assert chat.session.path[-1].id == (chat.lanes[0].message and chat.lanes[0].message.id)
    assert chat.session.path[-1].sibling_count == 2
    assert chat.session.loaded_model == "scripted", "the session's own model stays"
    for reply in chat.session.tree()[1:]:
        recorded = chat.store.recordings.of(reply.id)
        assert reply.reply is not None
        assert tuple(token.token_id for token in recorded.tokens) == reply.reply.token_ids
    candidates.regenerate(chat.lanes[1])
    chat.ended()
    assert chat.second.calls.count("load") == 1, "it stays loaded while they are on screen"
    candidates.second.watch(False)
    assert (chat.session.second.model, chat.session.second.running) == ("", None)
    assert chat.second_hosts[0].shutdown(), "its process ends"


def test_what_is_done_with_one_does_not_touch_the_other(two_models: MakeTwoModels) -> None:
    chat = two_models()
    candidates = chat.session.candidates
    both_stream(chat)
    chat.session.pausing.toggle()
    assert chat.session.pausing.is_paused
    assert [each.control.is_paused for each in chat.session.running_replies] == [True, True]
    for gate in chat.gates:
        gate.open()
    chat.session.pausing.step()
    chat.until(lambda: [lane.text for lane in chat.lanes] == ["one two", "one two"])
    candidates.stop(chat.lanes[0])
    chat.until(lambda: chat.lanes[0].state == "ended")
    assert chat.lanes[1].state == "running"
    chat.session.pausing.toggle()
    chat.ended()
    assert [lane.text for lane in chat.lanes] == ["one two", FOUR]
    candidates.continue_reply(chat.lanes[0])
    chat.ended()
    kept = chat.lanes[1]
    chat.updates += candidates.keep(kept)
    assert "1 other candidate deleted. /undo brings it back." in chat.said
    assert [each.content for each in chat.session.path] == ["count", FOUR]
    assert chat.session.path[-1].id == (kept.message and kept.message.id)
    chat.session.branching.undo()
    assert len(chat.session.tree()) == 3


def test_a_slider_acts_on_both(two_models: MakeTwoModels) -> None:
    chat = two_models()
    both_stream(chat)
    moved = SamplingParams(temperature=0.1, max_tokens=3)
    chat.session.set_sampling(moved)
    assert [each.control.sampling for each in chat.session.running_replies] == [moved] * 2


def test_one_engine_that_fails_leaves_the_other(two_models: MakeTwoModels) -> None:
    chat = two_models(second=Script(replies=(FOUR,), stepped=True, fault="raise", fault_at=1))
    both_stream(chat)
    chat.gates[1].open()
    chat.until(lambda: chat.lanes[1].state == "ended")
    chat.gates[0].open()
    chat.ended()
    assert [lane.text for lane in chat.lanes] == [FOUR, "one"]
    assert on_disk(chat) == [(FOUR, "complete"), ("one", "error")]


def test_a_prompt_that_only_the_second_refuses_is_the_reason_in_its_lane(two_models: MakeTwoModels) -> None:
    chat = two_models(Script(replies=(FOUR,), context_length=99), Script(context_length=8))
    ask(chat, f"model=scripted,other {'long ' * 20}")
    chat.ended()
    assert [bool(lane.text) for lane in chat.lanes] == [True, False]
    assert chat.lanes[1].note
    assert len(chat.session.tree()) == 2


def no_room(name: str) -> None:
    raise OutOfMemory(f"{name} needs 5 GB, but only 1 GB are free.")


def test_without_room_one_follows_the_other_and_the_screen_says_why(two_models: MakeTwoModels) -> None:
    chat = two_models(Script(replies=(FOUR,), stepped=True), room=no_room)
    ask(chat, TWO)
    chat.gates[0].release()
    chat.until(lambda: chat.lanes[0].text == "one")
    assert chat.session.candidates.why_waiting == "other follows. other needs 5 GB, but only 1 GB are free."
    assert chat.engine.requests[0].models_at_once == 1
    chat.gates[0].open()
    chat.ended()
    assert (chat.models(), chat.session.loaded_model) == (["scripted", "other"], "other")
    assert chat.second.calls == ["close"]


def test_whether_there_is_room_is_asked_anew_with_each_question(two_models: MakeTwoModels) -> None:
    needs = [no_room]
    chat = two_models(
        Script(replies=(FOUR,)),
        Script(replies=(FOUR,)),
        room=lambda name: needs.pop()(name) if needs else None,
    )
    ask(chat, TWO)
    chat.ended()
    assert (chat.session.loaded_model, chat.second.calls.count("load")) == ("other", 0)
    chat.session.load("scripted")
    chat.until(lambda: chat.session.loaded_model == "scripted")
    ask(chat, TWO)
    chat.ended()
    assert (chat.session.loaded_model, chat.second.calls.count("load")) == ("scripted", 1)


def test_without_room_the_loaded_model_answers_first(two_models: MakeTwoModels) -> None:
    chat = two_models(Script(replies=(FOUR,)), room=no_room)
    ask(chat, "model=other,scripted count")
    chat.ended()
    assert chat.models() == ["other", "scripted"]
    assert chat.engine.calls.count("load") == 2, "at the two_models, and once for the other"


def test_the_reply_of_the_sessions_model_stays_the_head_and_knows_of_the_other(
    two_models: MakeTwoModels,
) -> None:
    chat = two_models()
    both_stream(chat)
    conversation, shown = chat.session.conversation, chat.session.path[-1]
    assert conversation is not None
    assert shown.sibling_count == 2
    assert chat.store.conversation(conversation.id).head_id == shown.id, "also after a crash"


def test_a_second_model_that_cannot_be_loaded_leaves_the_first(two_models: MakeTwoModels) -> None:
    chat = two_models(Script(replies=(FOUR,)), Script(replies=(FOUR,)))
    ask(chat, f"model=scripted,{MODEL_MISSING},other count")
    chat.ended()
    notes = [(lane.text, lane.note) for lane in chat.lanes]
    assert notes == [(FOUR, ""), ("", "There is no model 'missing'. Choose another."), (FOUR, "")]
    assert chat.models() == ["scripted", "other"]


def test_esc_cancels_the_load_of_the_second(two_models: MakeTwoModels) -> None:
    gate = Gate()
    chat = two_models(second=Script(stepped_load=True))
    chat.second.gate = gate
    ask(chat, TWO)
    chat.until(lambda: chat.second.calls == ["load"])
    chat.session.interrupt()
    chat.ended()
    chat.until(lambda: not chat.session.is_busy)
    assert [lane.note for lane in chat.lanes] == ["It was not begun."] * 2
    assert chat.session.second.model == ""


@pytest.mark.parametrize("how", ["load", "unload", "delete", "close"])
def test_what_ends_the_first_ends_and_stores_the_second(two_models: MakeTwoModels, how: str) -> None:
    chat = two_models()
    both_stream(chat)
    conversation = chat.session.conversation
    assert conversation is not None
    if how == "load":
        chat.session.load("third")
    elif how == "unload":
        chat.session.unload()
    elif how == "delete":
        chat.session.delete(conversation.id)
        chat.session.undelete()
    else:
        chat.session.close()
    if how in ("load", "unload"):
        chat.ended()
        assert not any(lane.state == "waiting" for lane in chat.lanes)
    assert on_disk(chat) == [("one", "interrupted")] * 2
    assert chat.session.second.model == ""


def test_a_reply_follows_when_both_have_ended(two_models: MakeTwoModels) -> None:
    chat = two_models()
    both_stream(chat)
    chat.gates[0].open()
    chat.until(lambda: chat.lanes[0].state == "ended")
    chat.session.submit("and on")
    assert chat.session.queue.is_waiting
    chat.session.set_sampling(SamplingParams(max_tokens=1))
    chat.gates[1].open()
    chat.until(lambda: len(chat.session.path) == 4 and not chat.session.is_busy)
    assert [each.content for each in chat.session.path[:3]] == ["count", FOUR, "and on"]


def test_the_second_model_is_freed_when_its_last_reply_ends_off_screen(two_models: MakeTwoModels) -> None:
    chat = two_models()
    both_stream(chat)
    chat.session.candidates.second.watch(is_on_screen=True)
    chat.session.candidates.second.watch(is_on_screen=False)
    assert chat.session.second.model == "other", "it has not ended"
    chat.gates[1].open()
    chat.until(lambda: chat.lanes[1].state == "ended")
    assert chat.session.second.model == ""
    chat.gates[0].open()
    chat.ended()
    assert on_disk(chat) == [(FOUR, "complete")] * 2
