"""A decode step over 4-bit layers as one TorchScript call: a seventh less CPU time than the same calls from Python, and
the GIL is left to others meanwhile. SmolLM2, one thread, Zen 4: 8.3 ms a step, 9.5 by `model`.

The same computation as `model.DecoderModel` for one row, which is there for every other kind of weights. TorchScript is
deprecated in favour of torch.compile, which takes a minute and a C++ compiler: where a torch no longer has it, the same
source runs as Python.
"""

# No `from __future__ import annotations`: TorchScript reads the annotations.

import logging
import math
import warnings
from collections.abc import Callable, Sequence
from typing import Any, List, NamedTuple, Optional, cast  # noqa: UP035 - TorchScript knows no other names for them

import torch
from torch import Tensor

from ttchat_tui.engine.cpu.checkpoints.checkpoint import ModelConfig
from ttchat_tui.engine.cpu.weights.int4_linear import Int4Linear
from ttchat_tui.engine.cpu.weights.linear import ByRows, Linear
from ttchat_tui.engine.cpu.weights.weights import LayerWeights

OneRow = Callable[[Tensor, Tensor, int, "list[Tensor]"], None]
"""(x float32 [1, hidden], changed in place; turns complex64 [1, 1, head_size / 2]; position; the layers of the cache)."""

_jit: Any = torch.jit
_log = logging.getLogger(__name__)


class Int4Layer(NamedTuple):
    """`LayerWeights` as tensors: of each matrix its codes, and its scales and zero points."""

    attn_norm: Tensor
    qkv: Tensor
    qkv_scale: Tensor
    qkv_bias: Optional[Tensor]  # noqa: UP045
    qk_norm: Optional[Tensor]  # noqa: UP045
    window: int
    o: Tensor
    o_scale: Tensor
    ffn_norm: Tensor
    gate_up: Tensor
    gate_up_scale: Tensor
    down: Tensor
    down_scale: Tensor


class Int4Stack(torch.nn.Module):
    """All layers. Space for q, k and v of the row, and its views, are made once."""

    layers: List[Int4Layer]  # noqa: UP006

    def __init__(self, config: ModelConfig, layers: Sequence[Int4Layer]) -> None:
        super().__init__()
        self.layers = list(layers)
        self.eps = config.norm_eps
        self.hidden_size = config.hidden_size
        self.ffn_size = config.ffn_size
        self.kv_heads = config.kv_heads
        self.zero = torch.zeros(1, config.hidden_size)
        rotated = config.heads + config.kv_heads
        self.qkv = torch.empty(1, (rotated + config.kv_heads) * config.head_size)
        heads = self.qkv.view(-1, config.head_size)
        self.rotated = heads.narrow(0, 0, rotated)
        self.pairs = torch.view_as_complex(self.rotated.view(rotated, -1, 2))
        self.grouped = heads.narrow(0, 0, config.heads).view(config.kv_heads, -1, config.head_size)
        self.new = heads.narrow(0, config.heads, 2 * config.kv_heads).unsqueeze(1)

    def forward(self, x: Tensor, turns: Tensor, position: int, caches: List[Tensor]) -> None:  # noqa: UP006
        turn = turns.view(1, -1)
        bf16 = torch.bfloat16
        for index, layer in enumerate(self.layers):
            qkv = torch.ops.aten._weight_int4pack_mm_for_cpu(
                self.norm(x, layer.attn_norm).to(bf16), layer.qkv, 32, layer.qkv_scale
            )
            attended = self.attend(layer, qkv, turn, position, caches[index]).to(bf16)
            x.add_(torch.ops.aten._weight_int4pack_mm_for_cpu(attended, layer.o, 32, layer.o_scale))
            gate_up = torch.ops.aten._weight_int4pack_mm_for_cpu(
                self.norm(x, layer.ffn_norm).to(bf16), layer.gate_up, 32, layer.gate_up_scale
            )
            gated = torch.nn.functional.silu(gate_up.narrow(1, 0, self.ffn_size))
            gated.mul_(gate_up.narrow(1, self.ffn_size, self.ffn_size))
            x.add_(torch.ops.aten._weight_int4pack_mm_for_cpu(gated, layer.down, 32, layer.down_scale))

    def norm(self, x: Tensor, weight: Tensor) -> Tensor:
        row = x.view(-1)
        scale = 1.0 / math.sqrt(float(torch.dot(row, row)) / self.hidden_size + self.eps)
        return torch.addcmul(self.zero, x, weight, value=scale)

    def attend(self, layer: Int4Layer, qkv: Tensor, turn: Tensor, position: int, cache: Tensor) -> Tensor:
        bias, qk_norm = layer.qkv_bias, layer.qk_norm  # TorchScript narrows names, not attributes.
        if (
            bias is not None
        ):  # Rounded as `Int4Linear` does: rows of a draft, which it computes, are to agree bit for bit.
            qkv = qkv.float().add_(bias).to(torch.bfloat16)
        self.qkv.copy_(qkv)
        if qk_norm is not None:
            scale = torch.rsqrt(self.rotated.square().mean(-1, keepdim=True).add_(self.eps))
            self.rotated.mul_(scale).mul_(qk_norm)
        self.pairs.mul_(turn)
        cache.narrow(1, position, 1).copy_(self.new)
        count = position + 1
        if 0 < layer.window < count:
            count = layer.window
        seen = cache.narrow(1, position + 1 - count, count)
        keys = seen.narrow(0, 0, self.kv_heads)
        values = seen.narrow(0, self.kv_heads, self.kv_heads)
        weights = torch.bmm(self.grouped, keys.transpose(1, 2)).softmax(-1)
        return torch.bmm(weights, values).view(1, -1)


def one_row_of(config: ModelConfig, layers: Sequence[LayerWeights]) -> Optional[OneRow]:  # noqa: UP045
    """None where a matrix is not in 4 bits, or has a bias that is not q's, k's and v's."""
    held = [_int4_layer(layer) for layer in layers]
    if not all(held):
        return None
    return _scripted(Int4Stack(config, [layer for layer in held if layer is not None]))


def _int4_layer(layer: LayerWeights) -> Optional[Int4Layer]:  # noqa: UP045
    qkv, o, gate_up, down = (_int4(linear) for linear in (layer.qkv, layer.o, layer.gate_up, layer.down))
    if qkv is None or o is None or gate_up is None or down is None:
        return None
    if o.bias is not None or gate_up.bias is not None or down.bias is not None:
        return None
    return Int4Layer(
        layer.attn_norm, qkv.packed, qkv.scale_zero, qkv.bias, layer.qk_norm, layer.window, o.packed, o.scale_zero,
        layer.ffn_norm, gate_up.packed, gate_up.scale_zero, down.packed, down.scale_zero,
    )  # fmt: skip


def _int4(linear: Linear) -> Optional[Int4Linear]:  # noqa: UP045
    few = linear.few if isinstance(linear, ByRows) else linear
    return few if isinstance(few, Int4Linear) else None


def _scripted(stack: Int4Stack) -> OneRow:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            script: Any = _jit.script(stack)
    except (
        RuntimeError,
        AttributeError,
        OSError,
    ) as error:  # OSError: no source, as in a frozen application.
        _log.info("decode steps run as Python, a tenth slower, for want of TorchScript: %s", error)
        return cast(OneRow, stack)

    def run(x: Tensor, turns: Tensor, position: int, caches: "list[Tensor]") -> None:
        # Otherwise the first steps are profiled and specialised: 0.3 s for nothing.
        with _jit.optimized_execution(False):
            script(x, turns, position, caches)

    return run
