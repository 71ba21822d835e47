"""Readings of a Tenstorrent card from the kernel driver."""

from __future__ import annotations

from typing import Final

import msgspec

SYSTEM_ROOT: Final = "TTCHAT_SYSTEM_ROOT"
"""For tests and demonstrations: a variable that names a folder with sys, proc and dev that replaces `/`."""


class Holder(msgspec.Struct, frozen=True):
    """A process that has a card open."""

    pid: int
    name: str
    """The name of its command; empty if it cannot be read."""


class CardReading(msgspec.Struct, frozen=True, kw_only=True):
    """One card at one moment. A field is None or empty if driver or firmware do not report it.

    Remote chips, such as the second one of an n300, have no readings of their own.
    """

    index: int
    """N of /dev/tenstorrent/N."""
    card_type: str = ""
    """`n150`, `p150a`."""
    firmware: str = ""
    """Version of the firmware bundle."""
    clock_mhz: float | None = None
    """The clock of the Tensix cores (AICLK)."""
    temperature_c: float | None = None
    current_a: float | None = None
    power_w: float | None = None
    fan_rpm: float | None = None
    """Blackhole only."""
    holders: tuple[Holder, ...] = ()
