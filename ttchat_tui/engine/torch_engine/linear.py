"""Matrix products in the two exact precisions: float32, and float16 weights with float32 activations (fbgemm)."""

from __future__ import annotations

from typing import Any, Final, Protocol, TypeAlias

import torch
from torch.nn import functional

_PROBE_TOLERANCE: Final = 2e-5
"""Relative to the largest output: float32 sums of float16 products in another order, not less precise ones."""

_F16_MAX: Final = 65504.0


class Linear(Protocol):
    """x [rows, in] float32 → x @ weight.T + bias [rows, out] float32."""

    def __call__(self, x: torch.Tensor) -> torch.Tensor: ...


Packed: TypeAlias = Any
"""An opaque `LinearPackedParamsBase` of torch's quantized library."""


class Fp32Linear:
    """Plain float32."""

    def __init__(self, weight: torch.Tensor, bias: torch.Tensor | None = None) -> None:
        self._weight = weight
        self._bias = bias

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        return functional.linear(x, self._weight, self._bias)


class Fp32Head:
    """Plain float32 over the transposed weight: MKL's one-row product with a tall matrix is twice as fast so."""

    def __init__(self, weight: torch.Tensor) -> None:
        self._transposed = weight.t().contiguous()

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        return torch.mm(x, self._transposed)


class F16Linear:
    """float16 weights, packed for fbgemm; products and sums are float32. Half the memory traffic of float32."""

    def __init__(self, weight: torch.Tensor, bias: torch.Tensor | None = None) -> None:
        # Called through torch.ops: `quantized::linear_dynamic_fp16` has no other public name.
        self._packed: Packed = torch.ops.quantized.linear_prepack_fp16(weight.contiguous(), bias)
        self._run: Any = torch.ops.quantized.linear_dynamic_fp16.default

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        return self._run(x, self._packed)


def has_f16_kernel() -> bool:
    """Whether this machine's torch has the float16 kernel and it computes what it should, for one row and for many."""
    generator = torch.Generator().manual_seed(0)
    weight = torch.randn(96, 64, generator=generator).half().float()
    bias = torch.randn(96, generator=generator)
    try:
        linear = F16Linear(weight, bias)
        return all(
            _agrees(linear, weight, bias, torch.randn(rows, 64, generator=generator)) for rows in (1, 7)
        )
    except (RuntimeError, AttributeError, NotImplementedError):
        return False  # No fbgemm in this build, or none for this CPU.


def _agrees(linear: Linear, weight: torch.Tensor, bias: torch.Tensor, x: torch.Tensor) -> bool:
    exact = (x.double() @ weight.double().t() + bias.double()).float()
    return bool((linear(x) - exact).abs().max() <= _PROBE_TOLERANCE * exact.abs().max())


def fits_f16(weight: torch.Tensor) -> bool:
    """Whether no weight is beyond float16's range: fbgemm would clip it."""
    return bool(weight.abs().max() < _F16_MAX)
