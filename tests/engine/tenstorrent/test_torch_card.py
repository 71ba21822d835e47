"""tt-metal's own Generator and model code, with our engine on top, say what the CPU engine says in float32.

TT_METAL_HOME names the checkout. A card that computes with torch stands for the real one (tests/tt/torch_ttnn).
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from tests.engine.engine_subject import piece_in
from tests.engine.tenstorrent.torch_card import (
    LLAMA,
    MISTRAL,
    QWEN,
    CardAndReference,
    Site,
    ids_of,
    reply,
    request,
    require_checkout,
    said,
)
from tests.tt.torch_ttnn.emulation.device import OPENED
from tests.tt.torch_ttnn.small_models import SmallModel, write_model
from ttchat_tui.domain.chat import ChatMessage
from ttchat_tui.domain.events import GenerationFinished
from ttchat_tui.domain.generation import Candidate, Forced, GenerationControl
from ttchat_tui.domain.logit_bias import BAN, text_of

CONTEXT = 4096


@pytest.fixture(scope="module")
def site() -> Iterator[None]:
    require_checkout()
    with Site():
        yield


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("torch-card")


@pytest.fixture(scope="module")
def pair(site: None, folder: Path) -> Iterator[CardAndReference]:
    both = CardAndReference(write_model(folder, LLAMA), folder / "cache", CONTEXT, max_batch_size=4)
    yield both
    both.close()


def assistant(text: str) -> ChatMessage:
    return ChatMessage("assistant", text)


@pytest.mark.parametrize("length", [5, 31, 32, 33, 127, 128, 129, 1000, 1025, 2049])
def test_prompts_around_tiles_pages_buckets_and_chunks_are_continued_alike(
    pair: CardAndReference, length: int
) -> None:
    assert len(pair.agree(request(said(length)))[0]) == 12


@pytest.mark.parametrize("model", [QWEN, MISTRAL], ids=lambda model: model.family)
def test_models_of_other_families_are_alike(site: None, folder: Path, model: SmallModel) -> None:
    pair = CardAndReference(write_model(folder, model), folder / "cache", 1024)
    for length in (5, 33, 129, 600):
        pair.agree(request(said(length)))
    pair.close()


def test_three_turns_are_answered_alike(pair: CardAndReference) -> None:
    first, second = said(31), said(150, "A longer question about clocks, and about time. ")
    pair.agree(request(first))
    pair.agree(request(first, assistant("fox"), second))
    pair.agree(request(first, assistant("fox"), second, assistant("dog"), said(40)))


def test_a_reply_that_was_cut_is_continued_alike(pair: CardAndReference) -> None:
    pair.agree(request(said(60), assistant("The answer to this is"), continue_last=True))


@pytest.mark.parametrize("seed", [1, 2])
def test_sampled_replies_are_alike_with_the_same_seed(pair: CardAndReference, seed: int) -> None:
    pair.agree(request(said(60), temperature=1.0, seed=seed, tokens=24))


def test_rows_of_a_batch_stop_at_different_times_and_are_each_alike(pair: CardAndReference) -> None:
    asked = request(said(60), temperature=1.0, tokens=20)
    lengths = (3, 12, 7)
    candidates = tuple(
        Candidate(seed=seed, sampling=msgspec.structs.replace(asked.sampling, max_tokens=length))
        for seed, length in enumerate(lengths, start=2)
    )

    rows = pair.agree(msgspec.structs.replace(asked, candidates=candidates))

    assert len({len(row) for row in rows}) == 4
    pair.agree(request(said(45)))


def test_biased_replies_and_chosen_tokens_are_alike(pair: CardAndReference) -> None:
    asked = request(said(60), tokens=16, candidates=[Candidate(seed=2), Candidate(seed=3)])
    events = reply(pair.card, msgspec.structs.replace(asked, record="full"))
    plain = ids_of(events, asked)[0]
    banned, other = plain[2], min(set(range(256)) - set(plain))
    bias = {text_of(piece_in(events, banned)): BAN}
    sampling = msgspec.structs.replace(asked.sampling, logit_bias=bias)

    def steer(control: GenerationControl, rows: list[list[int]]) -> None:
        if min(map(len, rows)) == 4 and not control.forced:
            control.stop_rows(1)
            control.force(Forced(other))

    rows = pair.agree(msgspec.structs.replace(asked, sampling=sampling), steer)

    assert not any(banned in row for row in rows)
    assert [len(row) for row in rows] == [16, 4, 16]
    assert rows[0][4] == other


def test_after_a_cancel_the_next_reply_is_alike(pair: CardAndReference) -> None:
    last = reply(pair.card, request(said(60), tokens=100), cancel_after=5)[-1]
    assert isinstance(last, GenerationFinished)
    assert last.reason == "cancelled"

    pair.agree(request(said(61, "Something else. ")))


def test_a_reply_fills_the_context_to_its_last_position_alike(pair: CardAndReference) -> None:
    asked = request(said(CONTEXT - 8), tokens=100)
    assert len(pair.agree(asked)[0]) == 8


def test_rows_that_fill_all_of_their_pages_are_each_alike(site: None, folder: Path) -> None:
    pair = CardAndReference(write_model(folder, LLAMA), folder / "cache", 1024, max_batch_size=2)
    pair.agree(request(said(1010), temperature=1.0, tokens=100, candidates=[Candidate(seed=2)]))
    pair.close()


def test_a_prompt_that_compiles_programs_spoils_no_later_reply(site: None, folder: Path) -> None:
    """A replay of the trace from before would overwrite these programs."""
    pair = CardAndReference(write_model(folder, LLAMA), folder / "cache", 1024)
    loaded = pair.device.num_program_cache_entries(), set(pair.device.traces)

    first = pair.agree(request(said(210)))

    compiled = pair.device.num_program_cache_entries(), set(pair.device.traces)
    assert compiled[0] > loaded[0]
    assert len(compiled[1]) == 1
    assert compiled[1] != loaded[1]
    assert pair.agree(request(said(210))) == first
    assert (pair.device.num_program_cache_entries(), set(pair.device.traces)) == compiled
    pair.close()


def test_a_reload_with_other_weights_or_without_a_trace_is_alike_and_leaves_nothing_on_the_card(
    site: None, folder: Path
) -> None:
    asked = request(said(60))
    first = CardAndReference(write_model(folder, LLAMA), folder / "cache", 1024)
    ids = first.agree(asked)

    first.load(write_model(folder / "other", LLAMA, seed=1))

    before, now = OPENED[-2:]
    assert not before.is_open
    assert not before.traces
    assert first.agree(asked) != ids
    first.close()
    assert not now.is_open
    assert not now.traces
    without = CardAndReference(folder / LLAMA.name, folder / "cache", 1024, trace=False)
    assert without.agree(asked) == ids
    assert not without.device.traces
    without.close()
