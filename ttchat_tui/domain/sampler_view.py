"""What the sampler's preview shows of one step: what is kept with which share, and what each rule cuts."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from ttchat_tui.domain.recording import Cut


class ShownToken(msgspec.Struct, frozen=True):
    token_id: int
    share: float
    """Of a kept token its probability to be drawn, of a cut one its share of the distribution before the cuts."""
    cut: Cut


class Rest(msgspec.Struct, frozen=True):
    """Tokens that are not listed by themselves: those that are kept, or that one rule cuts."""

    cut: Cut
    tokens: int
    """0: unknown."""
    share: float
    """As in `ShownToken`."""


class SamplerView(msgspec.Struct, frozen=True):
    """One step under some settings.

    The distribution before the cuts is the model's, with penalties and temperature; greedy sampling takes it at temperature 1.
    """

    tokens: Sequence[ShownToken]
    """The most probable first."""
    rests: Sequence[Rest]
    """What is kept first, then in the order of the rules. Those without tokens are left out."""
    kept: int
    """How many tokens can be drawn."""
    kept_mass: float
    """Their share of the distribution before the cuts."""
    total: int
    """How many tokens there are: the vocabulary, or what was recorded of it."""
