"""The part of the table for sampling on the card: candidates, draws, penalties."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

import torch

_SEEDED: Final[dict[int, torch.Generator]] = {}
"""Core → its random numbers: a card has one source for each core, and each row of a batch its core."""


def split(x: torch.Tensor, size: int, dim: int = 0) -> tuple[torch.Tensor, ...]:
    return torch.split(x, size, dim)


def topk(
    x: torch.Tensor, k: int, dim: int = -1, *, indices_tensor: torch.Tensor | None = None
) -> tuple[torch.Tensor, torch.Tensor]:
    """Values and their indices. `indices_tensor` holds the latter, counted from 0: S5 hands half of it."""
    values, indices = x.topk(k, dim)
    return values, indices


def manual_seed(*, seeds: torch.Tensor, user_ids: torch.Tensor) -> None:
    for seed, core in zip(seeds.reshape(-1).tolist(), user_ids.reshape(-1).tolist(), strict=True):
        _SEEDED[core] = torch.Generator().manual_seed(seed)


def sampling(
    values: torch.Tensor, indices: torch.Tensor, *, k: torch.Tensor, p: torch.Tensor, temp: torch.Tensor
) -> torch.Tensor:
    """[1, 1, rows, candidates] logits and their ids → [1, 1, 1, rows] ids. `temp` multiplies; p = 0 keeps the first."""
    rows: list[torch.Tensor] = []
    values = values.nan_to_num()  # Recorded behind a trace that no replay has filled yet.
    for row in range(values.shape[2]):
        best, order = (values[0, 0, row] * temp[row]).topk(int(k[row]))
        chances = best.softmax(-1)
        kept = torch.where(chances.cumsum(-1) - chances <= p[row], chances, 0.0)
        drawn = torch.multinomial(kept, 1, generator=_SEEDED.get(row))
        rows.append(indices[0, 0, row, order[drawn]])
    return torch.cat(rows).view(1, 1, 1, -1)


def where(condition: torch.Tensor, yes: Any, no: Any) -> torch.Tensor:
    return torch.where(condition != 0, yes, no)


def greater(a: torch.Tensor, b: Any) -> torch.Tensor:
    return (a > b).to(a.dtype)


def differs(a: torch.Tensor, b: Any) -> torch.Tensor:
    return (a != b).to(a.dtype)


def scatter_add(x: torch.Tensor, dim: int, index: torch.Tensor, source: torch.Tensor) -> torch.Tensor:
    return x.scatter_add(dim, index.long(), source.to(x.dtype))


SAMPLING: Final[Mapping[str, Callable[..., Any]]] = {
    "split": split,
    "topk": topk,
    "manual_seed": manual_seed,
    "sampling": sampling,
    "where": where,
    "gt": greater,
    "ne": differs,
    "scatter_add": scatter_add,
}
