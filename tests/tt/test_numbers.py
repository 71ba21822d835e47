"""Replies of the whole engine over the real ttnn and the real Generator, with numbers, against our float32 CPU engine.

A position where the reference prefers another token by more than rounding is wrong, and there must be none.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec
import pytest

from tests.size import sized
from ttchat_tui.domain.events import TokenEvent
from ttchat_tui.domain.generation import Candidate, Given
from ttchat_tui.domain.logit_bias import BAN, text_of
from ttchat_tui.domain.sampling import SamplingParams

if TYPE_CHECKING:  # torch is not in every venv that collects this file
    from tests.tt.torch_ttnn.agreement import CardAgreement
    from tests.tt.torch_ttnn.card import Card

CONTEXT: Final = 4096
SHORT: Final = 1024
STORY: Final = ("Once upon a time there was a small card that could count to ten. " * 70)[:-1]
LENGTHS: Final = sized(
    (5, 31, 32, 33, 127, 129, 1000, 2100),
    (3, 5, 31, 32, 33, 63, 64, 65, 127, 128, 129, 1000, 1023, 1024, 1025, 2047, 2048, 2049, 2100, 4000),
)
"""Tokens of prompts: around a page (32), a tile (32) and the prefill buckets (128, 1,024, 2,048); 2,100 take two chunks."""
QUESTIONS: Final = (
    "What is the capital of France?",
    "Write a short story about a robot who learns to paint.",
    "Explain why the sky is blue.",
)
CHUNK: Final = {"MAX_PREFILL_CHUNK_SIZE": "2"}
"""Prefill's longest chunk in units of 1,024 tokens; the smallest that tt_transformers takes."""
pytestmark = pytest.mark.timeout(400)

Record = Callable[[str, str, "CardAgreement"], None]


def start(
    checkout: Path,
    scratch: Path,
    model: str,
    context_length: int,
    card: str = "wormhole_n150",
    **options: object,
) -> Card:
    from tests.tt.torch_ttnn import small_models
    from tests.tt.torch_ttnn.card import Card

    folder = small_models.write_model(scratch / "models", getattr(small_models, model))
    started = Card(checkout, scratch, card, CHUNK)
    started.load(folder, context_length, **options)
    return started


@pytest.fixture(
    scope="module",
    params=[
        ("LLAMA", "wormhole_n150", "performance"),
        ("QWEN", "blackhole_p150", "accuracy"),
        ("MISTRAL", "wormhole_n150", "accuracy"),
    ],
    ids=lambda param: f"{param[0]}-{param[1]}-{param[2]}",
)
def any_card(
    request: pytest.FixtureRequest, checkout: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Card]:
    model, card, optimizations = request.param
    started = start(
        checkout, tmp_path_factory.mktemp(model), model, CONTEXT, card, optimizations=optimizations
    )
    yield started
    started.engine.close()


@pytest.fixture(scope="module")
def card(checkout: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Card]:
    """Eight rows of the small Llama, 1,024 positions each."""
    started = start(checkout, tmp_path_factory.mktemp("eight"), "LLAMA", SHORT, max_batch_size=8)
    yield started
    started.engine.close()


def test_prompts_of_every_length_are_continued_as_by_the_reference(any_card: Card, record: Record) -> None:
    from tests.tt.torch_ttnn.card import request_for

    equal_texts = 0
    for length in LENGTHS:
        request = request_for(STORY[: length - 2], tokens=sized(24, 90))
        reply, found = any_card.reply(request)

        record(any_card.spec.name, f"prompt of {length}", found)
        assert reply.prompt_tokens == length
        assert found.holds, str(found)
        if found.same == found.positions:  # Rounding decided nothing, so no choice can differ.
            assert any_card.reference.reply(request).text == reply.text
            equal_texts += 1
    assert equal_texts > 0


def test_three_turns_each_see_the_turns_before(any_card: Card, record: Record) -> None:
    from tests.tt.torch_ttnn.card import request_for

    turns: list[str] = []
    for question in ("Hello card", "Go on, please", "And then what came of it?"):
        turns.append(question)
        reply, found = any_card.reply(request_for(*turns))
        turns.append(reply.text)

        record(any_card.spec.name, f"turn {len(turns) // 2}", found)
        assert found.holds, str(found)


@pytest.mark.parametrize("rows", [2, 8])
def test_rows_that_end_at_different_times_are_each_their_own_text(
    card: Card, rows: int, record: Record
) -> None:
    """Row 0 is greedy; the others draw, and row i has 4 + 5i tokens at most: with pages of 32, rows cross one alone."""
    from tests.tt.torch_ttnn.card import request_for
    from tests.tt.torch_ttnn.reference import reply_of

    drawn = [
        Candidate(
            seed=row, sampling=SamplingParams(temperature=1.0, top_k=0, top_p=1.0, max_tokens=4 + 5 * row)
        )
        for row in range(1, rows)
    ]
    request = request_for(f"Count {rows} cards", tokens=30, candidates=drawn)
    events = card.run(request)
    replies = [reply_of(events, row) for row in range(rows)]

    assert len({reply.ids for reply in replies}) == rows
    for row, reply in reversed([*enumerate(replies)]):  # Row 0 last: its reply is the conversation's.
        found = card.held(request, reply, row)
        record(card.spec.name, f"row {row} of {rows}", found)
        assert found.holds, str(found)
        assert len(reply.ids) == (30 if row == 0 else 4 + 5 * row) or reply.reason == "stop"


def test_a_reply_continues_from_a_chosen_token_and_without_a_banned_one(card: Card, record: Record) -> None:
    from tests.tt.torch_ttnn.agreement import agreement
    from tests.tt.torch_ttnn.card import request_for

    asked = request_for("What is a kernel?", tokens=16)
    plain, _ = card.reply(asked)
    other = min(set(range(256)) - set(plain.ids))
    steered, _ = card.reply(msgspec.structs.replace(asked, given=Given(chosen={3: other})))
    assert steered.ids[:4] == (*plain.ids[:3], other)
    ids, logits = card.reference.follow(asked, steered)
    found = agreement(ids[4:], logits[4:], steered.logprobs[4:])
    record(card.spec.name, "after a chosen token", found)
    assert found.holds, str(found)

    first = msgspec.structs.replace(asked, record="full")
    piece = next(event.pieces[plain.ids[0]] for event in card.run(first) if isinstance(event, TokenEvent))
    sampling = msgspec.structs.replace(asked.sampling, logit_bias={text_of(piece): BAN})
    without, _ = card.reply(msgspec.structs.replace(asked, sampling=sampling))
    assert plain.ids[0] not in without.ids
    assert len(without.ids) == 16 or without.reason == "stop"


def test_a_row_that_is_stopped_ends_alone(card: Card, record: Record) -> None:
    from tests.tt.torch_ttnn.card import request_for
    from tests.tt.torch_ttnn.reference import reply_of

    request = request_for("Count three cards", tokens=40, candidates=[Candidate(seed=2), Candidate(seed=3)])
    events = card.run(request, stop=[1])
    replies = [reply_of(events, row) for row in range(3)]

    assert replies[1].reason == "cancelled"
    assert 0 < len(replies[1].ids) < len(replies[0].ids) == len(replies[2].ids)
    for row, reply in reversed([*enumerate(replies)]):
        found = card.held(request, reply, row)
        record(card.spec.name, f"row {row}, one stopped", found)
        assert found.holds, str(found)


def test_a_cancelled_reply_leaves_nothing_behind(card: Card, record: Record) -> None:
    from tests.tt.torch_ttnn.card import request_for

    broken, found = card.reply(request_for("Tell me more", tokens=400), cancel_after=9)
    assert broken.reason == "cancelled"
    record(card.spec.name, "cancelled", found)
    assert found.holds, str(found)

    _, found = card.reply(request_for("Tell me more", broken.text, "No, something else"))

    record(card.spec.name, "after a cancel", found)
    assert found.holds, str(found)


def test_a_continued_reply_is_the_reply_that_was_not_cut(card: Card, record: Record) -> None:
    from tests.tt.torch_ttnn.card import request_for

    whole, _ = card.reply(request_for("What is a tile?", tokens=30))
    half, _ = card.reply(request_for("What is a tile?", tokens=12))
    rest, found = card.reply(
        request_for("What is a tile?", half.text, tokens=18, continue_last=True, written_ids=half.ids)
    )

    record(card.spec.name, "continued", found)
    assert found.holds, str(found)
    assert whole.ids[:12] == half.ids
    if found.same == found.positions:
        assert (*half.ids, *rest.ids) == whole.ids


def test_a_seed_decides_the_text(card: Card, record: Record) -> None:
    from tests.tt.torch_ttnn.card import request_for

    replies: list[tuple[int, ...]] = []
    for seed in (3, 3, 4):
        reply, found = card.reply(request_for("A poem", temperature=0.9, seed=seed))
        record(card.spec.name, f"seed {seed}", found)
        assert found.holds, str(found)
        replies.append(reply.ids)

    assert replies[0] == replies[1] != replies[2]


def test_a_reply_is_right_up_to_the_last_position_of_the_context(card: Card, record: Record) -> None:
    from tests.tt.torch_ttnn.card import request_for

    reply, found = card.reply(request_for(STORY[: SHORT - 20], tokens=500))

    record(card.spec.name, "context full", found)
    assert found.holds, str(found)
    assert reply.reason in ("context", "stop")
    assert reply.prompt_tokens + len(reply.ids) == SHORT or reply.reason == "stop"


def test_models_loaded_one_after_the_other_answer_as_themselves(
    card: Card, tmp_path: Path, record: Record
) -> None:
    """In one process, with one cache folder for the converted weights."""
    from tests.tt.torch_ttnn.card import request_for
    from tests.tt.torch_ttnn.small_models import LLAMA, MISTRAL, write_model

    first_folder = Path(card.spec.path)
    folders = [write_model(tmp_path, MISTRAL), write_model(tmp_path, LLAMA, seed=7), first_folder]
    before, _ = card.reply(request_for("Who are you?"))
    texts: list[str] = []
    for number, folder in enumerate(folders):
        card.load(folder, SHORT, max_batch_size=8)
        reply, found = card.reply(request_for("Who are you?"))
        record(card.spec.name, f"load {number + 2}", found)
        assert found.holds, str(found)
        texts.append(reply.text)

    assert texts[-1] == before.text
    assert len(set(texts)) == len(texts)


@pytest.mark.parametrize("optimizations", sized(["accuracy"], ["accuracy", "performance"]))
def test_the_default_model_says_what_it_says_on_the_cpu(
    optimizations: str, checkout: Path, default_model_path: Path, tmp_path: Path, record: Record
) -> None:
    """30 layers, real text. At `performance`, the CPU has the card's 4-bit gates too: without them, they decide."""
    from tests.tt.torch_ttnn.card import Card, request_for
    from tests.tt.torch_ttnn.real_model import write_smollm2

    card = Card(checkout, tmp_path)
    card.load(
        write_smollm2(tmp_path, default_model_path, is_rounded=optimizations == "performance"),
        SHORT,
        optimizations=optimizations,
        trace=True,
    )
    said = ""
    for question in sized(QUESTIONS[:1], QUESTIONS):
        reply, found = card.reply(request_for(question, tokens=sized(16, 60)))
        record(card.spec.name, question[:24], found)
        assert found.holds, str(found)
        said += reply.text
    card.engine.close()

    assert "Paris" in said
