"""Products of the compiled kernel against float64, before it is used: a compiler or a processor may be faulty."""

# numpy's stubs give results of arithmetic, `reshape` and `view` no type at Python 3.10.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

from __future__ import annotations

import logging
from typing import Final

import numpy as np

from ttchat_tui.domain.ggml_types import GGML_TYPES
from ttchat_tui.engine.cpu.native.library import Library
from ttchat_tui.engine.cpu.native.linear import NativeLinear
from ttchat_tui.engine.cpu.native.tiles import RawPart, is_packable
from ttchat_tui.engine.decoding.passes import BLOCK, NUMPY, Passes

_OUTPUTS, _INPUTS = 96, 256
"""Three tiles by a block of the widest types."""
_ROWS: Final = (1, 3, 9)
_TOLERANCE: Final = 5e-5
"""Relative to the largest output: activations are rounded to 16 bits, and sums are float32."""
_SCALE_TOLERANCE: Final = 5e-4
"""The same for types whose scales are computed from two numbers and rounded to float16."""
_UNEVEN: Final = ("Q2_K", "Q3_K", "Q4_K", "Q5_K", "Q6_K", "IQ4_XS")

_log = logging.getLogger(__name__)


def is_correct(library: Library) -> bool:
    """Whether all formats give correct products. Takes a few milliseconds."""
    generator = np.random.default_rng(0)
    kinds = [kind for kind in GGML_TYPES.values() if is_packable(kind.name)]
    for kind in kinds:
        size = _OUTPUTS * _INPUTS // kind.weights * kind.size
        data = generator.integers(0, 60, size, np.uint8)  # As float16: positive, and below 1.
        if kind.name == "MXFP4":
            data[:: kind.size] = 120  # 2^-8.
        elif kind.name == "F32":
            data = generator.integers(-60, 60, _OUTPUTS * _INPUTS).astype(np.float32).view(np.uint8)
        part = RawPart(kind.name, (_OUTPUTS, _INPUTS), data)
        weight = (
            data.view(np.float32).reshape(_OUTPUTS, _INPUTS) if kind.name == "F32" else library.unpack(part)
        )
        error = _error(NativeLinear(library, [part]), weight, generator)
        if not error <= (_SCALE_TOLERANCE if kind.name in _UNEVEN else _TOLERANCE):
            _log.warning("the compiled %s kernel is off by %.1e of the largest output", kind.name, error)
            return False
    return True


def checked_passes(library: Library) -> Passes:
    """`library`, unless its weights have other bits than numpy's: a compiler may round products and sums together."""
    scores = np.linspace(-200, 0, 4 * BLOCK + 1, dtype=np.float32)
    top = scores[-1]
    if (
        np.array_equal(library.weights(scores, top, 0.7), NUMPY.weights(scores, top, 0.7))
        and np.array_equal(library.sums(scores, top, 2.0), NUMPY.sums(scores, top, 2.0))
        and library.weighted_sum(scores, top) == NUMPY.weighted_sum(scores, top)
    ):
        return library
    _log.warning("the compiled kernel's weights have other bits than numpy's")
    return NUMPY


def _error(linear: NativeLinear, weight: np.ndarray, generator: np.random.Generator) -> float:
    """The largest error, relative to the largest output."""
    errors: list[float] = []
    for rows in _ROWS:
        x = generator.standard_normal((rows, _INPUTS)).astype(np.float32)
        exact = x.astype(np.float64) @ weight.astype(np.float64).T
        errors.append(float(np.abs(linear(x) - exact).max() / np.abs(exact).max()))
    return max(errors)
