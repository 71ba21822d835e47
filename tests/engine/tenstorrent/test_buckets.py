"""Which prompts are run at load."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.engine.tenstorrent.fakes.generator import padded_new, padded_old
from ttchat_tui.engine.tenstorrent.buckets import prefill_buckets, warm_lengths


@pytest.mark.parametrize(
    ("generation", "padded"), [("S1", padded_old), ("S4", padded_old), ("S5", padded_new), ("S6", padded_new)]
)
def test_buckets_are_the_lengths_that_the_generation_pads_to(
    generation: str, padded: Callable[[int], int]
) -> None:
    assert prefill_buckets(generation, 8192) == sorted({padded(length) for length in range(1, 8193)})


def test_a_load_runs_short_prompts_in_every_tile_and_none_beyond_8k() -> None:
    assert warm_lengths("S5", 1024) == [32, 64, 96, 128, 1024]
    assert warm_lengths("S5", 131_072) == [32, 64, 96, 128, 1024, 2048, 4096, 8192]
    assert warm_lengths("S4", 32_768) == [32, 64, 96, 128, 256, 512, 1024, 2048, 4096, 6144, 8192]
