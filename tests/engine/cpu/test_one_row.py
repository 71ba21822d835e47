"""A decode step over 4-bit layers in TorchScript is the step that `model` makes in Python."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.engine.cpu.naive_forward import RandomCheckpoint
from ttchat_tui.engine.cpu.checkpoints.checkpoint import ModelConfig
from ttchat_tui.engine.cpu.forward.model import DecoderModel
from ttchat_tui.engine.cpu.forward.one_row import Int4Stack, one_row_of
from ttchat_tui.engine.cpu.forward.rope import RopeTable, rope_frequencies
from ttchat_tui.engine.cpu.weights.kernels import working_kernels
from ttchat_tui.engine.cpu.weights.precision import WeightPlan
from ttchat_tui.engine.cpu.weights.weights import Weights, convert_weights

pytestmark = pytest.mark.skipif("int4" not in working_kernels(), reason="no 4-bit kernel here")

VOCAB = 64
INT4 = WeightPlan(format="int4", requantize=True)


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    """Models this small only wait for a second thread."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def checkpoint_of(window: int = 0, has_bias: bool = False, has_qk_norm: bool = False) -> RandomCheckpoint:
    config = ModelConfig(
        family="llama", hidden_size=64, ffn_size=96, layers=3, heads=6, kv_heads=2, head_size=16, vocab_size=VOCAB,
        context_length=512, norm_eps=1e-5, rope_theta=100.0, sliding_window=window, sliding_layers=(True, False, True),
    )  # fmt: skip
    return RandomCheckpoint(config, has_bias=has_bias, has_qk_norm=has_qk_norm)


def converted(checkpoint: RandomCheckpoint, plan: WeightPlan = INT4) -> Weights:
    return convert_weights(checkpoint, plan, lambda _done, _total: None)


class _WithoutOneRow(DecoderModel):
    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._one_row = None


@settings(max_examples=12, deadline=None)
@given(
    st.builds(checkpoint_of, st.sampled_from([0, 1, 7]), st.booleans(), st.booleans()), st.integers(0, 9999)
)
def test_a_step_is_that_of_the_python_forward_bit_for_bit(checkpoint: RandomCheckpoint, seed: int) -> None:
    ids = torch.randint(0, VOCAB, (30,), generator=torch.Generator().manual_seed(seed))
    weights = converted(checkpoint)
    rope = RopeTable(rope_frequencies(checkpoint.config, None))
    models = [kind(checkpoint.config, weights, rope) for kind in (DecoderModel, _WithoutOneRow)]
    caches = [model.new_cache() for model in models]
    for chunk in (ids[:9], *ids[9:].split(1)):
        fast, slow = (model.forward(chunk, cache) for model, cache in zip(models, caches, strict=True))
        assert torch.equal(fast, slow)
    assert caches[0].length == len(ids)


def test_other_weights_have_no_such_step() -> None:
    checkpoint = checkpoint_of()
    assert one_row_of(checkpoint.config, converted(checkpoint).layers) is not None
    assert one_row_of(checkpoint.config, converted(checkpoint, WeightPlan(format="fp32")).layers) is None


def test_where_torch_has_no_script_the_same_source_runs_as_python(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_module: Any) -> Any:
        raise RuntimeError("torch.jit.script is gone")

    checkpoint = checkpoint_of()
    weights = converted(checkpoint)
    rope = RopeTable(rope_frequencies(checkpoint.config, None))
    scripted = DecoderModel(checkpoint.config, weights, rope)
    monkeypatch.setattr(torch.jit, "script", refuse)
    assert isinstance(one_row_of(checkpoint.config, weights.layers), Int4Stack)
    python = DecoderModel(checkpoint.config, weights, rope)
    first, second = (model.forward(torch.tensor([3]), model.new_cache()) for model in (scripted, python))
    assert torch.equal(first, second)


@pytest.mark.filterwarnings("error")
def test_nothing_is_said_of_its_deprecation() -> None:
    checkpoint = checkpoint_of()
    assert not isinstance(one_row_of(checkpoint.config, converted(checkpoint).layers), Int4Stack)
