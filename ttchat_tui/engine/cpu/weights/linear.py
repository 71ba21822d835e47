"""Matrix products by torch: exact with float32 and float16 weights, rounded with bfloat16 and 8-bit weights."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, Protocol, TypeAlias

import torch
from torch.nn import functional

_F16_MAX: Final = 65504.0
_INT8_MAX: Final = 127.0
_BATCH_HINT: Final = 256
"""Rows that oneDNN packs bfloat16 weights for: one chunk of a prompt."""


class Linear(Protocol):
    """x [rows, in] → x @ weight.T + bias [rows, out], in x's type.

    `dtype` is the type it computes with, float32 or bfloat16: x of that type saves two conversions.
    """

    @property
    def dtype(self) -> torch.dtype: ...

    def __call__(self, x: torch.Tensor) -> torch.Tensor: ...


Packed: TypeAlias = Any
"""Weights packed for a kernel: a tensor, or torch's opaque `LinearPackedParamsBase`."""


class Fp32Linear:
    """float32 weights."""

    dtype: torch.dtype = torch.float32

    def __init__(self, weight: torch.Tensor, bias: torch.Tensor | None = None) -> None:
        self._weight = weight
        self._bias = bias

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        return functional.linear(x.float(), self._weight, self._bias).to(x.dtype)


class Fp32Head:
    """float32 with the transposed weight: MKL's one-row product with a tall matrix is then twice as fast."""

    dtype: torch.dtype = torch.float32

    def __init__(self, weight: torch.Tensor) -> None:
        self._transposed = weight.t().contiguous()

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        return torch.mm(x.float(), self._transposed)


class F16Linear:
    """float16 weights, packed for fbgemm; products and sums are float32. Half the memory traffic of float32."""

    dtype: torch.dtype = torch.float32

    def __init__(self, weight: torch.Tensor, bias: torch.Tensor | None = None) -> None:
        # torch.ops, because `quantized::linear_dynamic_fp16` has no other public name.
        self._packed: Packed = torch.ops.quantized.linear_prepack_fp16(weight.contiguous(), bias)
        self._run: Any = torch.ops.quantized.linear_dynamic_fp16.default

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        if x.dtype is torch.float32:
            return self._run(x, self._packed)
        return self._run(x.float(), self._packed).to(x.dtype)


class BF16Linear:
    """bfloat16 weights and activations, packed for oneDNN, sums in float32: the fastest for many rows."""

    dtype: torch.dtype = torch.bfloat16

    def __init__(self, weight: torch.Tensor, bias: torch.Tensor | None = None) -> None:
        self._packed: Packed = torch.ops.mkldnn._reorder_linear_weight(weight.bfloat16(), _BATCH_HINT)
        self._bias = bias
        self._run: Any = torch.ops.mkldnn._linear_pointwise.default

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        y = self._run(x.bfloat16(), self._packed, None, "none", [], "")
        return with_bias(y, self._bias, x.dtype)


class Int8Linear:
    """8-bit weights with one scale per row, bfloat16 activations, sums in float32. A quarter of float32's memory."""

    dtype: torch.dtype = torch.bfloat16

    def __init__(self, weight: torch.Tensor, bias: torch.Tensor | None = None) -> None:
        largest = weight.abs().amax(dim=1)
        # The scale is rounded first, to the kernel's type, so that the codes compensate for it.
        self._scale = (largest / _INT8_MAX).clamp_(min=1e-30).bfloat16()
        codes = (weight / self._scale.float().unsqueeze(1)).round_().clamp_(-_INT8_MAX, _INT8_MAX)
        self._codes = codes.to(torch.int8)
        self._bias = bias
        self._run: Any = torch.ops.aten._weight_int8pack_mm.default

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        y = self._run(x.bfloat16(), self._codes, self._scale)
        return with_bias(y, self._bias, x.dtype)


class ByRows:
    """The same product by two kernels: `few` up to `limit` rows, `many` beyond."""

    def __init__(self, few: Linear, many: Linear, limit: int) -> None:
        self.few = few
        self.many = many
        self.limit = limit
        self.dtype = few.dtype

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        return self.few(x) if x.shape[0] <= self.limit else self.many(x)


class JoinedLinear:
    """Matrices of different formats with the same input; their outputs are concatenated."""

    dtype: torch.dtype = torch.float32

    def __init__(self, parts: Sequence[Linear]) -> None:
        self._parts = parts

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        return torch.cat([part(x) for part in self._parts], dim=1)


def with_bias(y: torch.Tensor, bias: torch.Tensor | None, dtype: torch.dtype) -> torch.Tensor:
    """y + bias, summed in float32, in `dtype`."""
    return y.to(dtype) if bias is None else y.float().add_(bias).to(dtype)


def fits_f16(weight: torch.Tensor) -> bool:
    """Whether all weights are in float16's range: fbgemm would clip others."""
    low, high = weight.aminmax()  # abs() would copy what may be the largest matrix.
    return bool(low > -_F16_MAX and high < _F16_MAX)
