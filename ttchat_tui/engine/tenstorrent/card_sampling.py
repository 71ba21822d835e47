"""Device sampling: the limits of the card's samplers, and our sampling parameters in their terms.

The host samples the first token of a reply, from the prefill's logits, under the same limits: the whole reply is sampled
in the same way.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Sequence
from typing import Any, Final

import msgspec
import torch

from ttchat_tui.domain.generation import Candidate, Forced, GenerationControl, GenerationRequest
from ttchat_tui.domain.sampling import SamplingParams

HOST_PARAMETERS: Final = frozenset({"max_tokens", "stop"})
"""Parameters that end a reply. The host applies them, also with device sampling."""

MAX_CANDIDATES: Final = 32
"""Most probable tokens that the card samples from; upstream's `format_sampling_params` limits top-k to this."""

_DRAWN: Final = ("temperature", "top_k", "top_p")
_PENALTIES: Final = ("presence_penalty", "frequency_penalty", "repetition_penalty")
_NEUTRAL: Final = SamplingParams(temperature=0.0, top_k=0, top_p=1.0, min_p=0.0)
"""Every parameter at its neutral value. Without a temperature, sampling is greedy."""
_MAX_SEED: Final = 2**31 - 1

GREEDY: Final = SamplingParams(temperature=0.0, top_k=1, top_p=1.0)
SAMPLER_PROGRAMS: Final = (
    SamplingParams(temperature=0.0, top_k=1, top_p=1.0, presence_penalty=0.1),
    SamplingParams(temperature=1.0, top_k=MAX_CANDIDATES, top_p=0.9, presence_penalty=0.1),
    SamplingParams(temperature=1.0, top_k=MAX_CANDIDATES, top_p=0.9),
    GREEDY,
)
"""Parameters that select each of the programs of the card's sampler."""

_UNUSED: Final = -1
"""Padding of token histories: upstream's penalties ignore ids below 0."""


class DrawParameters(msgspec.Struct, frozen=True, kw_only=True):
    """Sampling of one step on the card, for all of its rows."""

    sampling: tuple[SamplingParams, ...]
    """One for each row; arbitrary for unused rows."""
    seeds: tuple[int, ...]
    has_changed: bool
    """A reply starts, or its parameters changed since the last step. The card's token histories are replaced too."""
    prompt: Sequence[int]
    """Ids of the prompt, for the penalties; the same for each row."""
    replies: Sequence[Sequence[int]]
    """Ids of each row's reply so far, including the one fed in this step; empty for unused rows."""

    def histories(self) -> dict[str, torch.Tensor]:
        """`prompt_tokens` [rows, longest prompt] and `output_tokens` [rows, longest reply], int64, padded with -1."""
        prompts = [self.prompt if reply else () for reply in self.replies]
        return {"prompt_tokens": _padded(prompts), "output_tokens": _padded(self.replies)}


def supported_parameters(fields: Collection[str]) -> frozenset[str]:
    """Names of our `SamplingParams` that device sampling honours.

    Args:
        fields: of the generation's own `SamplingParams`; empty if its sampler is greedy only.
    """
    return HOST_PARAMETERS | {name for name in (*_DRAWN, *_PENALTIES, "seed") if name in fields}


def limit_sampling(sampling: SamplingParams, names: Collection[str]) -> SamplingParams:
    """`sampling` within the limits of the card: fields not in `names` become neutral (no temperature: greedy), and top-k
    is at most `MAX_CANDIDATES`."""
    kept = {name: getattr(sampling, name) for name in {*names, "seed"}}
    if "top_k" in names and not 0 < sampling.top_k <= MAX_CANDIDATES:
        kept["top_k"] = MAX_CANDIDATES
    return msgspec.structs.replace(_NEUTRAL, **kept)


def limit_request(request: GenerationRequest, names: Collection[str]) -> GenerationRequest:
    """The same request with `limit_sampling` applied to every row."""

    def own(candidate: Candidate) -> Candidate:
        if candidate.sampling is None:
            return candidate
        return msgspec.structs.replace(candidate, sampling=limit_sampling(candidate.sampling, names))

    return msgspec.structs.replace(
        request,
        sampling=limit_sampling(request.sampling, names),
        candidates=tuple(own(candidate) for candidate in request.candidates),
    )


class LimitedControl(GenerationControl):
    """The user's control with `limit_sampling` applied to its parameters."""

    def __init__(self, control: GenerationControl, names: Collection[str]) -> None:
        super().__init__(control.sampling)
        self._control = control
        self._names = names

    @property
    def is_cancelled(self) -> bool:
        return self._control.is_cancelled

    @property
    def is_paused(self) -> bool:
        return self._control.is_paused

    @property
    def forced(self) -> tuple[Forced, ...]:
        return self._control.forced

    @property
    def stopped_rows(self) -> frozenset[int]:
        return self._control.stopped_rows

    def await_step(self, forced_taken: int | None = None, was_previewed: bool = True) -> bool:
        return self._control.await_step(forced_taken)  # the card keeps the scores: nothing is previewed

    def set_sampling(self, sampling: SamplingParams) -> None:
        self._control.set_sampling(sampling)

    @property
    def sampling(self) -> SamplingParams:
        return limit_sampling(self._control.sampling, self._names)


def native_greedy(kind: type[Any]) -> Any:
    """The only `SamplingParams` that the card accepts in S1 to S3."""
    return kind(temperature=0.0, top_k=-1, top_p=1.0)


def native_sampling(kind: type[Any], draws: DrawParameters) -> Any:
    """A generation's `SamplingParams`, with a value per row for each field that it has.

    There is always a seed: it makes replies reproducible, and S5 records no trace of a seeded sampler.
    """
    columns: dict[str, list[float]] = {
        name: [getattr(sampling, name) for sampling in draws.sampling] for name in (*_DRAWN, *_PENALTIES)
    }
    columns["seed"] = [1 + seed % _MAX_SEED for seed in draws.seeds]
    named = {field.name for field in dataclasses.fields(kind)}
    return kind(**{name: column for name, column in columns.items() if name in named})


def _padded(rows: Sequence[Sequence[int]]) -> torch.Tensor:
    padded = torch.full((len(rows), max(1, *map(len, rows))), _UNUSED, dtype=torch.long)
    for row, ids in enumerate(rows):
        padded[row, : len(ids)] = torch.tensor(ids, dtype=torch.long)
    return padded
