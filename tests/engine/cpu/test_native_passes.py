"""The compiled kernel's passes over scores: the same bits as numpy's, so that a reply is the same with and without it."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from tests.engine.cpu.native_kernel import PROCESSORS, kernel
from tests.engine.decoding.test_sampler import array, random_logits
from tests.engine.decoding.test_sampler_shortcuts import settings_of_each_shortcut
from tests.size import sized
from ttchat_tui.domain.sampling import SamplingParams
from ttchat_tui.engine.cpu.native.library import Library
from ttchat_tui.engine.cpu.native.linear import NativeLinear
from ttchat_tui.engine.cpu.native.self_check import checked_passes
from ttchat_tui.engine.cpu.native.tiles import RawPart
from ttchat_tui.engine.decoding.passes import NUMPY, Units, log_of, units_of
from ttchat_tui.engine.decoding.rules import NoUsableLogits
from ttchat_tui.engine.decoding.sampler import Sampler
from ttchat_tui.engine.decoding.selection import TINY, Floats

TEMPERATURES = st.sampled_from((TINY, 1e-3, 0.7, 1.0, 2.0)) | st.floats(0.01, 2.0)


@st.composite
def scores(draw: st.DrawFn) -> Floats:
    """Of every length around those of groups and blocks: flat, peaked, with ties, with -inf and with the largest numbers."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    size = draw(st.integers(1, 700) | st.sampled_from((1024, 2049, 4096, 5000)))
    found = rng.normal(0.0, draw(st.sampled_from((0.01, 2.0, 30.0))), size).astype(np.float32)
    if draw(st.booleans()):
        found = (np.round(found * 2) / 2).astype(np.float32)
    for value in draw(st.lists(st.sampled_from((-np.inf, -3.4e38, 3.4e38, 0.0)), max_size=3)):
        found[rng.random(size) < 0.2] = value
    found[rng.integers(size)] = 0.0  # One is finite.
    return found


@pytest.mark.parametrize("processor", PROCESSORS)
@settings(max_examples=sized(100, 3000), deadline=None)
@given(scores(), TEMPERATURES, st.integers(1, 100))
def test_passes_have_the_bits_of_numpy(processor: str, found: Floats, temperature: float, k: int) -> None:
    library, top = kernel(processor), found.max()
    np.testing.assert_array_equal(
        bits(library.weights(found, top, temperature)), bits(NUMPY.weights(found, top, temperature))
    )
    np.testing.assert_array_equal(
        library.sums(found, top, temperature), NUMPY.sums(found, top, temperature), strict=True
    )
    assert library.weighted_sum(found, top) == NUMPY.weighted_sum(found, top)
    assert library.top_id(found) == NUMPY.top_id(found)
    if k < len(found):
        np.testing.assert_array_equal(library.top_k(found, k), NUMPY.top_k(found, k), strict=True)


@settings(max_examples=sized(100, 3000), deadline=None)
@given(random_logits(), settings_of_each_shortcut(), st.integers(0, 2**32))
def test_a_token_is_drawn_and_recorded_as_with_numpy(
    logits: list[float], params: SamplingParams, seed: int
) -> None:
    one, other = Sampler(len(logits), seed, [1, 2], kernel()), Sampler(len(logits), seed, [1, 2])
    given_logits = array(logits)
    for _ in range(2):
        assert one.sample(given_logits, params) == other.sample(given_logits, params)
        assert one.sample_recorded(given_logits, params, with_alternatives=True) == other.sample_recorded(
            given_logits, params, with_alternatives=True
        )


@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.parametrize(("vocab", "rows"), [(33, 1), (64, 9), (1000, 2), (2500, 3)])
def test_what_the_head_makes_beside_its_logits_is_what_the_sampler_would_find(
    vocab: int, rows: int, threads: int
) -> None:
    library = kernel()
    library.set_threads(threads)
    hidden = np.random.default_rng(vocab).normal(0, 3, (rows, 32)).astype(np.float32)
    hidden[0] = 0  # All its logits are equal.
    logits = run_head(library, vocab, hidden)
    assert logits.shape == (rows, vocab)
    for row in logits:
        copy = row.copy()  # elsewhere, where nothing is known of it
        assert library.top_id(row) == NUMPY.top_id(copy)
        for k in (1, 5, vocab // 33):
            np.testing.assert_array_equal(library.top_k(row, k), NUMPY.top_k(copy, k))
        np.testing.assert_array_equal(
            library.sums(row, copy.max(), 1.0), NUMPY.sums(copy, copy.max(), 1.0), strict=True
        )
        np.testing.assert_array_equal(library.sums(row, copy.max(), 0.5), NUMPY.sums(copy, copy.max(), 0.5))
        np.testing.assert_array_equal(library.sums(row[:32], row[:32].max(), 1.0), sums_of(row[:32]))
    library.set_threads(1)


def test_rows_that_are_no_numbers_are_refused_beside_others() -> None:
    hidden = np.ones((3, 32), np.float32)
    hidden[0, 5], hidden[2, 7] = np.nan, np.inf
    library = kernel()
    logits = run_head(library, 300, hidden)
    assert np.isnan(logits[[0, 2]]).all()
    assert np.isfinite(logits[1]).all()
    greedy = SamplingParams(temperature=0.0)
    for row in (0, 2):
        with pytest.raises(NoUsableLogits):
            Sampler(300, 0, (), library).sample(logits[row], greedy)
    assert Sampler(300, 0, (), library).sample(logits[1], greedy).token_id == logits[1].argmax()


def test_only_the_latest_logits_are_known() -> None:
    library = kernel()
    hidden = np.random.default_rng(1).normal(0, 3, (2, 2, 32)).astype(np.float32)
    before = run_head(library, 500, hidden[0])
    run_head(library, 500, hidden[1])
    for row in before:
        assert library.top_id(row) == row.argmax()
        np.testing.assert_array_equal(library.sums(row, row.max(), 1.0), sums_of(row))


class _Fused:
    """A library that a compiler made which rounds a product and its sum together."""

    def __getattr__(self, name: str) -> Any:
        return getattr(NUMPY, name)

    def weights(self, found: Floats, top: np.float32, temperature: float) -> Floats:
        weights = NUMPY.weights(found, top, temperature)
        weights[7] = np.nextafter(weights[7], np.float32(2))
        return weights


def test_passes_with_other_bits_are_not_used() -> None:
    library: Any = _Fused()
    assert checked_passes(library) is NUMPY
    assert isinstance(checked_passes(kernel()), Library)


@settings(max_examples=sized(50, 1000), deadline=None)
@given(scores(), TEMPERATURES)
def test_weights_are_exponentials_and_their_sums_exact(found: Floats, temperature: float) -> None:
    top = found.max()
    weights = NUMPY.weights(found, top, temperature)
    with np.errstate(under="ignore"):
        exact = np.exp((found.astype(np.float64) - float(top)) / temperature)
    powers = np.abs(np.log2(np.maximum(exact, TINY)))
    assert (np.abs(weights - exact) <= np.maximum(exact * (3e-7 + 2e-7 * powers), 2 * TINY)).all()
    assert weights.max() == 1.0
    sums = NUMPY.sums(found, top, temperature)
    assert int(sums[-1]) == sum(round(weight * 2**44) for weight in weights.tolist())
    assert math.isclose(log_of(int(sums[-1])), math.log(float(weights.sum(dtype=np.float64))), abs_tol=1e-9)


def run_head(library: Library, vocab: int, hidden: NDArray[np.float32]) -> NDArray[np.float32]:
    rng = np.random.default_rng(0)
    weight = rng.normal(0, 1, (vocab, hidden.shape[1])).astype(np.float16)
    linear = NativeLinear(library, [RawPart("F16", (vocab, hidden.shape[1]), weight.view(np.uint8).ravel())])
    return library.run_head(linear.matrix, np.ones(hidden.shape[1], np.float32), 1e-5, hidden, vocab)


def sums_of(found: Floats) -> Units:
    return units_of(NUMPY.weights(found, found.max(), 1.0)).cumsum()[[*range(255, len(found), 256), -1]][
        : -(-len(found) // 256)
    ]


def bits(found: Floats) -> NDArray[np.int32]:
    return found.view(np.int32)
