"""The figures of the last reply stay those of its engine when another one is loaded."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import msgspec
import pytest

from tests.ui.test_model_rows import SERVED
from ttchat_tui.domain.generation import GenerationStats
from ttchat_tui.ui.live_metrics import LiveMetrics

LOCAL = msgspec.structs.replace(SERVED, endpoint="", served=())
SAID = GenerationStats(prompt_tokens=3, completion_tokens=5)


@pytest.mark.parametrize(
    ("stats", "info", "is_over_network"),
    [
        (SAID, SERVED, False),
        (msgspec.structs.replace(SAID, chunks=5), LOCAL, True),
        (None, SERVED, True),
        (None, LOCAL, False),
    ],
)
def test_a_ttft_has_the_network_in_it_only_where_its_reply_came_over_one(
    stats: GenerationStats | None, info: Any, is_over_network: bool
) -> None:
    session = SimpleNamespace(
        is_answering=False,
        info=info,
        engine_memory_bytes=lambda: None,
        pausing=SimpleNamespace(is_paused=False),
    )
    metrics = LiveMetrics(cast("Any", session))
    metrics.last_stats = stats
    assert metrics.sample().is_over_network == is_over_network
