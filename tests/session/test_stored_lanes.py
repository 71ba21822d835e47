"""Versions of a reply that are stored already, side by side again: after an undo, in another session, made one by one."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.fakes import Gate, Script
from tests.session.test_candidates import FOUR, ask, finish
from tests.session.test_chat import Chat
from ttchat_tui.domain.candidates import MOST
from ttchat_tui.domain.events import GenerationFinished, GenerationStarted, TokenEvent
from ttchat_tui.domain.reply_settings import ReplySettings, parse_reply_settings
from ttchat_tui.domain.updates import Notice
from ttchat_tui.storage.imports.imported import foreign_reply
from ttchat_tui.ui.widgets.candidates.lane_words import figures_of_lane

Start = Callable[..., Chat]


def labels(chat: Chat) -> list[str]:
    assert chat.session.candidates.is_on_screen
    return [lane.label for lane in chat.session.candidates.lanes]


def retry(chat: Chat, typed: str) -> None:
    settings = parse_reply_settings(typed)
    assert isinstance(settings, ReplySettings)
    chat.session.branching.regenerate(settings=settings)
    chat.until(GenerationFinished)


def test_those_that_undo_brings_back_are_shown_again_and_nothing_is_generated(start: Start) -> None:
    chat = start(Script(replies=(FOUR,), batch_sizes=(4,)))
    ask(chat, "3 temperature=0.1..0.3 count")
    finish(chat)
    candidates = chat.session.candidates
    kept = candidates.lanes[1]
    candidates.keep(kept)
    candidates.reopen()
    assert not candidates.is_on_screen, "one alone is not shown beside others: F12 asks for more"
    chat.session.branching.undo()
    candidates.reopen()
    assert labels(chat) == ["temperature 0.1", "temperature 0.2", "temperature 0.3"]
    assert [lane.text for lane in candidates.lanes] == [FOUR] * 3
    assert len(chat.engine.requests) == 1
    candidates.keep(candidates.lanes[2])
    assert [each.content for each in chat.session.tree()] == ["count", FOUR]
    assert chat.session.path[-1].reply is not None
    assert chat.session.path[-1].reply.sampling is not None
    assert chat.session.path[-1].reply.sampling.temperature == 0.3


def test_another_session_shows_them_and_makes_one_again_with_what_labels_it(start: Start) -> None:
    before = start(Script(replies=(FOUR,), batch_sizes=(4,)))
    ask(before, "2 temperature=0.1,0.9 count")
    finish(before)
    before.close()
    chat = start(Script(replies=(FOUR,), batch_sizes=(4,)))
    chat.session.resume({}, None)
    candidates = chat.session.candidates
    candidates.reopen()
    assert labels(chat) == ["temperature 0.1", "temperature 0.9"]
    candidates.regenerate(candidates.lanes[1])
    finish(chat)
    assert chat.engine.requests[-1].sampling.temperature == 0.9
    assert labels(chat) == ["temperature 0.1", "temperature 0.9"]
    assert len(chat.session.tree()) == 4, "the replaced one stays a sibling"


def test_those_that_the_app_ended_with_say_so(start: Start) -> None:
    gate = Gate()
    before = start(Script(replies=(FOUR,), batch_sizes=(4,), stepped=True), gate)
    ask(before, "2 temperature=0.1,0.9 count")
    gate.release(2)
    for _ in range(2):
        before.until(TokenEvent, row=1)
    before.now += 5
    before.session.tick()
    chat = start(Script(replies=(FOUR,), batch_sizes=(4,)))
    chat.store.recover()
    chat.session.resume({}, None)
    candidates = chat.session.candidates
    candidates.reopen()
    assert [lane.text for lane in candidates.lanes] == ["one two", "one two"]
    assert [*map(figures_of_lane, candidates.lanes)] == ["■ 2 tok · interrupted"] * 2
    gate.open()


def test_versions_that_were_made_one_by_one_are_labelled_by_what_they_differ_in(start: Start) -> None:
    chat = start(Script(replies=(FOUR,)))
    chat.ask("count")
    retry(chat, "temperature=0.1 top-k=5")
    retry(chat, "temperature=0.1 top-k=7")
    chat.session.candidates.reopen()
    default = chat.session.default_sampling
    assert labels(chat) == [
        f"temperature {default.temperature}, top-k {default.top_k}",
        "temperature 0.1, top-k 5",
        "temperature 0.1, top-k 7",
    ]


def test_alike_ones_are_labelled_by_their_seeds_and_too_many_are_cut_around_the_one_shown(
    start: Start,
) -> None:
    chat = start(Script(replies=(FOUR,)))
    chat.ask("count")
    for seed in range(MOST + 2):
        retry(chat, f"seed={seed}")
    chat.session.candidates.reopen()
    assert labels(chat) == [f"seed {seed}" for seed in range(2, MOST + 2)]
    chat.session.branching.show_version(chat.session.tree()[2])
    chat.session.candidates.reopen()
    assert "seed 0" in labels(chat)
    assert len(labels(chat)) == MOST


def test_a_version_with_messages_below_is_not_deleted_with_the_others(start: Start) -> None:
    chat = start(Script(replies=(FOUR,)))
    chat.ask("count")
    chat.ask("and on")
    below = len(chat.session.tree())
    first = chat.session.path[1]
    chat.session.branching.regenerate(first.id)
    chat.until(GenerationFinished)
    retry(chat, "seed=5")
    candidates = chat.session.candidates
    candidates.reopen()
    assert len(labels(chat)) == 3
    said = [each.error.message for each in candidates.keep(candidates.lanes[2]) if isinstance(each, Notice)]
    assert said == [
        "1 other candidate deleted. /undo brings it back. 1 version with messages below it stays."
    ]
    assert len(chat.session.tree()) == below + 1
    assert first.id in {each.id for each in chat.session.tree()}


def test_one_that_the_user_has_changed_says_so_until_it_is_made_again(start: Start) -> None:
    chat = start(Script(replies=(FOUR,)))
    chat.ask("count")
    reply = chat.session.path[-1]
    assert reply.reply is not None
    chat.session.branching.write(reply.id, "one two five", to_continue=False)
    candidates = chat.session.candidates
    candidates.reopen()
    assert labels(chat) == [f"seed {reply.reply.seed}", f"seed {reply.reply.seed}, edited"]
    candidates.regenerate(candidates.lanes[1])
    finish(chat)
    assert labels(chat)[1] == f"seed {candidates.lanes[1].variant.seed}"


def test_a_version_that_is_being_written_is_no_candidate_yet(start: Start) -> None:
    gate = Gate()
    chat = start(Script(replies=(FOUR,), stepped=True), gate)
    gate.open()
    chat.ask("count")
    gate.shut()
    chat.session.branching.regenerate()
    chat.until(GenerationStarted)
    candidates = chat.session.candidates
    candidates.reopen()
    assert not candidates.is_on_screen, "it would be shown as interrupted"
    gate.open()
    chat.until(GenerationFinished)
    candidates.reopen()
    assert [lane.text for lane in candidates.lanes] == [FOUR] * 2


@pytest.mark.parametrize("models", [("", ""), ("", "other"), ("gpt-4", "gpt-4")])
def test_imported_ones_are_labelled_by_what_is_known_of_them(start: Start, models: tuple[str, str]) -> None:
    chat = start(Script(replies=(FOUR,)))
    chat.ask("count")
    question = chat.session.path[0]
    chat.store.branches.cut([chat.session.path[1]], question.id)
    for model in models:
        reply = chat.store.begin_reply(question.conversation_id, question.id, foreign_reply(model, "ChatGPT"))
        chat.store.finish_reply(reply.id, FOUR, "complete", foreign_reply(model, "ChatGPT"))
    chat.session.open(question.conversation_id)
    candidates = chat.session.candidates
    candidates.reopen()
    last = "other" if "other" in models else "version 2"
    assert labels(chat) == ["version 1", last]
    candidates.regenerate(candidates.lanes[0])
    finish(chat)
    assert labels(chat) == [f"seed {candidates.lanes[0].variant.seed}", last]


def test_a_reply_alone_and_a_message_without_one_have_no_lanes(start: Start) -> None:
    chat = start(Script(replies=(FOUR,)))
    chat.session.candidates.reopen()
    assert not chat.session.candidates.is_on_screen
    chat.ask("count")
    chat.session.candidates.reopen()
    assert not chat.session.candidates.is_on_screen
