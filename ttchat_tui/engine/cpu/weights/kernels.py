"""Detection of the reduced-precision kernels that work on this machine: available, fast and correct.

torch's kernels are private or legacy operators. Each one is compared with the float64 product before it is used, on random
weights that its format represents exactly, for few and for many rows.
"""

from __future__ import annotations

import logging
import platform
from collections.abc import Callable
from typing import Final, TypeAlias

import torch

from ttchat_tui.engine.cpu.tensors import tensor_of
from ttchat_tui.engine.cpu.weights.int4_blocks import CENTRE, GROUP, Int4Blocks
from ttchat_tui.engine.cpu.weights.int4_linear import Int4Linear
from ttchat_tui.engine.cpu.weights.int8_head import Int8Scan
from ttchat_tui.engine.cpu.weights.linear import BF16Linear, F16Linear, Int8Linear, Linear
from ttchat_tui.engine.cpu.weights.precision import Kernel

_OUT, _IN = 112, 64
"""The outputs are not a multiple of a kernel's block of 64; the inputs are more than one group."""
_ROWS: Final = (1, 3, 9)
_SUM_TOLERANCE: Final = 5e-5
"""Relative to the largest output: float32 sums in another order, or activations rounded to 16 bits."""
_BF16_TOLERANCE: Final = 2.0**-7
"""Relative to the largest output: results rounded to bfloat16; the 8-bit kernel rounds before and after scaling."""
_VECTOR_CAPABILITIES: Final = frozenset({"AVX2", "AVX512"})

_log = logging.getLogger(__name__)


def working_kernels() -> frozenset[Kernel]:
    """torch's kernels that work here. Takes a few milliseconds."""
    return frozenset(
        kernel for kernel, (is_fast, build) in _PROBES.items() if is_fast() and _works(kernel, build)
    )


def _works(kernel: str, build: Callable[[torch.Generator], _Probe]) -> bool:
    generator = torch.Generator().manual_seed(0)
    try:
        linear, weight, bias = build(generator)
        errors = [_error(linear, weight, bias, generator, rows) for rows in _ROWS]
    except (RuntimeError, AttributeError, NotImplementedError) as error:
        _log.info("this torch has no %s kernel for this processor: %s", kernel, error)
        return False
    tolerance = _BF16_TOLERANCE if linear.dtype is torch.bfloat16 else _SUM_TOLERANCE
    if max(errors) > tolerance:
        _log.warning(
            "the %s kernel gives wrong results: off by %.1e of the largest output", kernel, max(errors)
        )
    return max(errors) <= tolerance


def _error(
    linear: Linear, weight: torch.Tensor, bias: torch.Tensor, generator: torch.Generator, rows: int
) -> float:
    """The largest error, relative to the largest output."""
    x = torch.randn(rows, _IN, generator=generator).to(linear.dtype)
    exact = x.double() @ weight.double().t() + bias.double()
    return float((linear(x).double() - exact).abs().max() / exact.abs().max())


_Probe: TypeAlias = tuple[Linear, torch.Tensor, torch.Tensor]
"""The kernel with its weight and bias, then the weight it represents, and the bias."""


def _f16(generator: torch.Generator) -> _Probe:
    weight = torch.randn(_OUT, _IN, generator=generator).half().float()
    bias = torch.randn(_OUT, generator=generator)
    return F16Linear(weight, bias), weight, bias


def _bf16(generator: torch.Generator) -> _Probe:
    weight = torch.randn(_OUT, _IN, generator=generator).bfloat16().float()
    bias = torch.randn(_OUT, generator=generator)
    return BF16Linear(weight, bias), weight, bias


def _int8(generator: torch.Generator) -> _Probe:
    codes = torch.randint(-127, 128, (_OUT, _IN), generator=generator).float()
    codes[:, 0] = 127.0  # Makes the kernel choose exactly the scale below.
    weight = codes * 2.0 ** -torch.randint(5, 9, (_OUT, 1), generator=generator)
    bias = torch.randn(_OUT, generator=generator)
    return Int8Linear(weight, bias), weight, bias


def _int4(generator: torch.Generator) -> _Probe:
    codes = torch.randint(0, 16, (_OUT, _IN), generator=generator, dtype=torch.uint8)
    scale, zero = (torch.randn(_OUT, _IN // GROUP, generator=generator).bfloat16().float() for _ in range(2))
    blocks = Int4Blocks(codes.numpy(), scale.numpy(), (zero - CENTRE * scale).numpy())
    bias = torch.randn(_OUT, generator=generator)
    return Int4Linear(blocks, bias), tensor_of(blocks.dequantized()), bias


def _int8_head(generator: torch.Generator) -> _Probe:
    codes = torch.randint(-127, 128, (_OUT, _IN), generator=generator).float()
    codes[: _OUT // 2] = 127.0  # Saturates where pairs of products are summed in 16 bits.
    codes[:, 0] = 127.0  # Makes the kernel choose exactly the scale below.
    weight = codes * 2.0 ** -torch.randint(5, 9, (_OUT, 1), generator=generator)
    return Int8Scan(weight), weight, torch.zeros(_OUT)


def _has_integer_products() -> bool:
    """Whether the processor sums 8-bit products in 32 bits. Without that, oneDNN's product is slow or saturates."""
    capabilities = torch.cpu.get_capabilities()
    return any(capabilities.get(name) for name in ("avx512_vnni", "avx_vnni", "dot"))


def _is_vectorised() -> bool:
    """Whether the 8-bit and 4-bit kernels use vectors: on x86 without AVX2 they are plain loops, slower than float32."""
    is_x86 = platform.machine().lower() in ("x86_64", "amd64")
    return not is_x86 or torch.backends.cpu.get_cpu_capability() in _VECTOR_CAPABILITIES


def has_bf16_instructions() -> bool:
    """Whether the processor has bfloat16 products. Without them oneDNN converts, slower than float32."""
    capabilities = torch.cpu.get_capabilities()
    return any(capabilities.get(name) for name in ("avx512_bf16", "amx_bf16", "bf16"))


_PROBES: Final[dict[Kernel, tuple[Callable[[], bool], Callable[[torch.Generator], _Probe]]]] = {
    "f16": (lambda: True, _f16),
    "bf16": (has_bf16_instructions, _bf16),
    "int8": (_is_vectorised, _int8),
    "int4": (_is_vectorised, _int4),
    "int8_head": (_has_integer_products, _int8_head),
}
