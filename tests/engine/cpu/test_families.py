"""Our forward gives transformers' float32 logits: every family, any chunking, step by step, after cropping; from
safetensors and from GGUF."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from tests.engine.cpu.gguf_files import write_gguf
from tests.engine.cpu.tiny_models import VOCAB, build, save
from ttchat_tui.engine.cpu.checkpoints.checkpoint import Checkpoint
from ttchat_tui.engine.cpu.checkpoints.gguf_file import GgufFile
from ttchat_tui.engine.cpu.checkpoints.safetensors_file import SafetensorsFolder
from ttchat_tui.engine.cpu.forward.model import DecoderModel
from ttchat_tui.engine.cpu.forward.rope import RopeTable
from ttchat_tui.engine.cpu.stepper import CachedStepper
from ttchat_tui.engine.cpu.weights.precision import WeightFormat, WeightPlan
from ttchat_tui.engine.cpu.weights.torch_weights import convert_weights
from ttchat_tui.engine.decoding.loop import PrefillAborted

pytestmark = pytest.mark.usefixtures("one_thread")

FAMILIES = (
    "llama", "llama-tied", "llama-bias", "llama3-rope", "llama-linear-rope", "mistral", "qwen2", "qwen2-sliding",
    "qwen3",
)  # fmt: skip
LENGTH = 512
TOLERANCE = 1e-4


def stepper_of(model: Path, precision: WeightFormat = "fp32", chunk: int = 256) -> CachedStepper:
    """Of a folder or a GGUF file."""
    checkpoint: Checkpoint = SafetensorsFolder(model) if model.is_dir() else GgufFile(model)
    weights = convert_weights(
        checkpoint, WeightPlan(format=precision, rest="f16"), lambda _done, _total: None
    )
    rope = RopeTable(checkpoint.config, checkpoint.rope_factors)
    return CachedStepper(DecoderModel(checkpoint.config, weights, rope), chunk)


def go_on(_done: int, _total: int) -> bool:
    return True


@pytest.fixture(scope="module", params=FAMILIES)
def oracle(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The saved folder, some ids, and transformers' logits at each of their positions."""
    model = build(request.param)
    folder = save(model, tmp_path_factory.mktemp(request.param))
    ids = torch.randint(0, VOCAB, (LENGTH,), generator=torch.Generator().manual_seed(3)).tolist()
    with torch.inference_mode():
        logits: NDArray[np.float32] = model(torch.tensor([ids])).logits[0].numpy()
    assert np.abs(logits).max() > 1.0  # Logits near zero would agree with anything.
    return folder, ids, logits


@pytest.mark.parametrize("chunk", [1, 37, 256])
def test_prefill_agrees_at_every_position_it_is_asked_for(oracle: Any, chunk: int) -> None:
    folder, ids, expected = oracle
    stepper = stepper_of(folder, chunk=chunk)
    for length in (1, 2, 45, 64, 200, LENGTH):
        got = stepper.prefill(ids[:length], go_on)
        np.testing.assert_allclose(got, expected[length - 1], atol=TOLERANCE, rtol=0)


def test_step_by_step_agrees_at_every_position(oracle: Any) -> None:
    folder, ids, expected = oracle
    stepper = stepper_of(folder)
    got = [stepper.prefill(ids[:1], go_on).copy()] + [stepper.step(i).copy() for i in ids[1:]]
    np.testing.assert_allclose(np.stack(got), expected, atol=TOLERANCE, rtol=0)


def test_ids_that_are_run_together_give_what_they_give_one_by_one(oracle: Any) -> None:
    folder, ids, expected = oracle
    stepper = stepper_of(folder)
    stepper.prefill(ids[:60], go_on)
    done = 60
    for rows in (1, 2, 4, 8, 16, 33):
        wrong = [(i + 1) % VOCAB for i in ids[done : done + rows]]
        stepper.step_many(wrong)
        stepper.crop(done)
        got = stepper.step_many(ids[done : done + rows])
        np.testing.assert_allclose(got, expected[done : done + rows], atol=TOLERANCE, rtol=0)
        done += rows
    np.testing.assert_allclose(stepper.step(ids[done]), expected[done], atol=TOLERANCE, rtol=0)


def test_the_same_model_from_a_gguf_file_agrees_at_every_position(oracle: Any, tmp_path: Path) -> None:
    folder, ids, expected = oracle
    if SafetensorsFolder(folder).config.sliding_layers:
        pytest.skip("GGUF files do not say which layers have a window")
    write_gguf(folder, tmp_path / "x.gguf")
    stepper = stepper_of(tmp_path / "x.gguf")
    np.testing.assert_allclose(stepper.prefill(ids, go_on), expected[-1], atol=TOLERANCE, rtol=0)
    stepper.reset()
    first = stepper.prefill(ids[:1], go_on).copy()
    np.testing.assert_allclose([first, *stepper.step_many(ids[1:])], expected, atol=TOLERANCE, rtol=0)


def test_a_cache_that_was_cut_back_and_grown_again_agrees(oracle: Any) -> None:
    folder, ids, expected = oracle
    stepper = stepper_of(folder)
    stepper.prefill([*ids[:100], *reversed(ids[100:])], go_on)
    assert stepper.cached_prefix(ids) >= 100
    np.testing.assert_allclose(stepper.prefill(ids, go_on), expected[-1], atol=TOLERANCE, rtol=0)
    np.testing.assert_allclose(stepper.prefill(ids[:80], go_on), expected[79], atol=TOLERANCE, rtol=0)
    np.testing.assert_allclose(stepper.step(ids[80]), expected[80], atol=TOLERANCE, rtol=0)


def test_f16_weights_stay_close(oracle: Any) -> None:
    folder, ids, expected = oracle
    got = stepper_of(folder, "f16").prefill(ids, go_on)
    np.testing.assert_allclose(got, expected[-1], atol=0.02, rtol=0)
    assert np.abs(got - expected[-1]).max() > 1e-6  # It is another precision, not the same one again.


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save(build("llama"), tmp_path_factory.mktemp("llama"))


def test_only_ids_that_are_not_cached_are_computed(llama: Path) -> None:
    stepper, seen = stepper_of(llama, chunk=10), []
    stepper.prefill(range(50), lambda done, total: not seen.append((done, total)))
    assert seen == [(10, 50), (20, 50), (30, 50), (40, 50), (50, 50)]
    seen.clear()
    stepper.prefill([*range(45), *range(100, 110)], lambda done, total: not seen.append((done, total)))
    assert seen == [(55, 55)]


def test_the_last_id_is_always_computed(llama: Path) -> None:
    stepper = stepper_of(llama)
    first = stepper.prefill(range(20), go_on).copy()
    assert stepper.cached_prefix(range(20)) == 19
    np.testing.assert_allclose(stepper.prefill(range(20), go_on), first, atol=TOLERANCE, rtol=0)


def test_an_aborted_prefill_keeps_what_it_computed(llama: Path) -> None:
    stepper = stepper_of(llama, chunk=10)
    with pytest.raises(PrefillAborted):
        stepper.prefill(range(50), lambda done, _total: done < 30)
    assert stepper.cached_prefix(range(50)) == 30


def test_a_reset_forgets_everything(llama: Path) -> None:
    stepper = stepper_of(llama)
    stepper.prefill(range(20), go_on)
    stepper.reset()
    assert stepper.cached_prefix(range(20)) == 0


def test_logits_share_memory_with_torch(llama: Path) -> None:
    logits = stepper_of(llama).prefill([1, 2], go_on)
    assert logits.dtype == np.float32
    assert logits.shape == (VOCAB,)
    assert logits.base is not None


def test_a_cache_grows_over_its_steps_without_losing_a_position(llama: Path) -> None:
    ids = [n % VOCAB for n in range(1200)]
    at_once, in_parts = stepper_of(llama), stepper_of(llama)
    for length in (500, 513, 1024, 1199):
        in_parts.prefill(ids[:length], go_on)
    np.testing.assert_allclose(in_parts.step(ids[-1]), at_once.prefill(ids, go_on), atol=TOLERANCE, rtol=0)
