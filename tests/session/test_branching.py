"""The tree on screen: what replaces a message is its sibling, what is deleted comes back, what fails changes nothing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.fakes import MODEL_MISSING, SHOUT, Gate, Script
from tests.session.test_chat import Chat
from ttchat_tui.domain.chat import ChatMessage
from ttchat_tui.domain.events import (
    EngineFailed,
    EngineLoaded,
    GenerationFinished,
    PrefillProgress,
    TokenEvent,
)
from ttchat_tui.domain.reply_settings import ReplySettings
from ttchat_tui.domain.sampling import SamplingParams
from ttchat_tui.domain.updates import (
    BranchShown,
    DraftReturned,
    MessageAdded,
    MessageChanged,
    MessageRemoved,
    Notice,
    ReplyBegan,
    ReplyFollowed,
    Update,
)
from ttchat_tui.session.notices import CONTINUED_ELSEWHERE, UNCHANGED, WRITTEN_BESIDE
from ttchat_tui.storage.errors import StorageError

TWO_TURNS = ["one", "A", "two", "B"]


def said(chat: Chat) -> list[str]:
    return [message.content for message in chat.session.path]


def stored(chat: Chat) -> list[str]:
    return sorted(message.content for message in chat.session.tree())


def two_turns(start: Callable[..., Chat], **script: Any) -> Chat:
    chat = start(Script(replies=("A", "B"), **script))
    chat.ask("one")
    chat.ask("two")
    assert said(chat) == TWO_TURNS
    return chat


def test_an_edited_message_is_a_sibling_that_is_answered(start: Callable[..., Chat]) -> None:
    chat = two_turns(start)
    first = chat.session.path[0]
    chat.session.branching.edit(first.id, "uno")
    chat.until(GenerationFinished)
    assert said(chat) == ["uno", "A"]
    assert chat.engine.requests[-1].messages == (ChatMessage("user", "uno"),)
    assert (chat.session.path[0].sibling_index, chat.session.path[0].sibling_count) == (1, 2)
    chat.session.branching.turn_version(chat.session.path[0].id, -1)
    assert said(chat) == TWO_TURNS, "nothing is overwritten"


def test_a_version_comes_back_with_the_branch_it_was_left_with(start: Callable[..., Chat]) -> None:
    chat = two_turns(start)
    session, first, third = chat.session, chat.session.path[0].id, chat.session.path[2].id
    session.branching.edit(third, "two again")
    chat.until(GenerationFinished)
    session.branching.turn_version(session.path[2].id, -1)
    assert said(chat) == TWO_TURNS, "now the older of the two continuations"
    session.branching.edit(first, "uno")
    chat.until(GenerationFinished)
    for _ in range(2):
        session.branching.turn_version(session.path[0].id, -1)
        assert said(chat) == TWO_TURNS
        session.branching.turn_version(session.path[0].id, 1)
        assert said(chat) == ["uno", "A"]
    session.branching.turn_version(session.path[0].id, -1)
    session.branching.delete(third)
    session.branching.turn_version(session.path[0].id, 1)
    session.branching.turn_version(session.path[0].id, -1)
    assert said(chat) == ["one", "A", "two again", "B"], "what was left is gone: the newest continuation"


def test_an_unchanged_message_is_answered_only_if_it_was_not_before(start: Callable[..., Chat]) -> None:
    chat = two_turns(start)
    first, before = chat.session.path[0], stored(chat)
    assert chat.session.branching.edit(first.id, "one") == [Notice(UNCHANGED)]
    assert (said(chat), stored(chat)) == (TWO_TURNS, before)
    chat.session.branching.delete(chat.session.path[1].id)
    assert said(chat) == ["one"]
    chat.session.branching.edit(first.id, "one")
    chat.until(GenerationFinished)
    assert said(chat) == ["one", "A"]


def test_an_edit_that_is_too_long_returns_its_text_and_the_branch(start: Callable[..., Chat]) -> None:
    chat = two_turns(start, context_length=40)
    path = list(chat.session.path)
    chat.session.branching.edit(path[2].id, "long " * 80)
    updates = chat.until(GenerationFinished)
    assert any(isinstance(each, DraftReturned) and each.text == "long " * 80 for each in updates)
    assert BranchShown(2, tuple(path[2:])) in updates
    assert said(chat) == TWO_TURNS
    assert chat.store.conversation(path[0].conversation_id).head_id == path[-1].id


@pytest.mark.parametrize(("at", "left"), [(1, ["one", "A"]), (0, ["one", "A"]), (3, TWO_TURNS)])
def test_any_reply_is_generated_again(start: Callable[..., Chat], at: int, left: list[str]) -> None:
    chat = two_turns(start)
    chat.session.branching.regenerate(chat.session.path[at].id)
    chat.until(GenerationFinished)
    assert said(chat) == left
    assert len(chat.session.tree()) == 5


def screen_after(shown: list[int], updates: list[Update]) -> list[int]:
    """The ids of the messages on a screen that showed `shown`."""
    for update in updates:
        match update:
            case BranchShown(kept, messages, _):
                shown = [*shown[:kept], *(message.id for message in messages)]
            case MessageAdded(message) | ReplyBegan(message):
                shown = [*(each for each in shown if each != message.id), message.id]
            case MessageRemoved(message_id):
                shown = [each for each in shown if each != message_id]
            case _:
                pass
    return shown


@pytest.mark.parametrize("at", range(4))
@pytest.mark.parametrize("action", ["regenerate", "edit", "write", "continue_reply", "delete"])
def test_the_screen_shows_the_path_after_every_change_of_the_tree(
    start: Callable[..., Chat], action: str, at: int
) -> None:
    chat = two_turns(start)
    branching, message = chat.session.branching, chat.session.path[at]
    shown = [each.id for each in chat.session.path]
    changes: dict[str, Callable[[], list[Update]]] = {
        "regenerate": lambda: branching.regenerate(message.id),
        "edit": lambda: branching.edit(message.id, "other words"),
        "write": lambda: branching.write(message.id, "my words", to_continue=True),
        "continue_reply": lambda: branching.continue_reply(message.id),
        "delete": lambda: branching.delete(message.id)[1] if at else [],
    }
    began = changes[action]()
    if chat.session.is_busy:
        began += chat.until(GenerationFinished)
    assert screen_after(shown, began) == [each.id for each in chat.session.path]


@pytest.mark.parametrize("begun", ["another version", "a copy to continue"])
def test_what_ends_before_anything_is_written_leaves_what_was_there(
    start: Callable[..., Chat], begun: str
) -> None:
    gate = Gate()
    chat = start(Script(replies=("A", "B"), stepped=True), gate)
    gate.open()
    chat.ask("one")
    chat.ask("two")
    gate.shut()
    branching, reply = chat.session.branching, chat.session.path[1]
    if begun == "another version":
        branching.regenerate(reply.id)
        assert said(chat) == ["one", ""]
    else:
        branching.continue_reply(reply.id)
    chat.session.interrupt()
    chat.until(GenerationFinished)
    assert said(chat) == TWO_TURNS
    assert stored(chat) == sorted(TWO_TURNS)


def test_settings_are_those_of_one_reply(start: Callable[..., Chat]) -> None:
    chat = two_turns(start)
    loud = ReplySettings("", {"temperature": SHOUT, "seed": 7})
    chat.session.branching.regenerate(settings=loud)
    chat.until(GenerationFinished)
    made = chat.session.path[-1].reply
    assert made is not None
    assert made.sampling is not None
    assert (made.sampling.temperature, made.seed) == (SHOUT, 7)
    assert chat.session.sampling.temperature != SHOUT


def test_another_model_is_loaded_for_the_reply_which_keeps_its_settings(start: Callable[..., Chat]) -> None:
    chat = two_turns(start)
    chat.session.branching.regenerate(settings=ReplySettings("scripted", {"temperature": SHOUT}))
    chat.until(EngineLoaded)
    chat.until(GenerationFinished)
    made = chat.session.path[-1].reply
    assert made is not None
    assert made.sampling is not None
    assert made.sampling.temperature == SHOUT, "the model's own defaults do not replace it"


def test_no_other_model_answers_for_one_that_does_not_load(start: Callable[..., Chat]) -> None:
    chat = two_turns(start)
    chat.session.branching.regenerate(chat.session.path[1].id, ReplySettings(MODEL_MISSING))
    assert said(chat) == ["one", ""]
    updates = chat.until(EngineFailed)
    assert any(isinstance(each, Notice) for each in updates)
    assert said(chat) == TWO_TURNS
    assert not chat.session.is_busy


def test_a_reply_in_the_middle_is_continued_in_a_copy(start: Callable[..., Chat]) -> None:
    chat = start(Script(replies=("A b c", "B")))
    chat.session.set_sampling(SamplingParams(max_tokens=1))
    chat.ask("one")
    chat.ask("two")
    old = chat.session.path[1]
    chat.session.set_sampling(SamplingParams())
    chat.session.branching.continue_reply(old.id)
    chat.until(GenerationFinished)
    copy = chat.session.path[-1]
    assert said(chat) == ["one", "A b c"]
    assert (copy.sibling_index, copy.sibling_count) == (1, 2)
    assert chat.store.message(old.id).content == "A"


def test_a_version_with_the_same_words_is_no_copy(start: Callable[..., Chat]) -> None:
    """A fork may have the text of its origin by chance: two tokens of one text, or a control token at its end."""
    gate = Gate()
    chat = start(Script(replies=("One two.",), stepped=True), gate)
    gate.open()
    chat.ask("count")
    gate.shut()
    origin = chat.session.path[-1]
    assert origin.reply is not None
    chat.session.branching.write_as(
        origin.id, origin.content, origin.reply, is_edited=False, to_continue=True, is_kept=False
    )
    chat.until(PrefillProgress)
    chat.session.stop()
    chat.until(GenerationFinished)
    fork = chat.session.path[-1]
    assert (fork.content, fork.sibling_count) == (origin.content, 2), "it stays, since it is another version"
    assert fork.id != origin.id


@pytest.mark.parametrize("at", [2, 3])
def test_words_for_the_assistant_are_a_marked_sibling(start: Callable[..., Chat], at: int) -> None:
    chat = two_turns(start)
    chat.session.branching.write(chat.session.path[at].id, "Mine.", to_continue=False)
    assert said(chat) == ["one", "A", "two", "Mine."]
    mine = chat.session.path[-1]
    assert (mine.is_edited, mine.status, mine.sibling_count) == (True, "complete", 2)


def test_the_model_continues_what_the_user_wrote(start: Callable[..., Chat]) -> None:
    chat = two_turns(start)
    chat.session.branching.write(chat.session.path[1].id, "Mine", to_continue=True)
    chat.until(GenerationFinished)
    assert chat.engine.requests[-1].messages[-1] == ChatMessage("assistant", "Mine")
    assert chat.engine.requests[-1].continue_last
    reply = chat.store.message(chat.session.path[-1].id)
    assert reply.content.startswith("Mine")
    assert len(reply.content) > 4
    assert reply.is_edited


def test_what_the_user_wrote_stays_if_nothing_is_added(start: Callable[..., Chat]) -> None:
    gate = Gate()
    chat = start(Script(replies=("A",), stepped=True), gate)
    gate.open()
    chat.ask("one")
    gate.shut()
    chat.session.branching.write(chat.session.path[1].id, "Mine", to_continue=True)
    chat.session.interrupt()
    chat.until(GenerationFinished)
    assert said(chat) == ["one", "Mine"]


def test_what_another_window_writes_beside_is_counted_and_reported_once(start: Callable[..., Chat]) -> None:
    here, there = two_turns(start), start(Script(replies=("C",)))
    home = here.session.path[0].conversation_id
    there.session.open(home)
    assert here.session.other_windows.follow() == there.session.other_windows.follow() == []
    there.session.branching.regenerate()
    there.until(GenerationFinished)
    updates = here.session.other_windows.follow()
    assert [type(each) for each in updates] == [MessageChanged, Notice]
    assert updates[-1] == Notice(WRITTEN_BESIDE)
    replied = here.session.path[-1]
    assert (replied.content, replied.sibling_index, replied.sibling_count) == ("B", 0, 2)
    assert here.session.other_windows.follow() == []
    there.session.branching.delete(there.session.path[-1].id)
    assert [type(each) for each in here.session.other_windows.follow()] == [MessageChanged]
    assert here.session.path[-1].sibling_count == 1


def test_what_another_window_sends_next_is_shown(start: Callable[..., Chat]) -> None:
    gate = Gate()
    here, there = two_turns(start), start(Script(replies=("C",), stepped=True), gate)
    there.session.open(here.session.path[0].conversation_id)
    there.session.submit("three")
    assert here.session.other_windows.follow()[-1] == Notice(CONTINUED_ELSEWHERE)
    assert said(here) == [*TWO_TURNS, "three", ""]
    assert here.session.path[-1].status == "streaming"
    gate.open()
    there.until(GenerationFinished)
    assert isinstance(here.session.other_windows.follow()[0], ReplyFollowed)
    assert said(here) == [*TWO_TURNS, "three", "C"]
    assert here.session.other_windows.follow() == []

    # Also if the message is sent before anything was looked at: it becomes no silent version of the other's.
    there.ask("four")
    here.session.submit("five")
    here.until(GenerationFinished)
    assert said(here) == [*TWO_TURNS, "three", "C", "four", "C", "five", "A"]
    assert [type(each) for each in there.session.other_windows.follow()].count(MessageAdded) == 2
    assert said(there) == said(here)


def test_a_branch_becomes_a_conversation_of_its_own(start: Callable[..., Chat]) -> None:
    chat = two_turns(start)
    before = chat.session.conversation
    chat.session.set_system_prompt("Be brief.")
    chat.session.branching.branch_off(chat.session.path[2].id)
    assert said(chat) == ["one", "A", "two"]
    assert chat.session.conversation is not None
    assert before is not None
    assert chat.session.conversation.id != before.id
    assert chat.session.conversation.title == "↳ one"
    assert chat.session.system_prompt == "Be brief."
    chat.session.open(before.id)
    assert said(chat) == TWO_TURNS


def test_a_deleted_message_takes_what_follows_and_comes_back(start: Callable[..., Chat]) -> None:
    chat = two_turns(start)
    chat.session.branching.delete(chat.session.path[2].id)
    assert said(chat) == ["one", "A"]
    chat.ask("three")
    chat.session.branching.undo()
    assert said(chat) == TWO_TURNS
    assert len(chat.session.tree()) == 6


def test_after_a_deleted_version_another_one_is_shown(start: Callable[..., Chat]) -> None:
    chat = two_turns(start)
    chat.session.branching.edit(chat.session.path[0].id, "uno")
    chat.until(GenerationFinished)
    chat.session.branching.delete(chat.session.path[0].id)
    assert said(chat) == TWO_TURNS
    assert chat.session.path[0].sibling_count == 1


def test_a_branch_that_is_not_on_screen_is_deleted_under_it(start: Callable[..., Chat]) -> None:
    chat = two_turns(start)
    other = chat.session.path[0]
    chat.session.branching.edit(other.id, "uno")
    chat.until(GenerationFinished)
    count, _ = chat.session.branching.delete(other.id)
    assert count == 4, "the message and all that followed it"
    assert said(chat) == ["uno", "A"]
    assert chat.session.path[0].sibling_count == 1
    assert len(chat.session.tree()) == 2


def test_undo_goes_back_newest_first_across_branches_and_conversations(start: Callable[..., Chat]) -> None:
    chat = two_turns(start)
    home = chat.session.path[0].conversation_id
    session = chat.session
    session.branching.delete(session.path[3].id)
    session.branching.delete(session.path[1].id)
    session.branching.delete(session.path[0].id)
    assert session.conversation is None, "nothing was left of it"
    for wanted in (["one"], ["one", "A", "two"], TWO_TURNS):
        assert session.branching.undo()
        assert said(chat) == wanted
        assert session.path[0].conversation_id == home
    assert session.branching.undo() == []


def test_a_branch_whose_parent_is_gone_becomes_a_first_message(start: Callable[..., Chat]) -> None:
    chat = two_turns(start)
    path = list(chat.session.path)
    chat.session.branching.delete(path[3].id)
    chat.store.remove_message(path[2].id)
    chat.session.branching.undo()
    assert said(chat) == ["B"]


def test_a_reply_that_another_process_writes_is_not_deleted(start: Callable[..., Chat]) -> None:
    chat = two_turns(start)
    chat.store.resume_reply(chat.session.path[3].id)
    with pytest.raises(StorageError) as refused:
        chat.session.branching.delete(chat.session.path[0 + 2].id)
    assert refused.value.info.kind == "reply_busy"
    assert len(chat.session.tree()) == 4


def test_a_message_that_another_window_has_deleted_is_not_deleted_again(start: Callable[..., Chat]) -> None:
    chat = two_turns(start)
    asked, reply = chat.session.path[2:]
    chat.store.branches.cut([asked], asked.parent_id)
    with pytest.raises(StorageError) as refused:
        chat.store.branches.cut([reply], asked.id)
    assert refused.value.info.kind == "not_found"
    chat.session.branching.undo()
    assert said(chat) == TWO_TURNS


def test_a_named_branch_has_its_name_on_screen(start: Callable[..., Chat]) -> None:
    chat = two_turns(start)
    chat.session.branching.name(chat.session.path[1].id, "  the\nshort one ")
    assert chat.session.path[1].branch_name == "the short one"
    assert [each.branch_name for each in chat.session.branching.outline()] == ["", "the short one", "", ""]


def test_nothing_changes_while_a_reply_runs(start: Callable[..., Chat]) -> None:
    gate = Gate()
    chat = start(Script(replies=("A b c",), stepped=True), gate)
    chat.session.submit("one")
    gate.release()
    chat.until(TokenEvent)
    asked, reply = chat.session.path
    branching = chat.session.branching
    for refused in (
        branching.edit(asked.id, "uno"),
        branching.regenerate(asked.id),
        branching.continue_reply(reply.id),
        branching.write(reply.id, "Mine", to_continue=False),
        branching.write(reply.id, "Mine", to_continue=True),
        branching.delete(asked.id)[1],
    ):
        assert [update.error.kind for update in refused if isinstance(update, Notice)] == ["busy"]
    assert len(chat.session.tree()) == 2
