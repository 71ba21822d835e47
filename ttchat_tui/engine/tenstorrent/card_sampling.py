"""What the card's own samplers can do, and our sampling parameters in their words.

The first token of a reply is drawn by the host, from the prefill's logits, under the same limits: a reply is drawn in one
way from its first token to its last.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Sequence
from typing import Any, Final

import msgspec
import torch

from ttchat_tui.domain.generation import Candidate, GenerationControl, GenerationRequest
from ttchat_tui.domain.sampling import SamplingParams

HOST_PARAMETERS: Final = frozenset({"max_tokens", "stop"})
"""What ends a reply is the host's business, whoever draws."""

MAX_CANDIDATES: Final = 32
"""The card looks at so many candidates; upstream's `format_sampling_params` cuts top-k there."""

_DRAWN: Final = ("temperature", "top_k", "top_p")
_PENALTIES: Final = ("presence_penalty", "frequency_penalty", "repetition_penalty")
_NEUTRAL: Final = SamplingParams(temperature=0.0, top_k=0, top_p=1.0, min_p=0.0)
"""Each parameter as if it were not there; without a temperature that is greedy."""
_LARGEST_SEED: Final = 2**31 - 1

GREEDY: Final = SamplingParams(temperature=0.0, top_k=1, top_p=1.0)
SAMPLER_PROGRAMS: Final = (
    SamplingParams(temperature=0.0, top_k=1, top_p=1.0, presence_penalty=0.1),
    SamplingParams(temperature=1.0, top_k=MAX_CANDIDATES, top_p=0.9, presence_penalty=0.1),
    SamplingParams(temperature=1.0, top_k=MAX_CANDIDATES, top_p=0.9),
    GREEDY,
)
"""The card's sampler has a program for each of these."""

_UNUSED: Final = -1
"""Pads the histories of tokens: upstream's penalties leave out what is below 0."""


class Draws(msgspec.Struct, frozen=True, kw_only=True):
    """How the card is to draw the next token of each of its rows."""

    sampling: tuple[SamplingParams, ...]
    """Of each row; of one that is not in use, anything."""
    seeds: tuple[int, ...]
    has_changed: bool
    """It is not what the card was told last: a reply begins, or its parameters changed. What the card knows of earlier
    tokens is to be replaced as well."""
    prompt: Sequence[int]
    """Ids of the prompt, for the penalties; the same in each row."""
    replies: Sequence[Sequence[int]]
    """Ids of each row's reply so far, the one that is fed now included; empty for rows not in use."""

    def histories(self) -> dict[str, torch.Tensor]:
        """`prompt_tokens` [rows, longest prompt] and `output_tokens` [rows, longest reply], int64, padded with -1."""
        prompts = [self.prompt if reply else () for reply in self.replies]
        return {"prompt_tokens": _padded(prompts), "output_tokens": _padded(self.replies)}


def supported_parameters(fields: Collection[str]) -> frozenset[str]:
    """Names of the `SamplingParams` of ours that hold when the card draws.

    Args:
        fields: of the generation's `SamplingParams`; none where it only takes the most probable token.
    """
    return HOST_PARAMETERS | {name for name in (*_DRAWN, *_PENALTIES, "seed") if name in fields}


def limit_sampling(sampling: SamplingParams, names: Collection[str]) -> SamplingParams:
    """`sampling` as far as the card does it: what is not in `names` cuts nothing (without a temperature: greedy), and
    no more than `MAX_CANDIDATES` candidates are looked at."""
    kept = {name: getattr(sampling, name) for name in {*names, "seed"}}
    if "top_k" in names and not 0 < sampling.top_k <= MAX_CANDIDATES:
        kept["top_k"] = MAX_CANDIDATES
    return msgspec.structs.replace(_NEUTRAL, **kept)


def limit_request(request: GenerationRequest, names: Collection[str]) -> GenerationRequest:
    """The same request, its sampling and that of its candidates `limited`."""

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
    """The user's control as an engine reads it, with `limited` sampling."""

    def __init__(self, control: GenerationControl, names: Collection[str]) -> None:
        super().__init__(control.sampling)
        self._control = control
        self._names = names

    @property
    def is_cancelled(self) -> bool:
        return self._control.is_cancelled

    @property
    def sampling(self) -> SamplingParams:
        return limit_sampling(self._control.sampling, self._names)


def native_greedy(kind: type[Any]) -> Any:
    """The only instance of S1's to S3's `SamplingParams` that their card takes."""
    return kind(temperature=0.0, top_k=-1, top_p=1.0)


def native_sampling(kind: type[Any], draws: Draws) -> Any:
    """An instance of a generation's `SamplingParams` with a list for each row, of the fields that it has.

    A seed is always given: a reply can be had again, and S5 records no trace of a sampler that is seeded.
    """
    columns: dict[str, list[float]] = {
        name: [getattr(sampling, name) for sampling in draws.sampling] for name in (*_DRAWN, *_PENALTIES)
    }
    columns["seed"] = [1 + seed % _LARGEST_SEED for seed in draws.seeds]
    named = {field.name for field in dataclasses.fields(kind)}
    return kind(**{name: column for name, column in columns.items() if name in named})


def _padded(rows: Sequence[Sequence[int]]) -> torch.Tensor:
    padded = torch.full((len(rows), max(1, *map(len, rows))), _UNUSED, dtype=torch.long)
    for row, ids in enumerate(rows):
        padded[row, : len(ids)] = torch.tensor(ids, dtype=torch.long)
    return padded
