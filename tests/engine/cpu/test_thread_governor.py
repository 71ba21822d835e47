"""Decoding falls back to one thread when many collapse, and returns when they no longer do."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from ttchat_tui.engine.cpu.thread_governor import (
    REST,
    TRIAL,
    WINDOW,
    GovernedStepper,
    ThreadGovernor,
)


class SimulatedMachine:
    """Steps that take as long as the machine's state says for the threads that are set."""

    def __init__(self, threads: int = 2) -> None:
        self.threads = threads
        self.seconds = {1: 0.015, 2: 0.010}
        self.switches: list[int] = []
        self.governor = ThreadGovernor(2, 2, threads, self.set_threads)

    def set_threads(self, threads: int) -> None:
        self.threads = threads
        self.switches.append(threads)

    def threads_for(self, rows: int) -> int:
        self.governor.use_for(rows)
        return self.threads

    def run(self, steps: int) -> None:
        for _ in range(steps):
            self.governor.use_for(1)
            self.governor.observe(self.seconds[self.threads])
        self.governor.use_for(1)


def collapsed() -> SimulatedMachine:
    """Other programs came while it decoded on two threads, and it went to one."""
    machine = SimulatedMachine()
    machine.run(WINDOW)
    machine.seconds = {1: 0.03, 2: 0.16}
    machine.run(WINDOW + TRIAL)
    return machine


def test_an_idle_machine_keeps_its_threads() -> None:
    machine = SimulatedMachine()
    machine.run(100 * WINDOW)
    assert machine.switches == []


def test_steps_that_grow_with_the_context_are_no_collapse() -> None:
    machine = SimulatedMachine()
    for step in range(20 * WINDOW):
        machine.seconds[2] = 0.010 * (1 + step / 1000)
        machine.run(1)
    assert machine.switches == []


def test_collapsed_threads_are_abandoned_within_two_windows() -> None:
    machine = collapsed()
    assert machine.switches == [1]
    machine.run(10 * WINDOW)
    assert machine.threads == 1


def test_one_thread_that_is_no_faster_is_abandoned_at_once() -> None:
    machine = SimulatedMachine()
    machine.run(WINDOW)
    machine.seconds = {1: 0.05, 2: 0.03}
    machine.run(WINDOW + TRIAL)
    assert machine.switches == [1, 2]
    machine.run(REST * WINDOW)
    assert machine.switches == [1, 2]


def test_many_threads_come_back_when_the_machine_is_free() -> None:
    machine = collapsed()
    machine.seconds = {1: 0.015, 2: 0.010}
    machine.run((REST + 1) * WINDOW + TRIAL)
    assert machine.threads == 2
    machine.run(10 * WINDOW)
    assert machine.threads == 2


def test_a_start_on_one_thread_tries_many_soon() -> None:
    machine = SimulatedMachine(threads=1)
    machine.run(WINDOW + TRIAL)
    assert machine.switches == [2]
    machine.run(10 * WINDOW)
    assert machine.threads == 2


def test_a_machine_that_is_best_on_one_thread_stays_there() -> None:
    machine = SimulatedMachine(threads=1)
    machine.seconds = {1: 0.01, 2: 0.10}
    machine.run(REST * WINDOW)
    assert machine.switches == [2, 1]


def test_several_rows_run_on_many_threads_where_one_row_is_bound_by_memory() -> None:
    machine = SimulatedMachine(threads=1)
    machine.seconds = {1: 0.010, 2: 0.0095}
    machine.run(5 * WINDOW)
    assert [machine.threads_for(rows) for rows in (1, 2, 256, 1)] == [1, 2, 2, 1]


@given(st.integers(1, 64), st.integers(1, 64), st.integers(1, 9))
def test_several_rows_run_on_all_cores_where_a_few_threads_read_the_memory(
    cores: int, many: int, models: int
) -> None:
    many, set_to = min(many, cores), list[int]()
    governor = ThreadGovernor(cores, many, many, set_to.append)
    for at_once in (1, models, 1):
        governor.share(at_once)
        for rows, threads in ((1, many), (2, cores), (256, cores), (1, many)):
            governor.use_for(rows)
            assert [many, *set_to][-1] == max(1, threads // at_once)


def test_several_rows_run_on_one_thread_while_many_collapse() -> None:
    machine = collapsed()
    assert machine.threads_for(256) == 1
    machine.seconds = {1: 0.015, 2: 0.010}
    machine.run((REST + 1) * WINDOW + TRIAL)
    assert machine.threads_for(256) == 2


def test_several_rows_come_back_to_many_threads_where_one_row_stays_on_one() -> None:
    """One row is bound by memory: on the free machine many threads are no faster than one."""
    machine = collapsed()
    assert machine.threads_for(256) == 1
    machine.seconds = {1: 0.010, 2: 0.010}
    machine.run((REST + 1) * WINDOW + TRIAL)
    assert [machine.threads_for(rows) for rows in (1, 256)] == [1, 2]


def test_several_rows_run_on_one_thread_where_many_collapse_from_the_start() -> None:
    machine = SimulatedMachine(threads=1)
    machine.seconds = {1: 0.01, 2: 0.10}
    machine.run(WINDOW + TRIAL)
    assert machine.threads_for(256) == 1


@given(st.lists(st.tuples(st.floats(0.1, 10), st.floats(0.1, 10)), min_size=1, max_size=5))
def test_whatever_a_machine_was_like_what_it_is_like_now_decides(past: list[tuple[float, float]]) -> None:
    machine = SimulatedMachine()
    for one_s, many_s in [*past, (1.0, 9.0), (0.01, 0.010)]:
        machine.seconds = {1: one_s, 2: many_s}
        machine.run(2 * (REST + 2) * WINDOW)
    assert machine.threads_for(256) == 2


def test_one_slow_step_is_no_collapse() -> None:
    machine = SimulatedMachine()
    machine.run(WINDOW)
    machine.governor.observe(5.0)
    machine.run(5 * WINDOW)
    assert machine.switches == []


def test_a_governed_stepper_is_the_stepper_it_governs() -> None:
    class Echo:
        before_forward: Callable[[int], None]

        def cached_prefix(self, ids: list[int]) -> int:
            return len(ids)

        def prefill(self, ids: list[int], report: object) -> np.ndarray:
            return np.asarray(ids, np.float32)

        def step(self, token_id: int) -> np.ndarray:
            return np.asarray([token_id], np.float32)

    stepper = GovernedStepper(Echo(), 2, 2, 2, lambda _threads: None)  # pyright: ignore[reportArgumentType]
    assert stepper.cached_prefix([1, 2]) == 2
    assert stepper.prefill([1, 2], lambda _done, _total: True).tolist() == [1.0, 2.0]
    assert stepper.step(7).tolist() == [7.0]


def test_models_that_decode_at_once_share_the_threads() -> None:
    machine = SimulatedMachine()
    machine.governor.share(2)
    machine.seconds[1] = 1.0
    machine.run(10 * WINDOW)
    assert machine.switches == [1], "it does not try the threads of the other model"
    machine.governor.share(2)
    machine.governor.share(1)
    machine.seconds[1] = 0.015
    machine.run(WINDOW)
    assert machine.switches == [1, 2]
