"""The meter with fixed times, so that every figure is exact."""

from __future__ import annotations

import subprocess
import sys
from itertools import pairwise

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ttchat_tui.domain.events import (
    GenerationEvent,
    GenerationFinished,
    GenerationStarted,
    PrefillProgress,
    TokenEvent,
)
from ttchat_tui.domain.generation import GenerationStats
from ttchat_tui.domain.meter import Meter


def metered(*token_times_s: float) -> Meter:
    meter = Meter()
    meter.started(prompt_tokens=100, cached_tokens=20, context_length=512, dropped_messages=2, time_s=0.25)
    meter.prefilled(0.75)
    for time_s in token_times_s:
        meter.token(time_s)
    return meter


def figures(meter: Meter) -> GenerationStats:
    """But for the timeline."""
    return msgspec.structs.replace(meter.stats(), timeline=None)


def test_a_whole_reply_has_every_figure() -> None:
    meter = metered(1.0, 1.5, 1.75, 2.0, 2.5)
    meter.finished(2.625)
    assert figures(meter) == GenerationStats(
        prompt_tokens=100,
        cached_tokens=20,
        completion_tokens=5,
        context_length=512,
        ttft_s=1.0,
        prefill_s=0.5,
        prefill_tps=160.0,
        decode_tps=3.0,
        first_step_s=0.5,
        itl_p50_s=0.25,
        itl_p95_s=0.5,
        itl_p99_s=0.5,
        total_s=2.625,
        dropped_messages=2,
    )


def test_before_prefill_there_are_only_counts() -> None:
    meter = Meter()
    meter.started(prompt_tokens=7, cached_tokens=0, context_length=64)
    assert meter.stats() == GenerationStats(prompt_tokens=7, context_length=64)
    assert meter.now_tps(1.0) is None
    assert meter.context_used == 7


def test_one_token_gives_a_ttft_and_no_rate() -> None:
    stats = metered(1.0).stats()
    assert (stats.ttft_s, stats.first_step_s, stats.decode_tps, stats.itl_p50_s) == (1.0, None, None, None)


def test_the_first_decode_step_is_not_in_the_rates() -> None:
    two = metered(1.0, 9.0).stats()
    assert (two.first_step_s, two.decode_tps, two.itl_p95_s) == (8.0, None, None)
    many = metered(1.0, 9.0, 9.5, 10.0).stats()
    assert (many.first_step_s, many.decode_tps, many.itl_p95_s) == (8.0, 2.0, 0.5)


def drafting(*tokens: tuple[float, bool]) -> Meter:
    """With tokens of which some came out of the same forward as the one before."""
    meter = metered()
    for time_s, is_drafted in tokens:
        meter.token(time_s, is_drafted=is_drafted)
    return meter


def test_a_reply_from_a_single_forward_has_no_rate() -> None:
    meter = drafting((1.0, False), (1.25, False), (1.251, True), (1.252, True))
    assert (meter.stats().decode_tps, meter.stats().itl_p50_s) == (None, None)
    assert meter.stats().first_step_s == 0.25
    assert meter.now_tps(2.0) == pytest.approx(3 / 0.252)


def test_drafted_tokens_count_with_their_forward() -> None:
    first_step = ((1.0, False), (2.0, False), (2.0, True))
    meter = drafting(*first_step, (2.5, False), (2.5, True), (2.5, True), (3.0, False))
    assert meter.stats().completion_tokens == 7
    assert meter.stats().decode_tps == 4.0
    assert (meter.stats().itl_p50_s, meter.stats().itl_p95_s) == (0.5, 0.5)
    assert meter.now_tps(0.5) == 2.0
    assert meter.now_tps(1.0) == 4.0


def test_tokens_at_one_instant_give_no_infinite_rate() -> None:
    stats = metered(1.0, 1.0, 1.0).stats()
    assert (stats.decode_tps, stats.itl_p50_s) == (None, 0.0)


@pytest.mark.parametrize("pieces", [3, 5, 500])
def test_chunks_that_arrive_together_have_no_rate(pieces: int) -> None:
    meter = metered(*(1.0 + 0.002 * piece / pieces for piece in range(pieces)))
    assert meter.stats().decode_tps is None
    assert meter.now_tps(1.0) is None


def test_one_step_of_steady_decoding_has_no_mean_rate() -> None:
    assert metered(1.0, 2.0, 3.0).stats().decode_tps is None


def test_a_fully_cached_prompt_has_no_prefill_rate() -> None:
    meter = Meter()
    meter.started(prompt_tokens=10, cached_tokens=10, context_length=64, time_s=0.0)
    meter.prefilled(0.5)
    assert (meter.stats().prefill_s, meter.stats().prefill_tps) == (0.5, None)


def test_the_rolling_rate_covers_only_its_window() -> None:
    meter = metered(1.0, 3.0, 3.25, 3.5, 3.75, 4.0)
    assert meter.now_tps(0.5) == 4.0
    assert meter.now_tps(1.0) == 4.0
    assert meter.now_tps(100.0) == 5 / 3


def test_the_rolling_rate_of_a_slow_engine_is_that_of_the_last_two_tokens() -> None:
    assert metered(1.0, 5.0).now_tps(1.0) == 0.25


def test_the_rolling_rate_falls_while_the_engine_stalls() -> None:
    meter = metered(1.0, 1.25, 1.5)
    assert meter.now_tps(1.0, now_s=1.5) == 4.0
    assert meter.now_tps(1.0, now_s=3.25) == 0.5


@given(st.lists(st.floats(0.001, 1.0), min_size=3, max_size=60), st.sampled_from((0.50, 0.95, 0.99)))
def test_a_percentile_is_the_smallest_latency_that_its_share_does_not_exceed(
    steps_s: list[float], share: float
) -> None:
    times = [sum(steps_s[: n + 1]) for n in range(len(steps_s))]
    latencies = [after - before for before, after in pairwise(times[1:])]
    stats = metered(*times).stats()
    value = {0.50: stats.itl_p50_s, 0.95: stats.itl_p95_s, 0.99: stats.itl_p99_s}[share]
    assert value == min(x for x in latencies if sum(y <= x for y in latencies) >= share * len(latencies))


EVENTS: tuple[GenerationEvent, ...] = (
    GenerationStarted(
        request_id=1,
        prompt_tokens=100,
        cached_tokens=20,
        context_length=512,
        dropped_messages=2,
        time_s=0.25,
    ),
    PrefillProgress(request_id=1, done=60, total=100, time_s=0.5),
    PrefillProgress(request_id=1, done=100, total=100, time_s=0.75),
    TokenEvent(request_id=1, token_ids=(5,), text="a", times_s=(1.0,)),
    TokenEvent(request_id=1, token_ids=(6, 7), text="bc", times_s=(1.5, 1.75)),
)


def test_events_fill_the_same_figures_as_calls() -> None:
    meter = Meter()
    for event in EVENTS:
        meter.observe(event)
    assert figures(meter) == figures(metered(1.0, 1.5, 1.75))
    assert meter.context_used == 103


def test_after_the_end_the_figures_are_the_engines_own() -> None:
    meter = Meter()
    own = GenerationStats(prompt_tokens=100, completion_tokens=3, total_s=9.0)
    for event in (*EVENTS, GenerationFinished(request_id=1, reason="stop", stats=own)):
        meter.observe(event)
    assert meter.stats() == own


def test_the_figures_of_a_reply_whose_engine_died_are_those_of_its_events() -> None:
    meter = Meter()
    for event in (*EVENTS, GenerationFinished(request_id=1, reason="error")):
        meter.observe(event)
    assert figures(meter) == figures(metered(1.0, 1.5, 1.75))


def test_events_without_times_leave_prefill_open() -> None:
    meter = Meter()
    meter.observe(GenerationStarted(request_id=1, prompt_tokens=9, cached_tokens=0, context_length=64))
    meter.observe(PrefillProgress(request_id=1, done=9, total=9))
    assert meter.stats().prefill_s is None


@given(
    st.lists(st.tuples(st.integers(0, 3), st.sampled_from([0.0, 0.25, 0.5])), max_size=40), st.integers(1, 4)
)
def test_the_rows_of_a_batch_have_its_figures_together(tokens: list[tuple[int, float]], rows: int) -> None:
    together, apart = metered(), [metered() for _ in range(rows)]
    now_s = 1.0
    for row, pause_s in tokens:
        now_s += pause_s
        together.token(now_s, row % rows)
        apart[row % rows].token(now_s)
    batch, one_by_one = Meter.of_batch(apart), metered()
    for row, meter in enumerate(apart):  # as the screen gets them
        for time_s in meter._times_s:
            one_by_one.token(time_s, row)
    for meter in (together, batch, one_by_one):
        meter.finished(now_s + 1.0)
    assert figures(batch) == figures(together) == figures(one_by_one)
    assert one_by_one.now_tps(1.0) == together.now_tps(1.0)


@pytest.mark.parametrize("module", ["numpy", "torch", "textual"])
def test_the_meter_is_light_enough_for_the_ui_process(module: str) -> None:
    probe = f"import sys, ttchat_tui.domain.meter; sys.exit({module!r} in sys.modules)"
    assert subprocess.run([sys.executable, "-c", probe], check=False).returncode == 0
