"""The parts of a reply where its recording holds more than one run."""

from __future__ import annotations

import pytest

from ttchat_tui.domain.anatomy import last_run, latencies_of, parts_of
from ttchat_tui.domain.events import GenerationStarted, PrefillProgress
from ttchat_tui.domain.generation import GenerationStats
from ttchat_tui.domain.meter import Meter
from ttchat_tui.domain.recording import NOT_RECORDED, RecordedToken, Recording
from ttchat_tui.domain.timeline import StepParts, percentile


def recording(*times_s: float) -> Recording:
    return Recording([RecordedToken(5, time_s) for time_s in times_s])


@pytest.mark.parametrize(
    ("times_s", "counted", "found"),
    [
        ((0.1, 0.2, 0.3), 3, 3),
        ((4.1, 4.2, 0.3, 0.4), 2, 2),  # continued: the clock begins anew
        ((0.1, 0.2, 0.3, 0.4), 2, 2),  # continued, and the first run was shorter than the wait for the second
        ((4.1, 4.2, 0.3, 0.4), 9, 2),  # a server counts more tokens than chunks
        ((), 0, 0),
    ],
)
def test_only_the_tokens_of_the_last_run_are_timed(
    times_s: tuple[float, ...], counted: int, found: int
) -> None:
    stats = GenerationStats(completion_tokens=counted)
    assert len(last_run(stats, recording(*times_s))) == found


def test_a_gap_in_the_recording_ends_the_run() -> None:
    gap = RecordedToken(NOT_RECORDED, 0.0)
    tokens = [RecordedToken(5, 0.1), gap, RecordedToken(5, 0.2), RecordedToken(5, 0.3)]
    assert len(last_run(GenerationStats(completion_tokens=4), Recording(tokens))) == 2


def test_latencies_are_those_that_the_meter_has() -> None:
    meter = Meter()
    tokens = [(0.5, False), (0.9, False), (1.0, False), (1.0, True), (1.25, False), (1.75, False)]
    for time_s, is_drafted in tokens:
        meter.token(time_s, is_drafted=is_drafted)
    recorded = Recording([RecordedToken(5, time_s, is_drafted) for time_s, is_drafted in tokens])
    found = latencies_of(meter.stats(), recorded)
    stats = meter.stats()
    assert [percentile(found, share) for share in (0.50, 0.95, 0.99)] == [
        stats.itl_p50_s,
        stats.itl_p95_s,
        stats.itl_p99_s,
    ]


def test_a_reply_whose_only_token_was_withdrawn_has_no_second_twice() -> None:
    meter = Meter()
    meter.observe(GenerationStarted(1, 8, 0, 64, time_s=0.25))
    meter.observe(PrefillProgress(1, 8, 8, time_s=0.75))
    meter.token(0.875, parts=StepParts(sample_s=0.125))
    meter.withdraw()
    meter.finished(1.0)
    parts = parts_of(meter.stats())
    assert sum(part.seconds for part in parts) == pytest.approx(1.0)
    assert [part.name for part in parts] == ["prepare", "prefill"]


def test_a_reply_of_an_earlier_version_has_no_parts() -> None:
    assert parts_of(GenerationStats(total_s=2.0, ttft_s=0.5)) == []
