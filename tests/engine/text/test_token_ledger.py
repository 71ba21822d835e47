"""The ids a model wrote are the ids it reads in the next turn."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from ttchat_tui.domain.chat import ChatMessage
from ttchat_tui.engine.base import PromptTooLong
from ttchat_tui.engine.text.prompt_builder import PromptBuilder
from ttchat_tui.engine.text.template import ChatTemplate, PromptPiece
from ttchat_tui.engine.text.token_ledger import TokenLedger, UnfinishedReply, WrittenReply

TEMPLATE = (
    "{% for m in messages %}<{{ m.role }}>{{ m.content | trim }}<end>{% endfor %}"
    "{% if add_generation_prompt %}<assistant>{% endif %}"
)
CONTROLS = ("<system>", "<user>", "<assistant>", "<end>")


class OneIdPerLetter:
    """Control tokens are 1000 and more, letters their code points."""

    def __init__(self) -> None:
        self.encoded: list[str] = []

    def encode_pieces(self, pieces: Sequence[PromptPiece], start: int = 0) -> list[tuple[int, ...]]:
        self.encoded = [piece.text for piece in pieces[start:]]
        return [
            (1000 + CONTROLS.index(p.text),) if p.is_control else tuple(map(ord, p.text))
            for p in pieces[start:]
        ]


def builder(context_length: int = 100) -> PromptBuilder:
    return PromptBuilder(
        ChatTemplate(TEMPLATE, {}, CONTROLS),
        OneIdPerLetter(),
        context_length,
        as_written=lambda ids: WrittenReply("hello", ids),
    )


def user(text: str) -> ChatMessage:
    return ChatMessage("user", text)


def assistant(text: str) -> ChatMessage:
    return ChatMessage("assistant", text)


def test_the_next_prompt_holds_the_generated_ids() -> None:
    prompts = builder()
    first = prompts.build([user("hi")])
    prompts.remember(first, [7, 8], "hello")
    second = prompts.build([user("hi"), assistant("hello"), user("bye")])
    assert second.ids[: len(first.ids) + 2] == [*first.ids, 7, 8]
    assert second.ids[len(first.ids) + 2 :] == [1003, 1001, *map(ord, "bye"), 1003, 1002]


def test_ids_survive_several_turns() -> None:
    prompts, messages = builder(), [user("a")]
    for turn in range(3):
        prompt = prompts.build(messages)
        prompts.remember(prompt, [turn], f"reply {turn}")
        messages += [assistant(f"reply {turn}"), user("b")]
    ids = prompts.build(messages).ids
    assert [i for i in ids if i < 3] == [0, 1, 2]


def test_versions_with_the_same_text_have_their_own_ids() -> None:
    prompts = builder()
    talk = [
        (user("hi"), ChatMessage("assistant", "hello", token_ids=ids), user("x")) for ids in ((7,), (8, 9))
    ]
    for messages in (*talk, *talk):
        prompt = prompts.build(messages)
        prompts.remember(prompt, [7], "hello")
        assert prompt.ids == builder().build(messages).ids
        assert [each for each in prompt.ids if each < 10] == list(messages[1].token_ids)


def test_a_changed_reply_is_encoded_again() -> None:
    prompts = builder()
    prompts.remember(prompts.build([user("hi")]), [7], "hello")
    assert 7 not in prompts.build([user("hi"), assistant("hellO"), user("x")]).ids


def test_a_reply_that_the_template_trims_is_encoded_again() -> None:
    prompts = builder()
    prompts.remember(prompts.build([user("hi")]), [7], "hello ")
    assert 7 not in prompts.build([user("hi"), assistant("hello "), user("x")]).ids


def test_a_continued_reply_starts_from_its_ids() -> None:
    prompts = builder()
    first = prompts.build([user("hi")])
    prompts.remember(first, [7], "once upon")
    second = prompts.build([user("hi"), assistant("once upon")], continue_last=True)
    assert second.ids == [*first.ids, 7]
    prompts.remember(second, [9], " a time")
    third = prompts.build([user("hi"), assistant("once upon a time"), user("x")])
    assert third.ids[: len(first.ids) + 2] == [*first.ids, 7, 9]


def test_half_a_character_is_continued_by_its_ids() -> None:
    prompts = builder()
    first = prompts.build([user("hi")])
    for _ in range(2):
        begun = prompts.build(
            [user("hi"), assistant("")], continue_last=True, unfinished=UnfinishedReply((8,), ("", ""))
        )
        assert begun.ids == [*first.ids, 8]
        prompts.remember(begun, [9], "é")
    assert prompts.build([user("hi")]).ids == first.ids
    assert prompts.build([user("hi"), assistant("é"), user("x")]).ids[: len(first.ids) + 2] == [
        *first.ids, 8, 9,
    ]  # fmt: skip


def test_only_what_is_new_is_tokenised() -> None:
    encoder = OneIdPerLetter()
    ledger = TokenLedger(encoder)
    pieces = [PromptPiece("<user>", True), PromptPiece("a", False)]
    ledger.remember(ledger.encode(pieces), [7], "b")
    ledger.encode([PromptPiece("<user>", True), PromptPiece("ab", False), PromptPiece("<end>", True)])
    assert encoder.encoded == ["<end>"]


def test_a_count_predicts_the_prompt() -> None:
    prompts = builder()
    prompts.remember(prompts.build([user("hi")]), [7], "hello")
    messages = [user("hi"), assistant("hello"), user("bye")]
    assert prompts.count(messages).tokens == len(prompts.build(messages).ids)


def test_old_turns_make_room_and_a_count_says_how_many() -> None:
    prompts = builder(context_length=60)
    messages = [ChatMessage("system", "s"), user("x" * 30), assistant("y" * 10), user("z")]
    assert prompts.count(messages).dropped == prompts.build(messages).dropped == 2


def test_a_message_that_cannot_fit_is_refused_but_counted() -> None:
    prompts = builder(context_length=20)
    messages = [user("x" * 50)]
    assert prompts.count(messages).tokens == 53
    with pytest.raises(PromptTooLong, match="53 tokens"):
        prompts.build(messages)
