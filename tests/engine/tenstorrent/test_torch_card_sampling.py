"""Device sampling over tt-metal's own sampler, on a card that computes with torch."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec
import pytest

from tests.engine.tenstorrent.torch_card import (
    LLAMA,
    CardAndReference,
    Site,
    ids_of,
    reply,
    request,
    require_checkout,
    said,
)
from tests.tt.torch_ttnn.small_models import write_model
from ttchat_tui.domain.chat import ChatMessage
from ttchat_tui.domain.generation import Candidate, Forced, GenerationControl

PENALTIES = {"repetition_penalty": 1.5, "presence_penalty": 0.4, "frequency_penalty": 0.3}


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CardAndReference]:
    require_checkout()
    folder = tmp_path_factory.mktemp("sampling")
    with Site():
        both = CardAndReference(
            write_model(folder, LLAMA), folder / "cache", 1024, max_batch_size=4, sampling="device"
        )
        if not both.info.label.endswith("device sampling"):
            assert not both.info.label.startswith("tt S5"), both.info.notes
            pytest.skip(f"{both.info.label}: {both.info.notes}")
        yield both
        both.close()


def test_greedy_turns_are_alike_although_tokens_and_positions_stay_on_the_card(
    pair: CardAndReference,
) -> None:
    pair.agree(request(said(31), tokens=20))
    pair.agree(request(said(31), ChatMessage("assistant", "fox"), said(150), tokens=20))
    pair.agree(request(said(20), tokens=20))


def test_greedy_rows_that_stop_at_different_times_are_alike(pair: CardAndReference) -> None:
    asked = request(said(60), tokens=20)
    rows = pair.agree(
        msgspec.structs.replace(
            asked,
            candidates=tuple(
                Candidate(seed=2, sampling=msgspec.structs.replace(asked.sampling, max_tokens=length))
                for length in (3, 12)
            ),
        )
    )
    assert [len(row) for row in rows] == [20, 3, 12]
    pair.agree(request(said(45)))


def test_penalties_on_the_card_are_those_of_the_host(pair: CardAndReference) -> None:
    if not pair.info.capabilities.sampling >= PENALTIES.keys():
        pytest.skip(f"{pair.info.label} has no penalties on the card")
    asked = request(said(40), tokens=24)
    plain = pair.agree(asked)

    penalized = pair.agree(
        msgspec.structs.replace(asked, sampling=msgspec.structs.replace(asked.sampling, **PENALTIES))
    )

    assert penalized != plain
    assert pair.agree(asked) == plain


def test_a_seed_draws_the_same_reply_again_and_another_seed_another(pair: CardAndReference) -> None:
    if "seed" not in pair.info.capabilities.sampling:
        pytest.skip(f"{pair.info.label} only draws greedily")

    def drawn(seed: int) -> list[list[int]]:
        asked = request(said(40), tokens=16, temperature=1.0, seed=seed)
        return ids_of(reply(pair.card, asked), asked)

    first = drawn(1)
    other = drawn(2)
    assert other != first
    assert drawn(1) == first


@pytest.mark.parametrize("penalties", [{}, PENALTIES], ids=["plain", "penalties"])
def test_the_card_continues_from_tokens_that_the_user_chooses(
    pair: CardAndReference, penalties: dict[str, float]
) -> None:
    if not pair.info.capabilities.sampling >= penalties.keys():
        pytest.skip(f"{pair.info.label} has no penalties on the card")
    asked = request(said(40), tokens=24)
    asked = msgspec.structs.replace(asked, sampling=msgspec.structs.replace(asked.sampling, **penalties))
    plain = pair.agree(asked)[0]
    replacing, next_one = sorted(set(range(256)) - set(plain))[:2]

    def steer(control: GenerationControl, rows: list[list[int]]) -> None:
        if len(rows[0]) == 5 and not control.forced:
            control.force(Forced(replacing, instead_of=4), Forced(next_one))

    [steered] = pair.agree(asked, steer)

    assert steered[:6] == [*plain[:4], replacing, next_one]
    assert steered[6:] != plain[6:]
    assert pair.agree(asked) == [plain]


def test_a_row_that_is_stopped_and_one_with_a_chosen_token_leave_the_others_as_they_were(
    pair: CardAndReference,
) -> None:
    asked = request(said(60), tokens=16, candidates=[Candidate(seed=2), Candidate(seed=3)])
    whole = pair.agree(asked)
    other = min(set(range(256)) - set(whole[0]))

    def steer(control: GenerationControl, rows: list[list[int]]) -> None:
        if min(map(len, rows)) == 4 and not control.forced:
            control.stop_rows(1)
            control.force(Forced(other))

    rows = pair.agree(asked, steer)

    assert rows[0][:5] == [*whole[0][:4], other]
    assert rows[1:] == [whole[1][:4], whole[2]]
