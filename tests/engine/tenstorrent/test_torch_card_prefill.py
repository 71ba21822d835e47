"""`[tt] prefill_trace` with tt-metal's own Generator and model code on a card that computes with torch."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.engine.tenstorrent.torch_card import CardAndReference, Site, request, require_checkout
from tests.tt.torch_ttnn.small_models import LLAMA, write_model
from ttchat_tui.domain.chat import ChatMessage
from ttchat_tui.engine.tenstorrent.engine import TenstorrentEngine


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CardAndReference]:
    require_checkout()
    folder = tmp_path_factory.mktemp("prefill")
    with Site():
        both = CardAndReference(write_model(folder, LLAMA), folder / "cache", 2048, prefill_trace=True)
        if not recorded_lengths(both):
            pytest.skip("tt-metal before 2025-12 records no prefill")
        yield both
        both.close()


def recorded_lengths(pair: CardAndReference) -> list[int]:
    """Padded lengths that this tt-metal records for the model on an N150: 128 and perhaps more, up to 1,024."""
    assert isinstance(pair.card, TenstorrentEngine)
    assert pair.card._loaded is not None
    _, _, arguments, _ = pair.card._loaded.card.parts
    return getattr(arguments, "trace_prefill_supported_seq_lens", [])


def words(count: int) -> ChatMessage:
    return ChatMessage("user", "word " * count)


def test_recorded_prompts_of_any_length_are_continued_alike(pair: CardAndReference) -> None:
    traces = set(pair.device.traces)
    assert len(traces) == 1 + len(recorded_lengths(pair))
    for count in (1, 6, 12, 25, 1):
        pair.agree(request(words(count)))
    assert set(pair.device.traces) == traces


def test_no_trace_is_replayed_over_what_other_prompts_compile(pair: CardAndReference) -> None:
    for count in (210, 240, 270):
        compiled = pair.device.num_program_cache_entries()
        pair.agree(request(words(count), tokens=1))
        assert pair.device.num_program_cache_entries() > compiled
        pair.agree(request(words(9)))
        pair.agree(request(words(count)))
