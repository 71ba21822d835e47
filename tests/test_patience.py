"""The waits of the tests: they end, and a machine that stood still meanwhile does not end them."""

from __future__ import annotations

import time

import pytest

from tests.patience import Patience, wait_until


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    return now


def test_patience_runs_out_when_the_time_was_spent_waiting(clock: list[float]) -> None:
    patience = Patience(10.0)
    for _ in range(19):
        clock[0] += 0.5
        assert not patience.is_out()
    clock[0] += 0.5
    assert patience.is_out()


def test_an_hour_in_which_the_machine_stood_still_counts_as_one_look(clock: list[float]) -> None:
    patience = Patience(10.0)
    clock[0] += 3600
    assert not patience.is_out()
    assert patience.left_s == 9.0


def test_waiting_ends_by_itself() -> None:
    assert wait_until(lambda: True, 0.0)
    assert not wait_until(lambda: False, 0.05)
