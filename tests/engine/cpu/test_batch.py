"""Rows that share a prompt's keys and values give the logits of a straight run of their own, whatever happens between."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from tests.engine.cpu import test_native_step
from tests.engine.cpu.native_kernel import kernel
from tests.engine.cpu.test_families import go_on, stepper_of
from tests.engine.cpu.tiny_models import VOCAB, build, save
from tests.size import sized
from ttchat_tui.domain.chat import ChatMessage
from ttchat_tui.domain.events import TokenEvent
from ttchat_tui.domain.generation import Candidate, GenerationControl, GenerationRequest
from ttchat_tui.domain.model_spec import CpuOptions, ModelSpec
from ttchat_tui.domain.sampling import SamplingParams
from ttchat_tui.engine.cpu.engine import CpuEngine
from ttchat_tui.engine.cpu.stepper import CachedStepper

pytestmark = pytest.mark.usefixtures("one_thread")

TOLERANCE = 1e-4
NATIVE_TOLERANCE = 0.0
"""A row has the same bits however it is run."""
HOT = SamplingParams(temperature=1.0, top_k=0, top_p=1.0, max_tokens=40)
FAMILIES = ("llama", "qwen2-sliding", "qwen3", "native f16", "native q8")
"""Grouped heads; a window of 40 positions in one layer; a norm over each head; the compiled kernel with each KV cache."""


def drawn(length: int, seed: int) -> list[int]:
    ids: list[int] = np.random.default_rng(seed).integers(VOCAB, size=length).tolist()
    return ids


def ids_up_to(length: int) -> st.SearchStrategy[list[int]]:
    """By their number: lists that hypothesis builds are mostly too short to leave a window."""
    return st.builds(drawn, st.integers(1, length), st.integers(0, 99))


class StepperPair:
    """A stepper under test, and one that always computes everything anew in one forward."""

    def __init__(self, stepper: CachedStepper, reference: CachedStepper, tolerance: float) -> None:
        self._tolerance = tolerance
        self.stepper = stepper
        self._reference = reference

    def straight(self, ids: Sequence[int]) -> NDArray[np.float32]:
        self._reference.reset()
        return self._reference.prefill(ids, go_on).copy()

    def agrees(self, logits: NDArray[np.float32], ids: Sequence[int]) -> None:
        np.testing.assert_allclose(logits, self.straight(ids), rtol=0, atol=self._tolerance)


@pytest.fixture(scope="module", params=FAMILIES)
def pair(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> StepperPair:
    folder = tmp_path_factory.mktemp(request.param.replace(" ", "-"))
    is_native = request.param.startswith("native")
    if is_native:
        save(test_native_step.build("qwen2-sliding"), folder)
        cache = request.param.removeprefix("native ")
        of_folder = partial(test_native_step.stepper_of, folder, kernel(), cache)
    else:
        of_folder = partial(stepper_of, save(build(request.param), folder))
    tolerance = NATIVE_TOLERANCE if is_native else TOLERANCE
    return StepperPair(of_folder(), of_folder(chunk=1024), tolerance)


def properties(examples: int) -> Callable[[Any], Any]:
    return settings(
        deadline=None, max_examples=examples, suppress_health_check=[HealthCheck.function_scoped_fixture]
    )


@properties(sized(12, 300))
@given(
    prompt=ids_up_to(60),
    tails=st.lists(ids_up_to(30), min_size=1, max_size=5),
    resumed=st.integers(0, 4),
    kept=st.integers(0, 30),
    more=ids_up_to(20),
)
def test_any_batch_gives_the_logits_of_straight_runs_and_any_row_can_be_continued(
    pair: StepperPair, prompt: list[int], tails: list[list[int]], resumed: int, kept: int, more: list[int]
) -> None:
    stepper = pair.stepper
    pair.agrees(stepper.prefill(prompt, go_on), prompt)
    stepper.fork(len(tails))
    live = list(range(len(tails)))
    for step in range(max(map(len, tails))):
        for row in [row for row in live if len(tails[row]) <= step]:
            stepper.freeze(row)
            live.remove(row)
        logits = stepper.step_rows([tails[row][step] for row in live])
        assert len(logits) == len(live)
        for row, scores in zip(live, logits, strict=True):
            if step % 8 == 0 or step + 1 == len(tails[row]):
                pair.agrees(scores, prompt + tails[row][: step + 1])
    stepper.join()
    tail = tails[resumed % len(tails)][:kept]
    after = [*prompt, *tail, *more]
    assert stepper.cached_prefix(after) >= min(len(prompt) + len(tail), len(after) - 1)
    pair.agrees(stepper.prefill(after, go_on), after)
    pair.agrees(stepper.step(7), [*after, 7])


@properties(sized(12, 300))
@given(
    ids=ids_up_to(60),
    cuts=st.lists(st.tuples(st.integers(0, 120), ids_up_to(60)), max_size=5),
    chunk=st.integers(1, 70),
)
def test_any_cropping_and_growing_again_in_any_chunks_gives_the_logits_of_a_straight_run(
    pair: StepperPair, ids: list[int], cuts: list[tuple[int, list[int]]], chunk: int
) -> None:
    stepper = pair.stepper
    stepper._chunk = chunk  # pyright: ignore[reportPrivateUsage]
    held = ids
    pair.agrees(stepper.prefill(held, go_on), held)
    for length, more in cuts:
        stepper.crop(min(length, len(held)))
        held = [*held[:length], *more]
        if length % 2 and len(held) > len(more):
            pair.agrees(stepper.step_many(more)[-1], held)
        else:
            pair.agrees(stepper.prefill(held, go_on), held)
        pair.agrees(stepper.step(7), held := [*held, 7])


def test_a_row_that_ended_costs_nothing_and_the_prompt_is_held_once(pair: StepperPair) -> None:
    stepper = pair.stepper
    stepper.prefill(range(200), go_on)
    rows: list[int] = []
    model = stepper._model  # pyright: ignore[reportPrivateUsage]
    forward = model.forward

    def counted(ids: Sequence[int], fork: Any) -> Any:
        rows.append(len(ids))
        return forward(ids, fork)

    model.forward = counted  # type: ignore[method-assign]
    try:
        stepper.fork(4)
        stepper.step_rows([1, 2, 3, 4])
        stepper.freeze(1)
        stepper.freeze(3)
        stepper.step_rows([1, 3])
    finally:
        model.forward = forward  # type: ignore[method-assign]
    assert rows == [4, 2]
    forked = stepper._forked  # pyright: ignore[reportPrivateUsage]
    assert forked is not None
    assert forked.kv.capacity < 200
    stepper.join()


def ids_of(engine: CpuEngine, seed: int, candidates: tuple[Candidate, ...] = ()) -> dict[int, list[int]]:
    """Of each row, the ids of a reply to the same question."""
    request = GenerationRequest(
        id=1, messages=(ChatMessage("user", "hello"),), sampling=HOT, seed=seed, candidates=candidates
    )
    rows: dict[int, list[int]] = {row: [] for row in range(request.rows)}
    for event in engine.generate(request, GenerationControl(HOT)):
        if isinstance(event, TokenEvent):
            rows[event.row].extend(event.token_ids)
    return rows


def test_each_row_of_a_batch_draws_the_ids_of_a_reply_with_its_seed(tmp_path: Path) -> None:
    engine = CpuEngine()
    path = str(save(build("llama"), tmp_path))
    info = engine.load(
        ModelSpec(name="tiny", path=path, options=CpuOptions(threads=1, precision="fp32")),
        lambda _progress: None,
    )
    seeds = range(max(info.capabilities.batch_sizes))
    rows = ids_of(engine, seeds[0], tuple(Candidate(seed=seed) for seed in seeds[1:]))
    assert len({tuple(ids) for ids in rows.values()}) == len(seeds)
    for row, seed in enumerate(seeds):
        assert rows[row] == ids_of(engine, seed)[0]
    engine.close()


def test_outside_of_a_batch_there_are_no_rows(pair: StepperPair) -> None:
    pair.stepper.prefill([1, 2], go_on)
    with pytest.raises(AssertionError, match="no batch runs"):
        pair.stepper.step_rows([1])
