"""Pins, tags and the archive as the session changes them, and titles by the model."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.fakes import Gate, Script
from tests.session.test_chat import Chat
from tests.size import sized
from ttchat_tui.domain.candidates import Variant
from ttchat_tui.domain.events import GenerationFinished
from ttchat_tui.domain.preset import Preset
from ttchat_tui.domain.updates import ConversationsChanged, Notice
from ttchat_tui.session.titles import INSTRUCTION, tidied
from ttchat_tui.storage.errors import StorageError


def three(chat: Chat) -> list[int]:
    """Three conversations, the last one open."""
    made: list[int] = []
    for text in ("one", "two", "three"):
        chat.session.new_conversation()
        chat.ask(text)
        assert chat.session.conversation is not None
        made.append(chat.session.conversation.id)
    return made


def test_an_archiving_is_taken_back_once_unless_something_was_deleted_since(
    start: Callable[..., Chat],
) -> None:
    chat = start()
    session, (one, two, three_) = chat.session, three(chat)

    def archived() -> set[int]:
        return {each.id for each in session.conversations() if each.is_archived}

    session.organising.archive([one])
    session.organising.archive([one, two])
    session.branching.undo()
    assert archived() == {one}, "it was archived before"
    assert not session.branching.undo()
    session.organising.archive([one])
    session.branching.undo()
    assert archived() == {one}
    session.organising.archive([two])
    session.delete(three_)
    assert session.branching.undo()
    assert archived() == {one, two}
    assert three_ in {each.id for each in session.conversations()}, "what was done last is undone"


def test_pins_and_the_archive_are_switched_for_several_at_once(start: Callable[..., Chat]) -> None:
    chat = start()
    one, two, _ = three(chat)
    organising = chat.session.organising
    assert organising.pin([one]) == (True, [ConversationsChanged()])
    assert organising.pin([one, two])[0] is True
    assert {each.id for each in chat.session.conversations() if each.is_pinned} == {one, two}
    assert organising.pin([one, two])[0] is False
    assert organising.archive([one, two])[0] is True
    assert {each.id for each in chat.session.conversations() if each.is_archived} == {one, two}
    chat.session.open(one)
    chat.ask("more")
    assert not chat.store.conversation(one).is_archived, "who writes in it wants it back in the list"


def test_tags_of_several_are_changed_together_and_the_open_one_has_them(start: Callable[..., Chat]) -> None:
    chat = start()
    one, two, three_ = three(chat)
    organising = chat.session.organising
    organising.tag([one, three_], add=["work", "rust"])
    organising.tag([three_], add=["work", "urgent"], remove=["rust"])
    assert chat.session.conversation is not None
    assert chat.session.conversation.tags == ("work", "urgent")
    assert organising.common_tags([one, three_]) == ("work",)
    assert organising.common_tags([one, two]) == ()
    assert organising.known_tags() == ["work", "rust", "urgent"]
    with pytest.raises(StorageError):
        organising.tag([one, 99], add=["lost"])
    assert organising.common_tags([one]) == ("work", "rust")


def test_one_undo_restores_everything_that_one_deletion_took(start: Callable[..., Chat]) -> None:
    chat = start()
    one, two, three_ = three(chat)
    chat.session.delete(three_)
    chat.session.delete(one, two)
    assert chat.session.conversations() == []
    chat.session.undelete()
    assert {each.id for each in chat.session.conversations()} == {one, two}
    chat.session.undelete()
    assert {each.id for each in chat.session.conversations()} == {one, two, three_}


# --- titles


def test_a_title_continues_the_prompt_of_the_reply_before_it(start: Callable[..., Chat]) -> None:
    reply = ("Tick tock. " * 300).strip()  # longer than a beginning
    replies = (reply, "**Clocks.**\nAnd more that nobody asked for")
    chat = start(Script(replies=replies, context_length=4000))
    chat.ask("How do clocks tick?")
    conversation = chat.session.conversation
    assert conversation is not None
    chat.session.titles.write(conversation.id)
    updates = chat.until(GenerationFinished)
    assert ConversationsChanged() in updates
    assert chat.store.conversation(conversation.id).title == "Clocks"
    asked, named = (request.messages for request in chat.engine.requests)
    assert named[: len(asked)] == asked
    assert [message.content for message in named[len(asked) :]] == [reply, INSTRUCTION]


def test_a_title_of_another_conversation_is_made_from_its_beginning(start: Callable[..., Chat]) -> None:
    chat = start(Script(replies=("Tick " * 900, "Clocks"), context_length=4000))
    chat.ask("How do clocks tick?")
    first = chat.session.conversation
    assert first is not None
    chat.session.new_conversation()
    chat.ask("Hi")
    chat.session.titles.write(first.id)
    chat.until(GenerationFinished)
    assert chat.store.conversation(first.id).title == "Clocks"
    assert len(chat.engine.requests[-1].messages[1].content) == 2_000


def test_a_title_for_a_conversation_that_went_meanwhile_is_a_notice(start: Callable[..., Chat]) -> None:
    gate = Gate()
    chat = start(Script(replies=("Clocks",), stepped=True), gate)
    gate.open()
    chat.ask("How do clocks tick?")
    gate.shut()
    conversation = chat.session.conversation
    assert conversation is not None
    chat.session.titles.write(conversation.id)
    chat.session.delete(conversation.id)
    gate.open()
    (notice,) = [update for update in chat.until(GenerationFinished) if isinstance(update, Notice)]
    assert notice.error.kind == "not_found"


@pytest.mark.parametrize("candidates", [1, 3])
def test_an_automatic_title_follows_the_first_reply_only(start: Callable[..., Chat], candidates: int) -> None:
    chat = start(Script(replies=("Tick tock.", "Clocks", "Three"), batch_sizes=(1, 4)))
    chat.session.titles.is_automatic = True
    chat.session.submit("How do clocks tick?", candidates)
    chat.until(GenerationFinished)
    chat.until(GenerationFinished)
    assert chat.session.conversation is not None
    assert chat.session.conversation.title == "Clocks"
    chat.ask("And watches?")
    assert chat.session.side_requests.running is None
    assert len(chat.engine.requests) == 3


@pytest.mark.parametrize(
    ("answer", "title"),
    [
        ('"Clock repair."', "Clock repair"),
        ("Title: Clock repair", "Clock repair"),
        ("Título：Clock repair", "Clock repair"),
        ("**Clock repair**", "Clock repair"),
        ("# Clock repair\n\nmore", "Clock repair"),
        ("标题：修钟。", "修钟"),
        ("\x1b[31mRed\x1b[0m", "[31mRed[0m"),
        ("To be continued...", "To be continued..."),
        ('""', ""),
        ("", ""),
    ],
)
def test_a_title_is_tidied(answer: str, title: str) -> None:
    assert tidied(answer) == title


def test_words_of_the_instruction_are_no_title(start: Callable[..., Chat]) -> None:
    chat = start(Script(replies=("Tick tock.", "At most six words on one line.")))
    chat.session.titles.is_automatic = True
    chat.ask("How do clocks tick?")
    chat.until(GenerationFinished)
    assert chat.session.conversation is not None
    assert chat.session.conversation.title == "How do clocks tick?"


@given(st.data())
def test_a_run_of_the_instruction_is_no_title_wherever_it_stands(data: st.DataObject) -> None:
    words = INSTRUCTION.split()
    begin = data.draw(st.integers(0, len(words) - 4))
    run = words[begin : begin + 4]
    change = data.draw(st.sampled_from([str, str.upper, str.title]))
    before = data.draw(st.sampled_from(["", "Clocks: ", '"']))
    assert tidied(before + change(" ".join(run))) == ""
    assert tidied(" ".join([*run[:2], "clocks", *run[2:]])) != "", "two words of it and two more may be one"


@settings(max_examples=sized(40, 2_000), deadline=None)
@given(st.lists(st.sampled_from(["preset", "delete", "archive", "keep"]), min_size=1, max_size=5))
def test_what_was_done_last_is_undone_first(acts: list[str]) -> None:
    """A preset or a system prompt, a deletion, an archiving, and candidates of which one is kept."""
    with tempfile.TemporaryDirectory() as folder:
        chat = Chat(Path(folder) / "conversations.db", Script(replies=("one",), batch_sizes=(2,)))
        spare = [chat.store.create_conversation(title=f"{at}").id for at in range(5)]
        for at, each in enumerate(spare):
            chat.store.add_user_message(each, None, f"{at}")
        chat.ask("hello")
        session, done = chat.session, list[tuple[str, int | str]]()
        for number, act in enumerate(acts):
            if act == "preset":
                session.presets.apply(Preset(name=f"p{number}", system_prompt=f"{number}"))
                # Only the last preset can be taken back.
                done = [each for each in done if each[0] != "preset"]
                done.append((act, f"p{number}"))
            elif act == "keep":
                wanted = [Variant(f"seed {seed}", seed) for seed in (1, 2)]
                session.candidates.ask(wanted)
                chat.until(GenerationFinished)
                session.candidates.keep(session.candidates.lanes[0])
                done.append((act, len(session.tree())))
            elif act == "delete":
                session.delete(spare[number])
                done.append((act, spare[number]))
            else:
                # A deletion makes an older archiving one that cannot be undone.
                session.organising.archive([spare[number]])
                done = [each for each in done if each[0] != "archive"]
                done.append((act, spare[number]))
            if act in ("delete", "keep"):
                done = [each for each in done if each[0] != "archive"]
        for act, what in reversed(done):
            name, _ = session.presets.take_back()
            if act == "preset":
                assert name == what
                continue
            assert name == "", "what was done since comes first"
            before = len(session.tree())
            assert session.branching.undo()
            if act == "keep":
                assert len(session.tree()) == before + 1
            else:
                listed = {each.id for each in session.organising.listed() if not each.is_archived}
                assert what in listed
        chat.close()
