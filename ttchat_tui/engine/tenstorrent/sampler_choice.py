"""Choice of the sampler: the card if the user wants that and it is possible, otherwise the host, with the reason."""

from __future__ import annotations

import importlib
import logging
from typing import Any, Final

import msgspec

from ttchat_tui.domain.given_settings import setting
from ttchat_tui.domain.model_spec import TenstorrentOptions
from ttchat_tui.engine.tenstorrent.environment import is_importable

log = logging.getLogger(__name__)

EXCLUDED: Final = ("Mistral-7B",)
"""Base names of models that upstream's own demo samples on the host (tt-metal #34763)."""

_LIMITS: Final = (
    "The card samples from the 32 most probable tokens at most. It has no min-p and reports no probabilities."
)
_GREEDY_ONLY: Final = (
    "The card samples. With this tt-metal it always takes the most probable one: temperature, top-k, top-p, "
    "penalties and seed have no effect."
)


class SamplerChoice(msgspec.Struct, frozen=True):
    kind: type[Any] | None
    """The generation's `SamplingParams`; None: the host samples."""
    notes: tuple[str, ...] = ()
    """Sentences for the user."""


def choose_sampler(
    options: TenstorrentOptions, generators: Any, model: Any, *, name: str, has_parameters: bool, label: str
) -> SamplerChoice:
    """For S1 to S6.

    Args:
        generators: the module of `Generator`; up to S5 it defines `SamplingParams` as well.
        model: the Transformer; from S4 on it knows whether its vocabulary is short enough for its chips.
        name: base name of the model.
        has_parameters: this generation's sampler is not greedy only.
        label: of the generation.
    """
    if options.sampling == "host":
        return SamplerChoice(None)
    kind = _sampling_params(generators)
    if kind is None:
        return sample_on_host(f"this tt-metal ({label}) has no SamplingParams")
    if name.startswith(EXCLUDED):
        return sample_on_host(f"upstream samples {name} on the host as well (tt-metal #34763)")
    if has_parameters and not getattr(model, "_supports_on_device_sampling", False):
        return sample_on_host(
            "the model's vocabulary is too long for so few chips (64 × 1,024 entries on each)"
        )
    return SamplerChoice(kind, (_LIMITS if has_parameters else _GREEDY_ONLY,))


def choose_package_sampler(options: TenstorrentOptions) -> SamplerChoice:
    """For S7, which needs the choice before the model is built."""
    if options.sampling == "host":
        return SamplerChoice(None)
    module = "tt_transformers.sampling.sampling_params"
    if not is_importable("tt_transformers", "tt_transformers.sampling", module):
        return sample_on_host("the installed tt_transformers has no SamplingParams")
    return SamplerChoice(importlib.import_module(module).SamplingParams, (_LIMITS,))


def _sampling_params(generators: Any) -> type[Any] | None:
    found: type[Any] | None = getattr(generators, "SamplingParams", None)
    if found is None and is_importable("models", "models.common", "models.common.sampling"):
        sampling: Any = importlib.import_module("models.common.sampling")
        found = getattr(sampling, "SamplingParams", None)
    return found


def sample_on_host(reason: str) -> SamplerChoice:
    """Sample on the host although the user wants the card to."""
    log.warning("sampling on the host: %s", reason)
    on_card = setting("tt.sampling", '"device"')
    return SamplerChoice(None, (f"{on_card} is not possible: {reason}. The host samples instead.",))
