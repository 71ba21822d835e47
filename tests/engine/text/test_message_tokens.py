"""A count says before sending what the reply's figures say after it, message by message, whatever falls out."""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from tests.size import sized
from ttchat_tui.domain.chat import ChatMessage
from ttchat_tui.domain.events import GenerationFinished, TokenEvent
from ttchat_tui.domain.generation import GenerationControl, GenerationRequest
from ttchat_tui.domain.sampling import SamplingParams
from ttchat_tui.engine.cpu.checkpoints.gguf_container import GgufContainer
from ttchat_tui.engine.decoding.loop import Stepper
from ttchat_tui.engine.decoding.responder import Responder
from ttchat_tui.engine.text.message_tokens import message_tokens
from ttchat_tui.engine.text.template import ChatTemplate, PromptPiece
from ttchat_tui.engine.text.tokenizer import ChatTokenizer
from ttchat_tui.engine.text.tokenizer_gguf import template_from_gguf, tokenizer_from_gguf

WORDS = (
    "the",
    "clock",
    "ticks",
    "über",
    "日本",
    "x<|im_end|>y",
    "\n\n",
    "user",
    "42",
    "def f():\n    return 1",
)
GREEDY = SamplingParams(temperature=0.0, max_tokens=6)


class Babble(Stepper):
    """Words that no tokenizer would split like this, then the end of the turn."""

    def __init__(self, ids: Sequence[int], end_id: int, seed: int) -> None:
        self._ids, self._end_id = ids, end_id
        self._random = random.Random(seed)

    def cached_prefix(self, ids: Sequence[int]) -> int:
        return 0

    def prefill(self, ids: Sequence[int], report: Callable[[int, int], bool]) -> NDArray[np.float32]:
        self._left = 4
        return self.step(0)

    def step(self, token_id: int) -> NDArray[np.float32]:
        self._left -= 1
        logits = np.zeros(49_152, dtype=np.float32)
        logits[self._random.choice(self._ids) if self._left else self._end_id] = 100.0
        return logits


Model = tuple[ChatTokenizer, ChatTemplate]


@pytest.fixture(scope="module")
def model(default_model_path: Path) -> Model:
    """The default model's tokenizer and chat template."""
    file = GgufContainer(default_model_path)
    tokenizer, data = tokenizer_from_gguf(file.metadata), template_from_gguf(file.metadata)
    file.data.close()
    return tokenizer, ChatTemplate(data.source, data.special, tokenizer.controls)


def responder(model: Model, context_length: int, seed: int) -> Responder:
    tokenizer, template = model
    letters = [ids[0] for ids in tokenizer.encode_pieces([PromptPiece(each, False) for each in "aeiou tn"])]
    stepper = Babble(letters, min(tokenizer.end_ids), seed)
    return Responder(tokenizer=tokenizer, template=template, context_length=context_length, stepper=stepper)


texts = st.lists(st.sampled_from(WORDS), min_size=1, max_size=30).map(" ".join).filter(str.strip)


@settings(deadline=None, max_examples=sized(40, 1000))
@given(
    st.lists(texts, min_size=1, max_size=7),
    st.booleans(),
    st.sampled_from([120, 200, 400, 8192]),
    st.sets(st.integers(1, 9)),
    st.integers(0, 99),
)
@example(["the"] * 3, False, 120, set(), 98)  # a reply that is a part of its role's name
def test_a_count_equals_the_figures_of_the_reply(
    model: Model, said: list[str], has_system: bool, context_length: int, kept: set[int], seed: int
) -> None:
    engine = responder(model, context_length, seed)
    messages = [ChatMessage("system", "Be brief.")] if has_system else []
    for number, text in enumerate(said, start=1):
        messages.append(ChatMessage("user", text))
        keep = tuple(sorted(place for place in kept if place < len(messages)))
        counted = engine.count(number, messages, keep=keep)
        request = GenerationRequest(id=number, messages=tuple(messages), keep=keep, sampling=GREEDY, seed=1)
        events = list(engine.generate(request, GenerationControl(GREEDY)))
        end = events[-1]
        assert isinstance(end, GenerationFinished)
        if counted.prompt_tokens >= context_length:
            assert end.error is not None
            assert end.error.kind == "prompt_too_long"
            return
        assert end.stats.prompt_tokens == counted.prompt_tokens
        assert end.stats.dropped_messages == counted.dropped_messages == len(counted.fallen)
        check_shares(model, messages, counted.message_tokens, counted.fallen, counted.prompt_tokens)
        reply = "".join(event.text for event in events if isinstance(event, TokenEvent)) + end.text
        # A session sends no blank messages.
        messages.append(ChatMessage("assistant", reply if reply.strip() else "…"))


def check_shares(
    model: Model, messages: Sequence[ChatMessage], shares: Sequence[int], fallen: Sequence[int], whole: int
) -> None:
    """What is sent and the template make the prompt; the template's share is that of empty messages."""
    assert len(shares) == len(messages)
    kept = [position for position in range(len(messages)) if position not in fallen]
    empty = [ChatMessage(messages[position].role, "") for position in kept]
    assert whole - sum(shares[position] for position in kept) == length(model, empty)


def length(model: Model, messages: Sequence[ChatMessage]) -> int:
    tokenizer, template = model
    return sum(map(len, tokenizer.encode_pieces(template.pieces(messages))))


def letters(text: str) -> int:
    return len(text)


def encoded(*pieces: str) -> list[tuple[PromptPiece, tuple[int, ...]]]:
    """One id for each letter; `<…>` is a control token."""
    found = [PromptPiece(each, each.startswith("<")) for each in pieces]
    return [(piece, (0,) * (1 if piece.is_control else len(piece.text))) for piece in found]


def chat(*contents: str) -> list[ChatMessage]:
    return [ChatMessage(("user", "assistant")[place % 2], text) for place, text in enumerate(contents)]


@pytest.mark.parametrize(
    ("pieces", "contents", "expected"),
    [
        (("<u>", "hi", "<a>", "hello", "<u>"), ("hi", "hello"), (2, 5)),
        (("User: hi\nAssistant: hello\nUser: x",), ("hi", "hello", "x"), (2, 5, 1)),
        (("<u>", "hi", "<a>", "<u>", "bye"), ("hi", "dropped by the template", "bye"), (2, 0, 3)),
        (("<u>", "hi", "<a>"), (" hi \n", "  "), (2, 0)),
    ],
)
def test_shares_follow_the_text_through_the_template(
    pieces: tuple[str, ...], contents: tuple[str, ...], expected: tuple[int, ...]
) -> None:
    assert message_tokens(chat(*contents), encoded(*pieces), letters) == expected


@pytest.mark.parametrize(
    ("pieces", "expected"),
    [
        (("<u>", "q", "<a>", "(hmm) yes", "<u>", "hmm"), (1, 6, 3)),
        (("<u>", "q", "<a>", "<think>", "hmm", "</think>", "yes", "<u>", "hmm"), (1, 6, 3)),
        (("<u>", "q", "<a>", "yes", "<u>", "hmm"), (1, 3, 3)),
        (("<u>", "q", "<a>", "(hmm yes hmm) yes", "<u>", "hmm"), (1, 6, 3)),
        (("<u>", "q", "<a>", "<think>", "hmm", "</think>", "hmm yes", "<u>", "hmm"), (1, 6, 3)),
    ],
)
def test_thoughts_that_a_template_keeps_belong_to_their_message(
    pieces: tuple[str, ...], expected: tuple[int, ...]
) -> None:
    said = [ChatMessage("user", "q"), ChatMessage("assistant", "yes", "hmm"), ChatMessage("user", "hmm")]
    assert message_tokens(said, encoded(*pieces), letters) == expected


def test_an_answer_may_repeat_its_thoughts() -> None:
    said = [ChatMessage("assistant", "yes", "yes")]
    assert message_tokens(said, encoded("(yes) yes"), letters) == (6,)


def test_texts_that_a_template_hides_cost_no_search_of_everything() -> None:
    looked_at = 0

    class WatchedText(str):
        def find(self, *args: object) -> int:
            nonlocal looked_at
            looked_at += 1
            return -1

    hidden = [(PromptPiece(WatchedText("y"), False), (0,)) for _ in range(2_000)]
    message_tokens(chat(*["x"] * 2_000), hidden, letters)
    assert looked_at <= 2_000 * 2 * 24


def test_the_default_template_is_the_one_that_the_shares_are_checked_with(model: Model) -> None:
    text = model[1].render([ChatMessage("user", "hi")])
    assert re.search(r"<\|im_start\|>user\nhi<\|im_end\|>", text)
