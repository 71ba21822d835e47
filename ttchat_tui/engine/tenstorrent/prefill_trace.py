"""Choice of the prompts whose prefill is recorded (`[tt] prefill_trace`), with the reason if there are none."""

from __future__ import annotations

from typing import Any

import msgspec

from ttchat_tui.domain.given_settings import setting
from ttchat_tui.domain.model_spec import TenstorrentOptions
from ttchat_tui.engine.tenstorrent.adapter import Profile


class PrefillTrace(msgspec.Struct, frozen=True):
    lengths: tuple[int, ...] = ()
    """Padded lengths of the prompts whose prefill is recorded, ascending."""
    notes: tuple[str, ...] = ()
    """Sentences for the user."""


def choose_prefill_trace(
    options: TenstorrentOptions, profile: Profile, arguments: Any, *, card_samples: bool
) -> PrefillTrace:
    """For S1 to S6.

    Args:
        arguments: the model's; from S4 on they list the lengths that upstream records for this model and card.
    """
    if not options.prefill_trace:
        return PrefillTrace()
    if "enable_trace" not in profile.prefill_keywords:
        return _nothing(f"tt-metal records prefill from 2025-12 on, and this one is {profile.name}")
    if not options.trace:
        return _nothing(f"{setting('tt.trace')} is off")
    if card_samples:
        return _nothing("with sampling on the card, upstream reports wrong text (tt-metal #35100)")
    listed: list[int] = getattr(arguments, "trace_prefill_supported_seq_lens", [])
    lengths = tuple(sorted(length for length in listed if arguments.can_enable_trace(length)))
    if not lengths:
        return _nothing(f"tt-metal records no prefill of {arguments.model_name} on this card")
    return PrefillTrace(lengths)


def no_package_prefill_trace(options: TenstorrentOptions) -> tuple[str, ...]:
    """For S7: why `prefill_trace` has no effect, if it is set."""
    if not options.prefill_trace:
        return ()
    return _nothing("the tt_transformers package then refuses prompts of all other lengths").notes


def _nothing(reason: str) -> PrefillTrace:
    return PrefillTrace(notes=(f"{setting('tt.prefill_trace')} has no effect: {reason}.",))
