"""Every family that `families.py` describes gives transformers' float32 logits: prompts, steps, cut caches, batches, and
files of both kinds."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.engine.cpu.gguf_files import write_gguf
from tests.engine.cpu.test_families import go_on, stepper_of
from tests.engine.cpu.tiny_models import DESCRIBED, VOCAB, described

LENGTH = 70
TOLERANCE = 1e-4


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    """Models this small only wait for a second thread."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def agree(got: Any, expected: Any) -> None:
    np.testing.assert_allclose(got, expected, atol=TOLERANCE, rtol=0)


def reference(model: Any, ids: list[int]) -> Any:
    """transformers' logits at each position."""
    with torch.inference_mode():
        return model(torch.tensor([ids]), use_cache=False).logits[0].numpy()


@pytest.mark.parametrize("name", DESCRIBED)
def test_a_described_family_agrees_in_prompts_steps_cuts_batches_and_from_gguf(
    name: str, tmp_path: Path
) -> None:
    model = described(name)
    model.save_pretrained(tmp_path)
    write_gguf(tmp_path, tmp_path / "x.gguf")
    ids = torch.randint(0, VOCAB, (LENGTH,), generator=torch.Generator().manual_seed(3)).tolist()
    expected, short = reference(model, ids), reference(model, ids[:30])
    assert np.abs(expected).max() > 0.8  # Logits near zero would agree with anything.
    for source in (tmp_path, tmp_path / "x.gguf"):
        stepper = stepper_of(source, chunk=37)
        agree(stepper.prefill(ids[:60], go_on), reference(model, ids[:60])[-1])
        agree(stepper.step(ids[60]), expected[60])
        agree(stepper.step_many(ids[61:65]), expected[61:65])
        agree(stepper.prefill([*ids[:20], *ids[60:]], go_on), reference(model, [*ids[:20], *ids[60:]])[-1])
        agree(stepper.prefill(ids[:30], go_on), short[-1])
    for fork_at in (19, 44):
        # LongRoPE's rows do not cross the original context, 32, in a batch.
        stepper.prefill(ids[:fork_at], go_on)
        stepper.fork(2)
        rows = stepper.step_rows([ids[fork_at], 5])
        agree(rows, [reference(model, [*ids[:fork_at], last])[-1] for last in (ids[fork_at], 5)])
        stepper.join()
