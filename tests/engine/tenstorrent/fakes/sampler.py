"""The sampler on the scripted card (models/common/sampling/generator.py of S5): parameters, penalties and seeds of each
row, which stay as they were until a generation has a reason to replace them."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any, Final, Literal, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray

from tests.engine.tenstorrent.fakes.card import FakeMesh
from tests.engine.tenstorrent.fakes.checkpoint import VOCAB

MAX_K: Final = 32
_DEFAULTS: Final = {
    "presence_penalty": 0.0,
    "frequency_penalty": 0.0,
    "repetition_penalty": 1.0,
    "seed": None,
}

Counted: TypeAlias = Literal["position", "draw"]
"""What a seeded draw depends on besides its seed: S5 ties it to the absolute position
(`align_seed_counters_to_positions`)."""


class FakeSampler:
    """`SamplingGenerator` with its `TTPenalties` and `SeedManager`."""

    def __init__(self, mesh: FakeMesh, batch: int, counted: Counted) -> None:
        self._mesh = mesh
        self._batch = batch
        self._counted = counted
        self._rows: list[dict[str, Any]] = []
        self._has_penalties = False
        self._prompt: NDArray[np.bool_] = np.zeros((batch, VOCAB), dtype=np.bool_)
        self._counts: NDArray[np.float32] = np.zeros((batch, VOCAB), dtype=np.float32)
        self._draws = [0] * batch

    def load(self, params: Any) -> None:
        """`format_sampling_params` and `reset_sampling_params`: new parameters, nothing else.

        Raises:
            AssertionError: a list that is not one of each row.
        """
        values = dataclasses.asdict(params)
        columns = {
            name: value if isinstance(value, list) else [value] * self._batch
            for name, value in values.items()
        }
        assert all(len(column) == self._batch for column in columns.values()), "a list for each row is wanted"
        self._rows = [{name: column[row] for name, column in columns.items()} for row in range(self._batch)]
        self._has_penalties = any(
            row[name] != _DEFAULTS[name]
            for row in self._rows
            for name in ("presence_penalty", "frequency_penalty", "repetition_penalty")
        )

    def reset(self, prompt_tokens: torch.Tensor | None, output_tokens: torch.Tensor | None) -> None:
        """`reset_prompt_tokens`, `reset_output_state` and the seeds: without penalties earlier tokens stay as they are."""
        self._draws = [0] * self._batch
        if not self._has_penalties:
            return
        assert prompt_tokens is not None, "penalties without the prompt's tokens"
        self._prompt = _counts(prompt_tokens) > 0
        self._counts = np.zeros_like(self._counts) if output_tokens is None else _counts(output_tokens)

    def sample(self, logits: torch.Tensor, positions: torch.Tensor) -> torch.Tensor:
        """Ids int64 [batch] from logits [batch, 1, vocab]; 0 for rows not in use (position below 0)."""
        assert self._rows, "no sampling parameters were loaded"
        self.compile()
        ids = torch.zeros(self._batch, dtype=torch.long)
        for row, position in enumerate(positions.tolist()):
            if position >= 0:
                count = position if self._counted == "position" else self._draws[row]
                ids[row] = self._draw(logits[row, 0].numpy(), row, count)
                self._draws[row] += 1
                if self._has_penalties:
                    self._counts[row, ids[row]] += 1
        return ids

    def compile(self) -> None:
        """A program for each kind of sampling."""
        self._mesh.compile(
            "sampling", self._has_penalties, all(row["temperature"] == 0 for row in self._rows)
        )

    def _draw(self, logits: NDArray[np.float32], row: int, count: int) -> int:
        """Presence and frequency come before repetition (tt_penalties.py `apply_penalties`), then k, temperature, p."""
        params = self._rows[row]
        scores = logits.copy()
        if self._has_penalties:
            scores -= params["presence_penalty"] * (self._counts[row] > 0)
            scores -= np.float32(params["frequency_penalty"]) * self._counts[row]
            seen = self._prompt[row] | (self._counts[row] > 0)
            factor = np.float32(params["repetition_penalty"])
            scores = np.where(seen, np.where(scores > 0, scores / factor, scores * factor), scores)
        if params["temperature"] == 0:
            return int(scores.argmax())
        k = params["top_k"] if 1 <= params["top_k"] <= MAX_K else MAX_K
        best = np.argsort(-scores, kind="stable")[:k]
        weights = np.exp((scores[best] - scores[best[0]]) / params["temperature"], dtype=np.float64)
        shares = np.cumsum(weights / weights.sum())
        kept = int(np.searchsorted(shares, min(params["top_p"], 1.0))) + 1
        seed = params.get("seed")
        assert seed is None or 0 < seed < 2**31, "a seed that is no positive int32"
        generator = np.random.default_rng(None if seed is None else [seed, count])
        drawn = generator.random() * shares[min(kept, k) - 1]
        return int(best[int(np.searchsorted(shares, drawn, side="right"))])


def _counts(tokens: torch.Tensor) -> NDArray[np.float32]:
    """How often each id is in each row of [batch, n]; -1 pads."""
    rows: Sequence[list[int]] = tokens.tolist()
    counts = np.zeros((len(rows), VOCAB), dtype=np.float32)
    for row, ids in enumerate(rows):
        for token in ids:
            if token >= 0:
                counts[row, token] += 1
    return counts
