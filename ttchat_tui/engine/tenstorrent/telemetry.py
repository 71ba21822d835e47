"""Card telemetry from the kernel: sysfs, hwmon and proc of tt-kmd, read-only.

Not from tt-smi, pyluwen or tt_umd, which use the bus that the running model needs. Values that the driver or an older
firmware lacks are left out, and a card that disappears between two reads is no error. (Attributes: tt-kmd 2.x, 4af7192.)
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import msgspec

from ttchat_tui.domain.telemetry import SYSTEM_ROOT, CardReading, Holder

_DEVICE: Final = re.compile(r"tenstorrent!(\d+)")
_HWMON_NAMES: Final = ("wormhole", "blackhole")


class System(msgspec.Struct, frozen=True):
    """Where sys, proc and dev are."""

    root: Path = Path("/")

    @classmethod
    def of(cls, environ: Mapping[str, str]) -> System:
        return cls(Path(environ.get(SYSTEM_ROOT) or "/"))

    def card_numbers(self) -> list[int]:
        """Number of every card, from the driver's class and from /dev/tenstorrent, which may be all that a container has."""
        found = {int(match[1]) for each in _listed(self._class) if (match := _DEVICE.fullmatch(each.name))}
        found |= {int(each.name) for each in _listed(self.root / "dev/tenstorrent") if each.name.isdigit()}
        return sorted(found)

    def read_cards(self) -> tuple[CardReading, ...]:
        """One reading of every card. Takes well under a millisecond per card, longer for a card in trouble."""
        sensors = self._sensors()
        return tuple(self._card(number, sensors) for number in self.card_numbers())

    def holders(self, number: int) -> tuple[Holder, ...]:
        """Processes that have the card open, each once, in the driver's order."""
        text = _text(self.root / f"proc/driver/tenstorrent/{number}/pids")
        pids = dict.fromkeys(int(word) for word in text.split() if word.isdigit())
        return tuple(Holder(pid, _text(self.root / f"proc/{pid}/comm")) for pid in pids)

    def driver_version(self) -> str:
        """Version of the loaded tt-kmd; empty if none is loaded."""
        return _text(self.root / "sys/module/tenstorrent/version")

    @property
    def _class(self) -> Path:
        return self.root / "sys/class/tenstorrent"

    def _sensors(self) -> dict[Path, Path]:
        """PCI device → its hwmon folder, for each card."""
        folders = _listed(self.root / "sys/class/hwmon")
        return {
            _real(each / "device"): each
            for each in folders
            if _text(each / "name") in _HWMON_NAMES and (each / "device").exists()
        }

    def _card(self, number: int, sensors: Mapping[Path, Path]) -> CardReading:
        folder = self._class / f"tenstorrent!{number}"
        hwmon = sensors.get(_real(folder / "device")) if (folder / "device").exists() else None
        return CardReading(
            index=number,
            card_type=_text(folder / "tt_card_type"),
            firmware=_text(folder / "tt_fw_bundle_ver"),
            clock_mhz=_number(folder / "tt_aiclk"),
            temperature_c=_sensor(hwmon, "temp1_input", 1e3),
            current_a=_sensor(hwmon, "curr1_input", 1e3),
            power_w=_sensor(hwmon, "power1_input", 1e6),
            fan_rpm=_sensor(hwmon, "fan1_input", 1),
            holders=self.holders(number),
        )


def _sensor(hwmon: Path | None, name: str, units: float) -> float | None:
    value = None if hwmon is None else _number(hwmon / name)
    return None if value is None else value / units


def _number(file: Path) -> float | None:
    """The number in a file; None if it is missing, unreadable or not a number."""
    text = _text(file)
    try:
        return float(int(text, 0)) if text else None
    except ValueError:
        return None


def _text(file: Path) -> str:
    """The text of an attribute; empty if it is missing or unreadable (EIO from busy firmware, ENODEV during a reset)."""
    try:
        return file.read_text(encoding="ascii", errors="replace").strip()
    except OSError:
        return ""


def _listed(folder: Path) -> list[Path]:
    try:
        return list(folder.iterdir())
    except OSError:
        return []


def _real(link: Path) -> Path:
    try:
        return link.resolve()
    except OSError:
        return link
