"""Lines of `doctor` about the cards, their driver and firmware. Only the kernel's files are read: a model may be running."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from ttchat_tui.domain.telemetry import CardReading
from ttchat_tui.engine.doctor import Check
from ttchat_tui.engine.tenstorrent.card_access import access_problem
from ttchat_tui.engine.tenstorrent.floors import FLOORS, OLDEST, firmware_numbers, numbers
from ttchat_tui.engine.tenstorrent.holders import named
from ttchat_tui.engine.tenstorrent.telemetry import System

_HUGE_PAGES: Final = "Install tenstorrent-hugepages (https://github.com/tenstorrent/tt-system-tools), reboot; or enable the IOMMU."


def card_checks(system: System, cards: tuple[CardReading, ...], generation: str) -> Iterator[Check]:
    """The cards, who may open them and who has, and what they need.

    Args:
        system: where the kernel's files are.
        cards: a reading of each card.
        generation: tt-metal's, for the driver and firmware that it needs; empty if it is not known.
    """
    if not cards:
        cure = "Load the driver (`sudo modprobe tenstorrent`); a container needs --device /dev/tenstorrent."
        yield Check("card", "note", "none: no /dev/tenstorrent/*", cure)
        return
    for card in cards:
        yield _card(card)
    closed = {card.index: problem for card in cards if (problem := access_problem(system, card.index))}
    for number, problem in closed.items():
        verdict = "wrong" if len(closed) == len(cards) else "note"
        yield Check(f"access {number}", verdict, problem.message, problem.cure)
    yield _driver(system, generation)
    for card in cards:
        yield _firmware(card, generation)
    yield _huge_pages(system, len(cards))


def _card(card: CardReading) -> Check:
    readings = ((card.temperature_c, "°C"), (card.power_w, "W"), (card.clock_mhz, "MHz"))
    figures = [f"{value:.0f} {unit}" for value, unit in readings if value is not None]
    fact = ", ".join([card.card_type or "type not reported by the driver", *figures])
    if not card.holders:
        return Check(f"card {card.index}", "ok", f"{fact}; free")
    holders = ", ".join(named(holder) for holder in card.holders)
    cure = f"No model can be loaded on it meanwhile; `kill {card.holders[0].pid}` ends that process."
    return Check(f"card {card.index}", "note", f"{fact}; open in {holders}", cure)


def _driver(system: System, generation: str) -> Check:
    version = system.driver_version()
    if not version:
        return Check("driver", "note", "tt-kmd's version cannot be read", "modinfo tenstorrent")
    floor = FLOORS.get(generation, OLDEST).driver
    cure = "Update tt-kmd: https://github.com/tenstorrent/tt-kmd"
    if numbers(version) < numbers(OLDEST.driver):
        return Check("driver", "wrong", f"tt-kmd {version}, older than {OLDEST.driver}", cure)
    if numbers(version) < numbers(floor):
        return Check("driver", "note", f"tt-kmd {version}; tt-metal of {generation} wants {floor}", cure)
    return Check("driver", "ok", f"tt-kmd {version}")


def _firmware(card: CardReading, generation: str) -> Check:
    subject, floor = f"firmware {card.index}", FLOORS.get(generation, OLDEST).firmware
    if not card.firmware:
        return Check(subject, "note", "not reported by the driver", "tt-smi -s (while no model runs)")
    if firmware_numbers(card.firmware) < firmware_numbers(floor):
        wants = f"tt-metal of {generation} wants {floor}" if generation else f"older than {floor}"
        cure = "Update it with tt-flash: https://github.com/tenstorrent/tt-flash"
        return Check(subject, "note", f"{card.firmware}; {wants}", cure)
    return Check(subject, "ok", card.firmware)


def _huge_pages(system: System, cards: int) -> Check:
    """1 GB pages, at least one for each card; they are not needed with an IOMMU."""
    if any((system.root / "sys/kernel/iommu_groups").glob("*")):
        return Check("huge pages", "ok", "not needed: the IOMMU is on")
    file = system.root / "sys/kernel/mm/hugepages/hugepages-1048576kB/nr_hugepages"
    try:
        count = int(file.read_text())
    except (OSError, ValueError):
        count = 0
    if count < cards:
        fact = f"{count} of 1 GB for {cards} cards" if count else "none of 1 GB"
        return Check("huge pages", "wrong", f"{fact}, and no IOMMU", _HUGE_PAGES)
    if not _is_mounted(system):
        cure = r"sudo systemctl start 'dev-hugepages\x2d1G.mount' (of tenstorrent-hugepages)"
        return Check("huge pages", "wrong", f"{count} of 1 GB, but no file system of them is mounted", cure)
    return Check("huge pages", "ok", f"{count} of 1 GB")


def _is_mounted(system: System) -> bool:
    try:
        mounts = (system.root / "proc/mounts").read_text()
    except OSError:
        return True  # not known: ttnn will say
    options = [fields[3] for line in mounts.splitlines() if (fields := line.split())[2:3] == ["hugetlbfs"]]
    return any("pagesize=1024M" in each or "pagesize=1G" in each for each in options)
