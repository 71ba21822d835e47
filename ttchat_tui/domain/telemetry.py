"""What the kernel's driver tells of a Tenstorrent card, and who uses it."""

from __future__ import annotations

import msgspec


class Holder(msgspec.Struct, frozen=True):
    """A process that has a card open."""

    pid: int
    name: str
    """Its command's name; empty where that cannot be read."""


class CardReading(msgspec.Struct, frozen=True, kw_only=True):
    """One card at one moment. None (or empty) where driver or firmware do not tell.

    A chip behind another one (the second of an n300, the remote ones of a T3000) has no reading of its own.
    """

    index: int
    """N of /dev/tenstorrent/N."""
    card_type: str = ""
    """`n150`, `p150a`."""
    serial: str = ""
    firmware: str = ""
    """Version of the firmware bundle."""
    clock_mhz: float | None = None
    """Of the Tensix cores (AICLK)."""
    temperature_c: float | None = None
    temperature_max_c: float | None = None
    voltage_v: float | None = None
    current_a: float | None = None
    power_w: float | None = None
    power_max_w: float | None = None
    fan_rpm: float | None = None
    """Blackhole only."""
    heartbeat: int | None = None
    """Changes while the firmware is alive."""
    holders: tuple[Holder, ...] = ()
