"""The fast forward is the straightforward one: any shape of model, any chunking, rows together or one by one."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.engine.cpu.naive_forward import RandomCheckpoint, naive_logits
from tests.size import sized
from ttchat_tui.engine.cpu.checkpoints.checkpoint import ModelConfig, RopeScaling
from ttchat_tui.engine.cpu.forward.model import DecoderModel
from ttchat_tui.engine.cpu.forward.rope import RopeTable
from ttchat_tui.engine.cpu.weights.precision import WeightPlan
from ttchat_tui.engine.cpu.weights.torch_weights import convert_weights

pytestmark = pytest.mark.usefixtures("one_thread")

VOCAB = 70
TOLERANCE = 1e-4


@st.composite
def checkpoints(draw: st.DrawFn) -> RandomCheckpoint:
    kv_heads = draw(st.sampled_from([1, 2, 3]))
    layers = draw(st.integers(1, 3))
    config = ModelConfig(
        family="llama",
        hidden_size=draw(st.sampled_from([32, 48])),
        ffn_size=draw(st.sampled_from([16, 80])),
        layers=layers,
        heads=kv_heads * draw(st.sampled_from([1, 2, 3])),
        kv_heads=kv_heads,
        head_size=draw(st.sampled_from([8, 16])),
        vocab_size=VOCAB,
        context_length=512,
        norm_eps=draw(st.sampled_from([1e-6, 1e-2])),
        rope_theta=100.0,
        rope_scaling=draw(st.sampled_from([None, RopeScaling(kind="linear", factor=2.0)])),
        is_head_tied=draw(st.booleans()),
        sliding_window=draw(st.sampled_from([0, 1, 7])),
        sliding_layers=draw(st.sampled_from([(), tuple(n % 2 == 0 for n in range(layers))])),
    )
    return RandomCheckpoint(
        config, draw(st.integers(0, 99)), has_bias=draw(st.booleans()), has_qk_norm=draw(st.booleans())
    )


def model_of(checkpoint: RandomCheckpoint) -> DecoderModel:
    weights = convert_weights(checkpoint, WeightPlan(format="fp32"), lambda _done, _total: None)
    return DecoderModel(checkpoint.config, weights, RopeTable(checkpoint.config))


@settings(max_examples=sized(33, 1000), deadline=None)
@given(
    checkpoints(),
    st.lists(st.sampled_from([1, 2, 3, 16, 17, 25]), min_size=1, max_size=6),
    st.integers(0, 9999),
)
def test_any_chunking_gives_the_logits_of_the_straightforward_forward(
    checkpoint: RandomCheckpoint, chunks: list[int], seed: int
) -> None:
    ids: list[int] = np.random.default_rng(seed).integers(VOCAB, size=sum(chunks)).tolist()
    model = model_of(checkpoint)
    cache = model.new_cache()
    ends = [*itertools.accumulate(chunks)]
    parts = [ids[end - rows : end] for end, rows in zip(ends, chunks, strict=True)]
    got = [model.logits(model.forward(part, cache)) for part in parts]
    expected = naive_logits(checkpoint, ids)
    assert cache.length == len(ids)
    np.testing.assert_allclose(np.concatenate(got), expected.numpy(), atol=TOLERANCE, rtol=0)
    some = model.new_cache()
    for part in parts[:-1]:
        assert len(model.forward(part, some, 0)) == 0
    last = model.logits(model.forward(parts[-1], some, 1))
    np.testing.assert_allclose(last, expected[-1:].numpy(), atol=TOLERANCE, rtol=0)


@settings(max_examples=sized(15, 150), deadline=None)
@given(checkpoints(), st.integers(1, 30), st.integers(0, 9999))
def test_a_row_after_a_cut_does_not_see_what_was_cut(
    checkpoint: RandomCheckpoint, kept: int, seed: int
) -> None:
    ids: list[int] = np.random.default_rng(seed).integers(VOCAB, size=41).tolist()
    model = model_of(checkpoint)
    cache = model.new_cache()
    model.forward(ids[:40], cache)
    cache.length = kept
    got = model.logits(model.forward(ids[40:], cache))
    expected = naive_logits(checkpoint, [*ids[:kept], ids[40]])[-1:]
    np.testing.assert_allclose(got, expected.numpy(), atol=TOLERANCE, rtol=0)


def test_states_that_were_returned_do_not_change_with_the_next_step() -> None:
    checkpoint = RandomCheckpoint(
        ModelConfig(
            family="llama", hidden_size=32, ffn_size=16, layers=2, heads=2, kv_heads=1, head_size=16, vocab_size=VOCAB,
            context_length=64, norm_eps=1e-5, rope_theta=100.0,
        )
    )  # fmt: skip
    model = model_of(checkpoint)
    cache = model.new_cache()
    for rows in (1, 3):
        hidden = model.forward(range(rows), cache)
        logits = model.logits(hidden)
        copies = hidden.clone(), logits.copy()
        model.logits(model.forward([5], cache))
        assert torch.equal(hidden, copies[0])
        assert np.array_equal(logits, copies[1])
