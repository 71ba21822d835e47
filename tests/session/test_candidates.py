"""Several replies to one message: in one batch or one after the other, each a stored sibling from its beginning."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest
from msgspec.structs import replace

from tests.fakes import MODEL_MISSING, Gate, Script
from tests.session.test_chat import Chat
from ttchat_tui.domain.candidates import CandidateOrder, Variant, parse_candidates
from ttchat_tui.domain.errors import ErrorInfo
from ttchat_tui.domain.events import (
    EngineFailed,
    EngineLoaded,
    EngineStateChanged,
    GenerationFinished,
    PrefillProgress,
    RowFinished,
    TokenEvent,
)
from ttchat_tui.domain.preset import BUILT_IN
from ttchat_tui.domain.sampling import SamplingParams
from ttchat_tui.domain.updates import NOTE, DraftReturned, Notice, Update
from ttchat_tui.storage.opening import open_store
from ttchat_tui.ui.widgets.candidates.lane_words import figures_of_lane

if TYPE_CHECKING:
    from tests.session.test_second_model import TwoModels

Start = Callable[..., Chat]
FOUR = "one two three four"


def ask(chat: Chat | TwoModels, typed: str) -> list[Update]:
    order = parse_candidates(typed)
    assert isinstance(order, CandidateOrder)
    wanted = chat.session.candidates.wanted(order, BUILT_IN.__getitem__)
    assert not isinstance(wanted, ErrorInfo), wanted
    return chat.session.candidates.ask(wanted, order.text)


def finish(chat: Chat) -> list[Update]:
    updates: list[Update] = []
    while chat.session.candidates.is_running:
        updates += chat.until(GenerationFinished)
    return updates


def states(chat: Chat) -> list[str]:
    return [lane.state for lane in chat.session.candidates.lanes]


def on_disk(chat: Chat | TwoModels) -> list[tuple[str, str]]:
    """The replies, as another process finds them."""
    other = open_store(chat.store.file)
    try:
        tree = other.tree(chat.session.path[0].conversation_id)
        return [(each.content, each.status) for each in tree if each.role == "assistant"]
    finally:
        other.close()


@pytest.mark.parametrize(("sizes", "requests"), [((1, 2, 4), 1), ((2,), 2), ((1,), 3)])
def test_all_are_siblings_with_their_own_settings_and_recording_whatever_the_engine_takes_at_once(
    start: Start, sizes: tuple[int, ...], requests: int
) -> None:
    chat = start(Script(replies=(FOUR,), batch_sizes=sizes))
    chat.session.save_draft("count")
    ask(chat, "3 temperature=0.2..1.2 count")
    lanes = chat.session.candidates.lanes
    assert bool(chat.session.candidates.why_waiting) == (requests > 1)
    finish(chat)
    assert len(chat.engine.requests) == requests
    asked, *replies = chat.session.tree()
    assert (asked.content, [reply.parent_id for reply in replies]) == ("count", [asked.id] * 3)
    assert [lane.message and lane.message.id for lane in lanes] == [reply.id for reply in replies]
    temperatures = [each.reply.sampling.temperature for each in replies if each.reply and each.reply.sampling]
    assert temperatures == [0.2, 0.7, 1.2]
    assert len({each.reply.seed for each in replies if each.reply}) == 1
    for reply in replies:
        assert (reply.content, reply.status) == (FOUR, "complete")
        recorded = chat.store.recordings.of(reply.id)
        assert reply.reply is not None
        assert tuple(token.token_id for token in recorded.tokens) == reply.reply.token_ids
        assert reply.reply.stats is not None
        assert reply.reply.stats.completion_tokens == 4
    assert chat.session.candidates.is_on_screen
    assert chat.session.branching.differing(chat.session.path[-1]) == ["temperature"]
    chat.session.new_conversation()
    assert chat.session.draft == "", "it was sent"


def test_every_row_is_on_disk_before_it_has_ended(start: Start) -> None:
    gate = Gate()
    chat = start(Script(replies=(FOUR,), batch_sizes=(4,), stepped=True), gate)
    chat.session.set_sampling(SamplingParams(seed=1))
    ask(chat, "2 count")
    chat.until(PrefillProgress)
    assert on_disk(chat) == [("", "streaming")] * 2
    gate.release(2)
    for _ in range(2):
        chat.until(TokenEvent, row=1)
    chat.now += 5
    chat.session.tick()
    assert on_disk(chat) == [("one two", "streaming")] * 2
    chat.session.candidates.stop(chat.session.candidates.lanes[0])
    gate.open()
    chat.until(RowFinished, row=0)
    chat.until(TokenEvent, row=1)
    chat.now += 5
    chat.session.tick()
    assert on_disk(chat)[1] == ("one two three", "streaming"), "also when the first has ended"
    finish(chat)
    assert on_disk(chat) == [("one two", "interrupted"), (f"{FOUR} (seed 2)", "complete")]


def test_one_is_stopped_and_the_others_go_on(start: Start) -> None:
    gate = Gate()
    chat = start(Script(replies=(FOUR,), batch_sizes=(2,), stepped=True), gate)
    ask(chat, "4 temperature=0.1..0.4 count")
    candidates = chat.session.candidates
    assert states(chat) == ["running", "running", "waiting", "waiting"]
    candidates.stop(candidates.lanes[3])
    gate.release()
    chat.until(TokenEvent, row=1)
    candidates.stop(candidates.lanes[1])
    gate.open()
    chat.until(RowFinished, row=1)
    assert states(chat) == ["running", "ended", "waiting", "ended"]
    assert candidates.lanes[1].text == "one"
    finish(chat)
    assert [lane.text for lane in candidates.lanes] == [FOUR, "one", FOUR, ""]
    assert candidates.lanes[3].note == "It was not begun."
    assert len(chat.session.tree()) == 4


def test_one_that_is_stopped_before_its_first_token_leaves_no_message(start: Start) -> None:
    gate = Gate()
    chat = start(Script(replies=(FOUR,), batch_sizes=(4,), stepped=True), gate)
    gate.open()
    chat.ask("count")
    gate.shut()
    ask(chat, "3")
    candidates = chat.session.candidates
    candidates.stop(*candidates.lanes[:2])
    gate.open()
    finish(chat)
    assert [lane.text[:13] for lane in candidates.lanes] == ["", "", "one two three"]
    statuses = [each.status for each in chat.session.tree()[1:]]
    assert statuses == ["complete", "interrupted", "complete"], (
        "the first stays: the others do not go with it"
    )
    assert candidates.lanes[1].note == "It ended before its first token."


def test_esc_ends_those_that_run_and_begins_no_other(start: Start) -> None:
    gate = Gate()
    chat = start(Script(replies=(FOUR,), batch_sizes=(2,), stepped=True), gate)
    ask(chat, "4 count")
    gate.release()
    chat.until(TokenEvent, row=1)
    chat.session.interrupt()
    finish(chat)
    assert [lane.text[:3] for lane in chat.session.candidates.lanes] == ["one", "one", "", ""]
    assert len(chat.engine.requests) == 1


def test_one_is_kept_and_one_undo_brings_the_others_back(start: Start) -> None:
    chat = start(Script(replies=(FOUR,), batch_sizes=(4,)))
    ask(chat, "3 temperature=0.1..0.3 count")
    finish(chat)
    kept = chat.session.candidates.lanes[1]
    updates = chat.session.candidates.keep(kept)
    assert [each.error for each in updates if isinstance(each, Notice)] == [
        ErrorInfo(kind=NOTE, message="2 other candidates deleted. /undo brings them back.")
    ]
    assert [each.id for each in chat.session.tree()[1:]] == [kept.message and kept.message.id]
    assert chat.session.path[-1].sibling_count == 1
    chat.session.branching.undo()
    assert len(chat.session.tree()) == 4
    assert chat.session.path[-1].id == (kept.message and kept.message.id), "the one that was kept stays"
    assert chat.session.path[-1].sibling_count == 3


def test_one_that_still_runs_is_kept_when_it_has_ended(start: Start) -> None:
    gate = Gate()
    chat = start(Script(replies=(FOUR,), batch_sizes=(4,), stepped=True), gate)
    ask(chat, "3 temperature=0.1..0.3 count")
    gate.release()
    chat.until(TokenEvent, row=2)
    chat.session.candidates.keep(chat.session.candidates.lanes[2])
    gate.open()
    finish(chat)
    reasons = {end.row: end.reason for end in chat.recorder.of(RowFinished)}
    assert reasons == {0: "cancelled", 1: "cancelled", 2: "stop"}
    assert [each.content for each in chat.session.tree()] == ["count", FOUR]
    assert chat.session.path[-1].content == FOUR
    assert [lane.label for lane in chat.session.candidates.lanes] == ["temperature 0.3"]


def test_one_is_made_again_or_continued_in_its_place(start: Start) -> None:
    chat = start(Script(replies=(FOUR,), batch_sizes=(4,)))
    chat.session.set_sampling(SamplingParams(max_tokens=2))
    ask(chat, "2 count")
    finish(chat)
    first, second = chat.session.candidates.lanes
    before = second.message
    chat.session.candidates.regenerate(second)
    chat.session.candidates.continue_reply(first)
    assert states(chat) == ["waiting", "running"]
    finish(chat)
    assert (first.text, second.text) == (FOUR, "one two")
    assert second.message is not None
    assert before is not None
    assert before.id < second.message.id
    assert second.label == f"seed {second.message.reply.seed if second.message.reply else 0}"
    assert (figures_of_lane(first)[:18], figures_of_lane(second)[:7]) == ("✓ 2 new of 4 tok ·", "✓ 2 tok")
    assert len(chat.session.tree()) == 4, "the replaced one stays a sibling"


def test_a_candidate_that_is_continued_in_the_transcript_keeps_what_it_was_compared_in(start: Start) -> None:
    chat = start(Script(replies=(FOUR,), batch_sizes=(4,)))
    chat.session.set_sampling(SamplingParams(max_tokens=2, temperature=0.7))
    ask(chat, "2 temperature=0.1,0.4 count")
    finish(chat)
    chat.session.set_sampling(SamplingParams(max_tokens=9, temperature=0.9))
    [said] = [each for each in chat.session.branching.continue_reply() if isinstance(each, Notice)]
    assert said.error.message == (
        "It continues with its own temperature 0.1, and from here on with max-tokens 9."
    )
    chat.until(GenerationFinished)
    used = chat.engine.requests[-1].sampling
    assert (used.temperature, used.max_tokens, chat.session.path[-1].content) == (0.1, 9, FOUR)


def test_a_second_question_is_answered_beside_what_is_there(start: Start) -> None:
    chat = start(Script(replies=(FOUR,), batch_sizes=(4,)))
    chat.ask("count")
    ask(chat, "2")
    finish(chat)
    assert [each.content for each in chat.session.path] == ["count", FOUR]
    assert chat.session.path[-1].sibling_count == 3
    chat.ask("and on")
    assert not chat.session.candidates.is_on_screen
    [refusal] = chat.session.candidates.regenerate(chat.session.candidates.lanes[0])
    assert isinstance(refusal, Notice)


def test_what_cannot_be_asked_is_refused_with_the_text_given_back(start: Start) -> None:
    gate = Gate()
    chat = start(Script(replies=(FOUR,), batch_sizes=(4,), stepped=True, honours=frozenset({"seed"})), gate)
    [nothing] = ask(chat, "2")
    assert isinstance(nothing, Notice)
    assert nothing.error.message == "There is no message to answer yet."
    [alike] = ask(chat, "2 temperature=0..1 count")
    assert isinstance(alike, DraftReturned)
    assert alike.error.message == "scripted takes no temperature: all would be alike."
    chat.session.submit("count")
    [busy] = ask(chat, "2 count")
    assert isinstance(busy, DraftReturned)
    assert busy.text == "count"
    gate.open()
    chat.until(GenerationFinished)


def test_a_prompt_that_is_refused_leaves_nothing(start: Start) -> None:
    chat = start(Script(batch_sizes=(4,), context_length=8))
    ask(chat, f"3 {'long ' * 20}")
    updates = finish(chat)
    assert any(isinstance(update, DraftReturned) for update in updates)
    assert chat.session.candidates.lanes == []
    assert chat.session.conversation is None


def test_what_is_asked_during_a_load_begins_after_it(start: Start) -> None:
    gate = Gate()
    gate.open()
    chat = start(Script(replies=(FOUR,), batch_sizes=(4,), stepped_load=True), gate)
    chat.session.unload()
    chat.until(EngineStateChanged, state="empty")
    gate.shut()
    ask(chat, "2 count")
    assert states(chat) == ["waiting"] * 2
    assert chat.session.candidates.why_waiting == "The model is being loaded."
    assert [each.content for each in chat.session.path] == ["count"], "it is stored already"
    gate.open()
    chat.until(EngineLoaded)
    finish(chat)
    assert len(chat.engine.requests[0].candidates) == 1


def test_a_failed_load_is_the_reason_that_none_has_begun(start: Start) -> None:
    chat = start(Script(batch_sizes=(4,)))
    chat.session.unload()
    chat.until(EngineStateChanged, state="empty")
    chat.session.model = MODEL_MISSING
    ask(chat, "2 count")
    chat.until(EngineFailed)
    assert [lane.note for lane in chat.session.candidates.lanes] == [
        "There is no model 'missing'. Choose another."
    ] * 2


def test_a_sweep_keeps_its_values_when_a_slider_moves(start: Start) -> None:
    gate = Gate()
    chat = start(Script(replies=(FOUR,), batch_sizes=(4,), stepped=True), gate)
    ask(chat, "2 temperature=0.1,0.2 count")
    chat.until(PrefillProgress)
    chat.session.set_sampling(SamplingParams(temperature=2.0))
    gate.open()
    finish(chat)
    assert [lane.text for lane in chat.session.candidates.lanes] == [FOUR, FOUR], "at 2 it is in capitals"


def test_a_label_is_that_of_the_wanted_reply(start: Start) -> None:
    chat = start(Script(batch_sizes=(1,)))
    order = parse_candidates("")
    assert isinstance(order, CandidateOrder)
    wanted = chat.session.candidates.wanted(order, BUILT_IN.__getitem__)
    assert isinstance(wanted, list)
    assert len(wanted) == 2, "the usual number of an engine that makes one at a time"
    assert all(isinstance(each, Variant) for each in wanted)


def test_two_models_answer_one_after_the_other(start: Start) -> None:
    chat = start(Script(replies=(FOUR,), batch_sizes=(4,)))
    ask(chat, "model=scripted,other count")
    candidates = chat.session.candidates
    assert states(chat) == ["running", "waiting"]
    chat.until(GenerationFinished)
    assert candidates.why_waiting == "other is being loaded. One model is held at a time."
    chat.until(EngineLoaded)
    finish(chat)
    assert [
        lane.message and lane.message.reply and lane.message.reply.model for lane in candidates.lanes
    ] == [
        "scripted",
        "other",
    ]
    assert chat.session.loaded_model == "other"
    assert candidates.lanes[0].text == candidates.lanes[1].text == FOUR


def test_a_model_that_cannot_be_loaded_leaves_the_others(start: Start) -> None:
    chat = start(Script(replies=(FOUR,), batch_sizes=(4,)))
    ask(chat, f"model={MODEL_MISSING},other count")
    chat.until(EngineFailed)
    assert states(chat) == ["ended", "waiting"]
    for _ in range(2):  # the one before is loaded again first
        chat.until(EngineLoaded)
    finish(chat)
    assert [(lane.text, lane.note) for lane in chat.session.candidates.lanes] == [
        ("", "There is no model 'missing'. Choose another."),
        (FOUR, ""),
    ]


@pytest.mark.parametrize("fault", ["", "raise"])
def test_a_reply_made_again_that_comes_to_nothing_leaves_the_one_before(start: Start, fault: str) -> None:
    gate = Gate()
    chat = start(Script(replies=(FOUR,), batch_sizes=(2,), stepped=True), gate)
    gate.open()
    ask(chat, "2 count")
    finish(chat)
    candidates = chat.session.candidates
    for lane in candidates.lanes:
        gate.shut()
        before = lane.label, lane.message, lane.text
        if fault:
            chat.engine.script = replace(chat.engine.script, fault="raise", fault_at=0)
            gate.release()
        candidates.regenerate(lane)
        chat.until(PrefillProgress)
        if not fault:
            candidates.stop(lane)
        finish(chat)
        assert (lane.label, lane.message, lane.text) == before
        assert lane.note == ("The script says so." if fault else "It ended before its first token.")
        assert len(chat.session.tree()) == 3
    assert candidates.is_on_screen, "so that each can be asked again"


def test_the_first_row_has_its_reply_while_the_others_run(start: Start) -> None:
    gate = Gate()
    chat = start(Script(replies=(FOUR,), batch_sizes=(2,), stepped=True), gate)
    ask(chat, "2 max-tokens=1,9 count")
    gate.release()
    chat.until(RowFinished, row=0)
    candidates = chat.session.candidates
    first, second = candidates.lanes
    assert (first.has_reply, second.has_reply) == (True, False)
    candidates.continue_reply(first)
    assert first.wish == "continue"
    candidates.stop(first)
    candidates.keep(first)
    gate.open()
    finish(chat)
    assert (candidates.lanes, first.text) == ([first], "one")
