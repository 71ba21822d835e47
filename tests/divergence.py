"""Divergence of two models' predictions, position by position."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

_ROWS: Final = 64
"""Positions at a time: two tables of 64 x 49,152 doubles."""


@dataclass(frozen=True)
class Divergence:
    kl: float
    """Mean over positions of KL(reference || other) in nats: sum of p ln(p / q) over the vocabulary."""
    kl_p99: float
    """The same at the position that 99 % of all stay below."""
    top1: float
    """Share of positions at which both find the same token the most likely."""
    positions: int


def divergence(reference: NDArray[np.float32], other: NDArray[np.float32]) -> Divergence:
    """
    Args:
        reference, other: logits [positions, vocab], any of them memory-mapped.
    """
    assert reference.shape == other.shape, (reference.shape, other.shape)
    kl, same = [], []
    for start in range(0, len(reference), _ROWS):
        p, q = (_log_softmax(table[start : start + _ROWS]) for table in (reference, other))
        kl.append((np.exp(p) * (p - q)).sum(-1))
        same.append(p.argmax(-1) == q.argmax(-1))
    each = np.concatenate(kl)
    return Divergence(
        kl=float(each.mean()),
        kl_p99=float(np.quantile(each, 0.99)),
        top1=float(np.concatenate(same).mean()),
        positions=len(each),
    )


def _log_softmax(logits: Any) -> NDArray[np.float64]:
    rows = np.asarray(logits, np.float64)
    rows = rows - rows.max(-1, keepdims=True)
    return rows - np.log(np.exp(rows).sum(-1, keepdims=True))
