"""Each type of weights in the compiled kernel: read like gguf-py, multiplied like float64, on each instruction set."""

from __future__ import annotations

import ctypes
from typing import Any

import gguf
import numpy as np
import pytest
from gguf import quants
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from tests.engine.cpu.native_kernel import PROCESSORS, kernel
from tests.size import sized
from ttchat_tui.domain.ggml_types import GGML_TYPES
from ttchat_tui.engine.cpu.native.library import MAX_ROWS, Library, Matrix
from ttchat_tui.engine.cpu.native.tiles import NotPackable, RawPart, Tiles, is_packable, rounded_to_q8_0

TYPES = {kind.name: kind for kind in GGML_TYPES.values() if is_packable(kind.name)}
EXACT = ("F16", "BF16", "Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0", "IQ4_NL", "MXFP4")
"""What the file holds is kept. Of the others, scales are products of two numbers, or weights are float32: rounded to float16."""
HALVES = {
    "Q4_0": (0, 2), "Q4_1": (0, 4), "Q5_0": (0, 2), "Q5_1": (0, 4), "Q8_0": (0, 2), "Q2_K": (80, 84), "Q3_K": (108, 110),
    "Q4_K": (0, 4), "Q5_K": (0, 4), "Q6_K": (208, 210), "IQ4_NL": (0, 2), "IQ4_XS": (0, 2),
}  # fmt: skip
"""First and last byte of a block's float16 scales."""
INPUTS = 512


@pytest.fixture(scope="module", params=PROCESSORS)
def library(request: pytest.FixtureRequest) -> Library:
    return kernel(request.param)


def random_part(kind: str, outputs: int, seed: int, scales: NDArray[np.float16] | None = None) -> RawPart:
    """Random bytes, with `scales` (default: about 0.01) where the type has float16 numbers."""
    generator = np.random.default_rng(seed)
    if kind in ("F32", "F16", "BF16"):
        weights = generator.standard_normal((outputs, INPUTS), np.float32)
        if kind == "BF16":
            data = quants.quantize(weights, gguf.GGMLQuantizationType.BF16)
        else:
            data = weights.astype(np.float16 if kind == "F16" else np.float32)
        return RawPart(kind, (outputs, INPUTS), data.view(np.uint8).reshape(-1))
    block = TYPES[kind]
    data = generator.integers(0, 256, (outputs * INPUTS // block.weights, block.size), np.uint8)
    if kind == "MXFP4":
        data[:, 0] = (
            generator.integers(110, 125, len(data))
            if scales is None
            else generator.integers(0, 256, len(data))
        )
    else:
        first, end = HALVES[kind]
        given = scales if scales is not None else (generator.normal(size=4096) * 0.01).astype(np.float16)
        drawn = generator.choice(given, (len(data), (end - first) // 2))
        data[:, first:end] = drawn.view(np.uint8)
    return RawPart(kind, (outputs, INPUTS), data.reshape(-1))


def by_gguf(part: RawPart) -> NDArray[np.float32]:
    if part.kind == "F32":
        weights = part.data.view(np.float32)
    elif part.kind == "F16":
        weights = part.data.view(np.float16).astype(np.float32)
    else:
        with np.errstate(over="ignore"):  # Of MXFP4's largest scales.
            weights = quants.dequantize(part.data, gguf.GGMLQuantizationType[part.kind])
    return weights.reshape(part.shape)


def product(library: Library, tiles: Tiles, x: NDArray[np.float32], *, is_paired: bool = False) -> Any:
    matrix = Matrix(
        outputs=tiles.outputs, inputs=tiles.inputs, rows=ctypes.addressof(tiles.rows), is_paired=is_paired
    )
    return library.multiply(matrix, x)


def drawn(rows: int, seed: int = 0) -> NDArray[np.float32]:
    return np.random.default_rng(seed).standard_normal((rows, INPUTS), np.float32)


def error(found: NDArray[np.float32], x: NDArray[np.float32], weights: NDArray[np.float32]) -> float:
    """The largest, relative to the largest output."""
    exact = x.astype(np.float64) @ weights.astype(np.float64).T
    return float(np.abs(found - exact).max() / np.abs(exact).max())


ODD = np.array([0, -0.0, 6e-8, -6e-5, 1e-3, -1.0, 60000.0], np.float16)
"""Zeros, the least that float16 has, and almost the largest."""


@pytest.mark.parametrize("kind", TYPES)
@settings(max_examples=sized(3, 200), deadline=None)
@given(seed=st.integers(0, 2**32 - 1), is_odd=st.booleans())
def test_weights_are_those_of_gguf(kind: str, seed: int, is_odd: bool) -> None:
    part = random_part(kind, 3, seed, ODD if is_odd else None)
    np.testing.assert_array_equal(kernel().unpack(part), by_gguf(part))
    chosen = np.array([2, 0, 2], np.int32)
    np.testing.assert_array_equal(kernel().unpack(part, chosen), by_gguf(part)[chosen])


@pytest.mark.parametrize("kind", TYPES)
def test_products_are_those_of_float64_and_a_row_has_the_same_bits_alone(kind: str, library: Library) -> None:
    part, x = random_part(kind, 64, 1), drawn(2 * MAX_ROWS + 3)
    tiles = library.pack([part])
    alone = np.concatenate([product(library, tiles, row[None]) for row in x])
    assert error(alone[:7], x[:7], by_gguf(part)) < (5e-5 if kind in EXACT else 4e-4)
    for rows in range(2, len(x) + 1):
        np.testing.assert_array_equal(product(library, tiles, x[:rows]), alone[:rows])


@pytest.mark.parametrize("kind", TYPES)
def test_activations_that_are_no_numbers_stay_in_their_row(kind: str, library: Library) -> None:
    """With the sanitizers (`make sanitize`) also: nothing overflows."""
    part, x = random_part(kind, 33, 3), drawn(7)
    tiles = library.pack([part])
    expected = product(library, tiles, x)
    for wrong in (np.inf, -np.inf, np.nan, np.float32(3e38)):
        x[1::2, ::7] = wrong
        np.testing.assert_array_equal(product(library, tiles, x)[::2], expected[::2])


@pytest.mark.parametrize("kind", TYPES)
def test_all_instruction_sets_give_the_same_bits(kind: str) -> None:
    part, x = random_part(kind, 32, 2), drawn(MAX_ROWS + 3)
    first, *others = (product(each, each.pack([part]), x) for each in map(kernel, PROCESSORS))
    for other in others:
        np.testing.assert_array_equal(first, other)


@settings(max_examples=sized(8, 300), deadline=None)
@given(
    kinds=st.lists(st.sampled_from(list(TYPES)), min_size=1, max_size=3),
    seed=st.integers(0, 2**32 - 1),
    factor=st.sampled_from([1.0, 0.125, 0.3]),
    is_paired=st.booleans(),
)
def test_weights_of_any_types_are_joined_permuted_and_scaled(
    kinds: list[str], seed: int, factor: float, is_paired: bool
) -> None:
    library, generator = kernel(), np.random.default_rng(seed)
    parts: list[RawPart] = []
    for kind in kinds:
        outputs = int(generator.choice([16, 48, 64]))
        plain = random_part(kind, outputs, seed)
        order = generator.permutation(outputs).astype(np.int32)
        parts.append(RawPart(kind, plain.shape, plain.data, order, factor))
    weights = np.concatenate([by_gguf(part)[part.order] * np.float32(factor) for part in parts])
    tiles = library.pack(parts, is_paired=is_paired and len(weights) % 32 == 0)
    found = product(library, tiles, drawn(2), is_paired=is_paired and len(weights) % 32 == 0)
    assert error(found[:, : len(weights)], drawn(2), weights) < 6e-4
    assert not found[:, len(weights) :].any()


@pytest.mark.parametrize("kind", ["Q2_K", "Q4_K", "Q6_K", "IQ4_XS"])
def test_scales_beyond_float16_are_held_in_float32(kind: str) -> None:
    part = random_part(kind, 32, 3, np.array([60000.0], np.float16))
    assert error(product(kernel(), kernel().pack([part]), drawn(2)), drawn(2), by_gguf(part)) < 5e-5


def test_weights_beyond_float16_are_held_in_float32() -> None:
    weights = drawn(32) * np.float32(1e6)
    part = RawPart("F32", weights.shape, weights.view(np.uint8).reshape(-1))
    assert error(product(kernel(), kernel().pack([part]), drawn(2)), drawn(2), weights) < 5e-5


@pytest.mark.parametrize("wrong", [np.inf, -np.inf, np.nan])
@pytest.mark.parametrize("kind", HALVES)
def test_weights_that_are_no_numbers_are_refused(kind: str, wrong: float) -> None:
    with pytest.raises(NotPackable, match="infinite or not numbers"):
        kernel().pack([random_part(kind, 32, 4, np.array([wrong], np.float16))])


def test_what_the_kernel_does_not_read_is_refused() -> None:
    data = np.zeros(66 * 32, np.uint8)
    with pytest.raises(NotPackable, match="IQ2_XXS"):
        kernel().pack([RawPart("IQ2_XXS", (32, 256), data)])
    with pytest.raises(NotPackable, match="whole number of blocks"):
        kernel().pack([RawPart("Q4_K", (32, 96), data)])


UNREAD = sorted({kind.name for kind in GGML_TYPES.values()} - TYPES.keys())
"""Types that are rounded to 8 bits."""


def weights_of_type(kind: str, seed: int, least: float, greatest: float) -> NDArray[np.float32]:
    """[32, INPUTS] of random bytes, whose blocks of 256 have scales between these."""
    generator = np.random.default_rng(seed)
    type_id = gguf.GGMLQuantizationType[kind]
    weights, size = gguf.GGML_QUANT_SIZES[type_id]
    data = generator.integers(0, 256, (32 * INPUTS // weights, size), np.uint8)
    scales = np.exp(generator.uniform(np.log(least), np.log(greatest), len(data))).astype(np.float16)
    if kind == "IQ1_M":  # In the upper four bits of the last four words.
        words = data[:, 48:].view(np.uint16)
        shifted = scales.view(np.uint16)[:, None] >> np.array([0, 4, 8, 12], np.uint16)
        words[:] = words & 0x0FFF | shifted << 12
    else:
        at = size - 2 if kind.startswith("TQ") else 0
        data[:, at : at + 2] = scales.view(np.uint8).reshape(-1, 2)
    return quants.dequantize(data, type_id).reshape(32, INPUTS)


@pytest.mark.parametrize("kind", UNREAD)
@settings(max_examples=sized(4, 200), deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    least=st.sampled_from([1e-7, 1e-6, 1e-5, 1e-4, 1e-3, 0.1]),
    span=st.sampled_from([1, 10, 1000]),
)
def test_each_32_weights_of_any_type_are_rounded_by_at_most_half_a_step_of_their_own(
    kind: str, seed: int, least: float, span: float
) -> None:
    """A step is the 127th part of the largest, or what float16 has above it: 2**-24 more below 6e-5, else 2**-10 of it."""
    weights = weights_of_type(kind, seed, least, least * span)
    part = RawPart("Q8_0", weights.shape, rounded_to_q8_0(weights))
    found, exact = by_gguf(part).reshape(-1, 32), weights.reshape(-1, 32)
    step = np.abs(exact).max(axis=1, keepdims=True) / 127
    assert (np.abs(found - exact) <= 0.5 * (step * (1 + 2.0**-10) + 2.0**-24) * (1 + 1e-5)).all()


@pytest.mark.parametrize("size", [1.0, 1e-3, 1e-4, 1e-5, 1e-6, 1e-8])
def test_the_kernel_rounds_weights_of_any_size_to_the_same_8_bits(size: float) -> None:
    weights, x = drawn(32, seed=5) * np.float32(size), drawn(3)
    part = RawPart("F32", weights.shape, weights.view(np.uint8).reshape(-1))
    blocks = RawPart("Q8_0", weights.shape, rounded_to_q8_0(weights))
    rounded = product(kernel(), kernel().pack([part], rounded="int8"), x)
    np.testing.assert_array_equal(product(kernel(), kernel().pack([blocks]), x), rounded)


def test_weights_are_rounded_to_8_and_4_bits_where_that_is_asked_for() -> None:
    weights, x = drawn(32, seed=5), drawn(3)
    part = RawPart("F32", weights.shape, weights.view(np.uint8).reshape(-1))
    whole = error(product(kernel(), kernel().pack([part]), x), x, weights)
    eight = error(product(kernel(), kernel().pack([part], rounded="int8"), x), x, weights)
    four = error(product(kernel(), kernel().pack([part], rounded="int4"), x), x, weights)
    assert whole < 1e-3 < eight < 0.01 < four < 0.2
