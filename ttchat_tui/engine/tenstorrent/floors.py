"""The oldest driver and firmware for each generation of tt-metal, from its INSTALLING.md, and comparing versions."""

from __future__ import annotations

import re
from typing import Final

import msgspec


class Floor(msgspec.Struct, frozen=True):
    driver: str
    """Version of tt-kmd."""
    firmware: str
    """Version of the firmware bundle."""


_NEWEST: Final = Floor("2.8.0", "19.8.1")
FLOORS: Final[dict[str, Floor]] = {
    "S1": Floor("1.33", "80.17"),
    "S3": Floor("2.1.0", "18.7.0"),
    "S4": Floor("2.5.0", "19.2.0"),
    "S5": _NEWEST,
    "S6": _NEWEST,
    "S7": _NEWEST,
}
"""S6 and S7 are not known to need more than S5. ttnn itself refuses what it cannot use."""
OLDEST: Final = FLOORS["S1"]

_OLD_NUMBERING: Final = 80
"""The first number of firmware bundles before 18.0: 80.17, 80.18, then 18.0."""


def numbers(version: str) -> tuple[int, ...]:
    """`19.8.1.0` and `v2.8.0-bh` as numbers, for comparison."""
    match = re.search(r"\d+(\.\d+)*", version)
    return tuple(int(part) for part in match[0].split(".")) if match else ()


def firmware_numbers(version: str) -> tuple[int, ...]:
    """As `numbers`; bundles of the old numbering come before all others."""
    found = numbers(version)
    return (0, *found[1:]) if found[:1] >= (_OLD_NUMBERING,) else found
