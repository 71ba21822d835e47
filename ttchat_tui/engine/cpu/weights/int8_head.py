"""The output head in 8 bits by oneDNN's integer product, and the best tokens' logits again, from 16-bit weights.

A weight takes one byte, with one scale a row. Activations take 16 bits, as two rows of 8: the sums are exact integers, of
which the second is a finer digit of the first. 8 bits would not do (hidden states have a few large elements), and two
rows cost what one does, as weights are read once. On SmolLM2's 2,324 tokens of real text the head by itself moves the
distribution by a KL divergence of about 0.001 nats, with the 64 best tokens scored again by 0.0002.
"""

from __future__ import annotations

from typing import Any, Final

import torch

from ttchat_tui.engine.cpu.weights.linear import Packed

_LARGEST: Final = 127.0
_ZERO: Final = 128
"""The unsigned code of 0: the product takes unsigned activations."""
_FINER: Final = 254.0
"""Steps of the finer digit in one of the coarser: it reaches half a step to both sides, which is 127."""
_LEAST_SCALE: Final = 1e-30
_BLOCK: Final = 4096
"""Rows that are converted at once: a head in float32 is a large part of a small model's memory."""
_CANDIDATES: Final = 64
"""Tokens whose logits are computed again."""


class Int8Scan:
    """x float32 [rows, in] → float32 [rows, out]. A row has the same bits alone and among others."""

    dtype: torch.dtype = torch.float32

    def __init__(self, weight: torch.Tensor) -> None:
        """
        Args:
            weight: [out, in] of any float type.
        Raises:
            RuntimeError: oneDNN has no such product here.
        """
        # Called through torch.ops: the operators of torch's own quantiser have no public name.
        scales: list[torch.Tensor] = []
        codes = torch.empty(weight.shape, dtype=torch.int8)
        for start in range(0, weight.shape[0], _BLOCK):
            rows = weight[start : start + _BLOCK].float()
            scale = (rows.abs().amax(dim=1) / _LARGEST).clamp_(min=_LEAST_SCALE)
            codes[start : start + _BLOCK] = (rows / scale.unsqueeze(1)).round_()
            scales.append(scale)
        self._scale = torch.cat(scales)
        self._zeros = torch.zeros(weight.shape[0], dtype=torch.long)
        self._packed: Packed = torch.ops.onednn.qlinear_prepack(codes, [2, weight.shape[1]])
        self._run: Any = torch.ops.onednn.qlinear_pointwise.default

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        rows = x.shape[0]
        step = (x.abs().amax(dim=1, keepdim=True) / _LARGEST).clamp_(min=_LEAST_SCALE)
        digits = x / step
        coarse = digits.round()
        fine = digits.sub_(coarse).mul_(_FINER).round_()
        codes = torch.cat((coarse, fine)).add_(_ZERO).to(torch.uint8)
        y: torch.Tensor = self._run(
            codes, 1.0, _ZERO, self._packed, self._scale, self._zeros, None, 1.0, 0, torch.float32, "none", [], ""
        )  # fmt: skip
        # One rounding an operation: fused ones could give a row other bits among others.
        return y[:rows].add_(y[rows:].mul_(1.0 / _FINER)).mul_(step)


class RescoredHead:
    """hidden [rows, hidden], normed without the norm's weight → float32 logits [rows, vocab]."""

    dtype: torch.dtype = torch.float32

    def __init__(self, rows: torch.Tensor, norm: torch.Tensor) -> None:
        """
        Args:
            rows: the head's weight [vocab, hidden], kept to score from; may be the embedding.
            norm: [hidden], the final norm's weight.
        """
        # The norm's weight goes to the activations, which have the finer steps.
        self._scan = Int8Scan(rows)
        self._rows = rows
        self._norm = norm

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        x = x.float() * self._norm
        logits = self._scan(x)
        best = logits.topk(min(_CANDIDATES, logits.shape[1]), dim=-1, sorted=False).indices
        for row in range(x.shape[0]):  # One by one: a product of several sums in another order.
            ids = best[row]
            logits[row].index_copy_(0, ids, torch.mv(self._rows.index_select(0, ids).float(), x[row]))
        return logits
