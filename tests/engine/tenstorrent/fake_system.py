"""A folder with the sys, proc and dev that tt-kmd makes, for fake cards."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

N150_SENSORS = {
    "temp1_input": 47_250,
    "temp1_max": 75_000,
    "in0_input": 760,
    "curr1_input": 28_000,
    "power1_input": 21_000_000,
    "power1_max": 85_000_000,
}
P150_SENSORS = {
    "temp1_input": 51_500,
    "in0_input": 720,
    "curr1_input": 61_000,
    "power1_input": 44_500_000,
    "fan1_input": 2_310,
}


class FakeSystem:
    def __init__(self, root: Path) -> None:
        self.root = root
        (root / "sys/class/tenstorrent").mkdir(parents=True)
        (root / "sys/class/hwmon/hwmon0").mkdir(parents=True)
        self.write("sys/class/hwmon/hwmon0/name", "coretemp")
        self.write("sys/module/tenstorrent/version", "2.8.0")

    def write(self, path: str, value: object) -> Path:
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"{value}\n")
        return file

    def add_card(
        self,
        number: int,
        attributes: Mapping[str, object],
        sensors: Mapping[str, object],
        *,
        chip: str = "wormhole",
    ) -> None:
        """A card whose hwmon number differs from its own, as on a machine with other sensors."""
        pci = self.root / f"sys/devices/pci0000:00/0000:0{number + 1}:00.0"
        device = self.root / f"sys/class/tenstorrent/tenstorrent!{number}"
        pci.mkdir(parents=True)
        device.mkdir()
        (device / "device").symlink_to(pci)
        self.write(f"dev/tenstorrent/{number}", "")
        self.write(f"proc/driver/tenstorrent/{number}/pids", "")
        for name, value in attributes.items():
            self.write(f"sys/class/tenstorrent/tenstorrent!{number}/{name}", value)
        if sensors:
            hwmon = f"sys/class/hwmon/hwmon{7 - number}"
            self.write(f"{hwmon}/name", chip)
            (self.root / hwmon / "device").symlink_to(pci)
            for name, value in sensors.items():
                self.write(f"{hwmon}/{name}", value)

    def add_n150(self, number: int = 0) -> None:
        self.add_card(
            number,
            {
                "tt_card_type": "n150",
                "tt_serial": "0x100018611902010",
                "tt_fw_bundle_ver": "18.7.0.0",
                "tt_aiclk": 1000,
                "tt_heartbeat": 4711,
            },
            N150_SENSORS,
        )

    def add_p150(self, number: int = 0) -> None:
        self.add_card(
            number,
            {"tt_card_type": "p150a", "tt_fw_bundle_ver": "19.8.1.0", "tt_aiclk": 1350},
            P150_SENSORS,
            chip="blackhole",
        )

    def hold(self, number: int, *processes: tuple[int, str]) -> None:
        """These processes have the card open."""
        pids = "\n".join(str(pid) for pid, _ in processes)
        self.write(f"proc/driver/tenstorrent/{number}/pids", pids)
        for pid, name in processes:
            if name:
                self.write(f"proc/{pid}/comm", name)
