"""The default model on real text: float32 is transformers' own, reduced precision stays within its budget of it."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, Final

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from tests.divergence import divergence
from tests.engine.cpu.native_kernel import kernel_folder
from tests.engine.cpu.reference_model import reference_model
from tests.real_text import KINDS, all_real_text_ids, real_text_ids
from tests.size import sized
from ttchat_tui.domain.model_spec import CpuOptions, ModelSpec
from ttchat_tui.engine.cpu.checkpoints.gguf_file import GgufFile
from ttchat_tui.engine.cpu.loading import load_model

POSITIONS: Final = sized(96, 512)
TOLERANCE: Final = 1e-4
SLICE: Final = sized(24, 48)
"""Ids of each kind of text for reduced precision; the benchmark takes all 2,324."""
KL_BUDGET, TOP1_BUDGET = 0.003, 0.95
NATIVE_KL: Final = 1e-5
"""The file's own bits and activations of 16: measured 1e-6."""


def load(path: Path, precision: Any, kernel_dir: str = "") -> Any:
    # One thread: with two, the barriers of OpenMP collapse where other tests run beside this one.
    spec = ModelSpec(
        name="smollm2",
        path=str(path),
        options=CpuOptions(precision=precision, threads=1),
        kernel_dir=kernel_dir,
    )
    return load_model(spec, lambda _progress: None)


@pytest.fixture(scope="module")
def fp32(default_model_path: Path) -> Any:
    return load(default_model_path, "fp32")


def prompt_logits(stepper: Any, ids: list[int]) -> NDArray[np.float32]:
    """After each id, the way a prompt goes: many at once."""
    first = stepper.prefill(ids[:1], go_on).copy()
    return np.concatenate((first[None], stepper.step_many(ids[1:])))


def reply_logits(stepper: Any, ids: list[int]) -> NDArray[np.float32]:
    """After each id, the way a reply goes: one at a time."""
    first = stepper.prefill(ids[:1], go_on).copy()
    return np.stack([first, *(stepper.step(token_id).copy() for token_id in ids[1:])])


def go_on(_done: int, _total: int) -> bool:
    return True


@pytest.mark.model
@pytest.mark.timeout(400)
def test_float32_logits_are_those_of_transformers(fp32: Any, default_model_path: Path) -> None:
    """transformers computes in float64 here: in float32 its own logits are 9e-5 off these, ours 7e-5."""
    ids = all_real_text_ids(fp32.tokenizer)[:POSITIONS]
    with torch.inference_mode():
        reference = reference_model(GgufFile(default_model_path)).double()
        expected: NDArray[np.float64] = reference(torch.tensor([ids])).logits[0].numpy()
    np.testing.assert_allclose(prompt_logits(fp32.stepper, ids), expected, atol=TOLERANCE, rtol=0)
    fp32.stepper.prefill(ids[-1:], go_on)
    np.testing.assert_allclose(reply_logits(fp32.stepper, ids), expected, atol=TOLERANCE, rtol=0)


@pytest.fixture(scope="module")
def expected(fp32: Any) -> tuple[list[list[int]], NDArray[np.float32]]:
    """A piece of each kind of text, and float32's logits along them."""
    texts = [real_text_ids(fp32.tokenizer, kind)[:SLICE] for kind in KINDS]
    return texts, np.concatenate([prompt_logits(fp32.stepper, ids) for ids in texts])


@pytest.fixture(scope="module", params=["f16", "auto", "auto native"])
def reduced(request: pytest.FixtureRequest, default_model_path: Path) -> Any:
    precision, _, is_native = request.param.partition(" ")
    kernel_dir = str(kernel_folder()) if is_native else ""
    return load(default_model_path, precision, kernel_dir)


@pytest.mark.model
@pytest.mark.parametrize("logits_of", [prompt_logits, reply_logits])
def test_reduced_precision_stays_within_its_budget(reduced: Any, expected: Any, logits_of: Any) -> None:
    texts, exact = expected
    found = divergence(exact, np.concatenate([logits_of(reduced.stepper, ids) for ids in texts]))
    print(f"{reduced.label}: {found}")
    assert found.kl <= KL_BUDGET
    assert found.top1 >= TOP1_BUDGET
    if "native" in reduced.label:
        assert found.kl <= NATIVE_KL
    assert found.kl > 0.0  # It is another precision, not the same one again.


def test_the_divergence_of_two_coins_is_what_the_formula_says() -> None:
    fair, biased = np.zeros((3, 2), np.float32), np.log([[0.25, 0.75]] * 3).astype(np.float32) + 5.0
    found = divergence(fair, biased)
    assert found.kl == pytest.approx(0.5 * math.log(0.5 / 0.25) + 0.5 * math.log(0.5 / 0.75))
    assert found.top1 == 0.0  # argmax of a tie is the first one.
    assert divergence(biased, biased).kl == 0.0
    assert divergence(biased, biased).top1 == 1.0
    assert divergence(biased, biased).positions == 3
