"""`[tt] kv_reuse`: a turn starts behind a cached prefix if the generation can and the check at load passes."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import torch

from tests.engine.decoding.decoded import decoded
from tests.engine.tenstorrent.fakes import card, s5, s6
from tests.engine.tenstorrent.fakes.installation import Installation
from tests.engine.tenstorrent.talk import DRAWN, FIRST, GREEDY, expected, load, prompt_ids, reply
from ttchat_tui.domain.chat import ChatMessage
from ttchat_tui.domain.generation import Candidate, GenerationControl, GenerationRequest
from ttchat_tui.engine.tenstorrent.engine import TenstorrentEngine
from ttchat_tui.engine.tenstorrent.kv_prefix import reusable_prefix
from ttchat_tui.engine.text.tokenizer_folder import tokenizer_from_folder

QUESTION = ChatMessage("user", "word " * 100)
OPENING = (QUESTION,)


@pytest.fixture
def installed(tmp_path: Path) -> Iterator[Installation]:
    with Installation("s6", tmp_path) as installation:
        yield installation


def spoken(installed: Installation, ids: list[int]) -> ChatMessage:
    """A reply as part of the next prompt."""
    return ChatMessage("assistant", decoded(tokenizer_from_folder(installed.checkpoint), ids))


def turns(
    engine: TenstorrentEngine, installed: Installation, count: int = 3
) -> tuple[list[list[int]], list[int]]:
    """A conversation: the replies' ids, and how many tokens of each prompt were cached."""
    messages, said, cached = OPENING, [], []
    for number in range(count):
        ids = reply(engine, messages, cached=cached)[0]
        said.append(ids)
        messages = (*messages, spoken(installed, ids), ChatMessage("user", f"Go on, {number}."))
    return said, cached


@pytest.mark.parametrize("sampling", ["host", "device"])
def test_later_turns_start_behind_the_prefix_and_give_the_same_text(
    engine: TenstorrentEngine, installed: Installation, sampling: str
) -> None:
    load(engine, installed)
    wanted, none = turns(engine, installed)
    assert none == [0, 0, 0]

    info = load(engine, installed, kv_reuse=True, sampling=sampling)
    said, cached = turns(engine, installed)

    assert info.capabilities.kv_reuse
    assert said == wanted
    assert cached[0] == 0
    held = len(prompt_ids(installed, OPENING)) + 23  # The last of 24 tokens was never fed.
    assert cached[1] == held // 64 * 64
    assert cached[2] > cached[1]
    assert cached[2] % 64 == 0


def test_kv_reuse_is_off_by_default(engine: TenstorrentEngine, installed: Installation) -> None:
    info = load(engine, installed)
    assert not info.capabilities.kv_reuse
    assert turns(engine, installed)[1] == [0, 0, 0]


def test_only_the_common_prefix_of_two_prompts_is_reused(
    engine: TenstorrentEngine, installed: Installation
) -> None:
    load(engine, installed, kv_reuse=True)
    long = ChatMessage("user", "word " * 120)
    edited = ChatMessage("user", "word " * 60 + "but " * 60)
    cached: list[int] = []
    for message in (long, edited, long):
        assert reply(engine, (message,), cached=cached)[0] == expected(installed, (message,))
    common = [a == b for a, b in zip(*(prompt_ids(installed, (m,)) for m in (long, edited)), strict=False)]
    shared = common.index(False) // 64 * 64
    assert shared >= 64
    assert cached == [0, shared, shared]


def test_the_same_prompt_again_leaves_something_to_compute(
    engine: TenstorrentEngine, installed: Installation
) -> None:
    load(engine, installed, kv_reuse=True)
    cached: list[int] = []
    first, again = (reply(engine, OPENING, cached=cached)[0] for _ in range(2))
    assert first == again == expected(installed, OPENING)
    assert 0 < cached[1] < len(prompt_ids(installed, OPENING))


def test_after_a_cancel_a_failure_or_a_batch_the_next_turn_gives_the_same_text(
    engine: TenstorrentEngine, installed: Installation
) -> None:
    load(engine, installed, kv_reuse=True)
    wanted = expected(installed, OPENING)
    cached: list[int] = []

    control = GenerationControl(GREEDY)
    for number, _ in enumerate(
        engine.generate(GenerationRequest(id=1, messages=OPENING, sampling=GREEDY, seed=1), control)
    ):
        if number == 6:
            control.cancel()
    assert reply(engine, OPENING, cached=cached)[0] == wanted

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(card.Transformer, "_logits", lambda *_: 1 / 0)
        list(
            engine.generate(
                GenerationRequest(id=2, messages=OPENING, sampling=GREEDY, seed=1), GenerationControl(GREEDY)
            )
        )
    assert reply(engine, OPENING, cached=cached)[0] == wanted

    short = msgspec.structs.replace(DRAWN, max_tokens=3)
    reply(engine, OPENING, DRAWN, 1, Candidate(seed=2, sampling=short), Candidate(seed=3), cached=cached)
    assert reply(engine, OPENING, cached=cached)[0] == wanted
    assert [tokens > 0 for tokens in cached] == [True, False, True, True]


def _truncated(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in S5: the page table is cut, and new keys and values go to block 0."""
    monkeypatch.setattr(s6.Generator, "_user_table", s5.Generator._user_table, raising=False)


def _written_nowhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """The logits after the prompt are right; the keys and values that they were made from are not kept."""
    right = card.Transformer.prefill

    def prefill(model: Any, tokens: torch.Tensor, table: torch.Tensor, start: int = 0) -> torch.Tensor:
        before = model._pages.copy()
        logits = right(model, tokens, table, start)
        if start:
            model._pages = before
        return logits

    monkeypatch.setattr(card.Transformer, "prefill", prefill)


@pytest.mark.parametrize("broken", [_truncated, _written_nowhere])
@pytest.mark.parametrize("sampling", ["host", "device"])
def test_a_card_that_reuses_prefixes_wrongly_is_detected_at_load_and_prefills_whole(
    engine: TenstorrentEngine,
    installed: Installation,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    broken: Any,
    sampling: str,
) -> None:
    load(engine, installed)
    wanted, _ = turns(engine, installed)
    broken(monkeypatch)
    with caplog.at_level(logging.ERROR):
        info = load(engine, installed, kv_reuse=True, sampling=sampling)
    assert "kv_reuse is off" in info.notes[-1]
    assert "KV reuse" in caplog.text
    assert not info.capabilities.kv_reuse
    assert turns(engine, installed) == (wanted, [0, 0, 0])


@pytest.mark.parametrize("generation", ["s1", "s4", "s5", "s7"])
def test_other_generations_note_that_they_cannot_reuse_prefixes(tmp_path: Path, generation: str) -> None:
    """S5 has the keyword, and would write to the wrong block."""
    with Installation(generation, tmp_path) as installed:
        engine = TenstorrentEngine()
        info = load(engine, installed, kv_reuse=True)
        assert "kv_reuse" in info.notes[0]
        assert "2026-08" in info.notes[0]
        assert not info.capabilities.kv_reuse
        assert turns(engine, installed, 2)[1] == [0, 0]
        assert reply(engine, FIRST)[0] == expected(installed, FIRST)
        engine.close()


@pytest.mark.parametrize(
    ("held", "asked", "start"),
    [
        (0, 500, 0),
        (63, 500, 0),
        (64, 500, 64),
        (200, 500, 192),
        (128, 128, 64),
        (129, 129, 128),
        (1000, 1984, 960),
        (1000, 1985, 768),
        (200, 3000, 0),
    ],
)
def test_a_prefix_ends_where_the_card_can_start(held: int, asked: int, start: int) -> None:
    """Multiples of 64 and fewer than all; of 256 where what remains is padded to 2,048 or more."""
    assert reusable_prefix(list(range(held)), list(range(asked))) == start


def test_a_prefix_ends_where_the_ids_differ() -> None:
    assert reusable_prefix([*range(130), 7, *range(131, 300)], list(range(300))) == 128
