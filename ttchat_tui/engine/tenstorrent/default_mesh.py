"""The mesh where none is named: the chips of the only board, a Galaxy, or one chip of several boards.

Cards in one machine need not be joined by cables. If they are not, tt-metal fails to open even one of them (tt-metal
#32833), so the others are hidden from it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import msgspec

from ttchat_tui.domain.given_settings import setting
from ttchat_tui.domain.model_spec import TenstorrentOptions
from ttchat_tui.engine.tenstorrent.mesh import GALAXY_CHIPS, named_shape
from ttchat_tui.engine.tenstorrent.telemetry import System
from ttchat_tui.engine.tenstorrent.visible_cards import MOCK, VISIBLE_VARIABLES, visible_numbers

_ON_ONE_BOARD: Final = {
    ("n150", 1): "N150",
    ("n300", 1): "N300",
    ("p100", 1): "P100",
    ("p150", 1): "P150",
    ("p300", 2): "P300",
}
"""The driver's card type and number of device files → MESH_DEVICE. A P300 has a device file for each of its chips, an N300
has one."""

_JOINED: Final = {
    ("n150", 4): "N150x4",
    ("n300", 2): "N150x4",
    ("n300", 4): "T3K",
    ("p150", 2): "P150x2",
    ("p150", 4): "P150x4",
    ("p150", 8): "P150x8",
    ("p300", 4): "P300x2",
}
"""The same for cards that cables join."""

_ONE_CHIP: Final = {"n150": "N150", "n300": "N150", "p100": "P100", "p150": "P150", "p300": "P150", "": "1x1"}
"""Types of desktop cards, and the MESH_DEVICE that one of its chips equals. A container may hide the type."""


class MeshChoice(msgspec.Struct, frozen=True, kw_only=True):
    name: str
    """As in MESH_DEVICE; empty: the number of chips decides."""
    is_default: bool
    """The user named none."""
    variables: dict[str, str] = {}
    """To set before ttnn is imported."""
    note: str = ""
    """A sentence for the user."""


def named_mesh(options: TenstorrentOptions, environ: Mapping[str, str]) -> str:
    """The mesh that the user named, as in MESH_DEVICE; may be empty."""
    return (options.mesh_device or environ.get("MESH_DEVICE", "")).strip()


def choose_mesh(named: str, system: System, environ: Mapping[str, str]) -> MeshChoice:
    """The mesh that the user named, or the default of this machine.

    Raises:
        ModelLoadError: the name is unknown.
    """
    is_default = not named
    if named and named_shape(named) != (1, 1):
        return MeshChoice(name=named, is_default=False)
    shown = "".join(environ.get(variable, "") for variable in VISIBLE_VARIABLES)
    has_address = shown.strip("0123456789, ") != ""  # Of a bus: it names a card that is not read here.
    is_known = not environ.get(MOCK) and not has_address
    numbers = visible_numbers(system, environ) if is_known else []
    kinds = [card.card_type.lower()[:4] for card in system.read_cards() if card.index in numbers]
    board = (kinds[0], len(kinds)) if len(set(kinds)) == 1 else ("", len(kinds))
    if is_default and (name := "8x4" if len(kinds) == GALAXY_CHIPS else _ON_ONE_BOARD.get(board, "")):
        return MeshChoice(name=name, is_default=True)
    if len(kinds) < 2 or not _ONE_CHIP.keys() >= set(kinds):
        return MeshChoice(name=named, is_default=is_default)
    unit = "chips" if "p300" in kinds else "cards"  # a P300 has a device file for each of its chips
    return MeshChoice(
        name=named or _ONE_CHIP[kinds[0]],
        is_default=is_default,
        variables=dict.fromkeys(VISIBLE_VARIABLES, str(numbers[0])),
        note=one_chip_note(f"{len(kinds)} {unit}", _JOINED.get(board, "")) if is_default else "",
    )


def one_chip_note(found: str, joined: str = "") -> str:
    """Why one chip is used although `found` ("2 cards") were found.

    Args:
        joined: the name of the mesh if cables join them; may be unknown.
    """
    example = f', such as "{joined}"' if joined else ""
    return (
        f"{found} were found and one chip is used, because they need not be joined. If they are, "
        f"{setting('tt.mesh_device')} (or MESH_DEVICE) names more{example}."
    )
