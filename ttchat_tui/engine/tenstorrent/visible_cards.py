"""The cards that native code will open: those that the environment leaves visible, whatever the mesh."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from ttchat_tui.engine.tenstorrent.telemetry import System

MOCK: Final = "TT_METAL_MOCK_CLUSTER_DESC_PATH"
"""ttnn opens a card that exists only as this file."""

VISIBLE_VARIABLES: Final[tuple[str, ...]] = ("TT_VISIBLE_DEVICES", "TT_METAL_VISIBLE_DEVICES")
"""The newer and the older name (tt-metal 0.59) of the variable that hides cards."""
_CHIPS: Final = (("n150", 1), ("n300", 2), ("p100", 1), ("p150", 1))
"""Beginning of the driver's card type, and the chips behind one device file."""


def visible_numbers(system: System, environ: Mapping[str, str]) -> list[int]:
    """Numbers of the visible cards, as in /dev/tenstorrent."""
    shown = next((environ[name] for name in VISIBLE_VARIABLES if environ.get(name)), "")
    words = [word.strip() for word in shown.split(",") if word.strip()]
    numbers = system.card_numbers()
    # Other forms than plain numbers (bus addresses) are not parsed: every card counts then.
    if not words or not all(word.isdigit() for word in words):
        return numbers
    return [number for number in numbers if str(number) in words]


def chip_count(system: System, environ: Mapping[str, str]) -> int | None:
    """Chips on the visible cards, by the driver; None if it does not report every type, or ttnn opens a mock."""
    numbers = set(visible_numbers(system, environ))
    types = [card.card_type.lower() for card in system.read_cards() if card.index in numbers]
    counts = [next((count for name, count in _CHIPS if each.startswith(name)), None) for each in types]
    known = [count for count in counts if count is not None]
    return sum(known) if known and len(known) == len(counts) and not environ.get(MOCK) else None
