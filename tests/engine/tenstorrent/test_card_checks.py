"""Lines of `doctor` about cards: who may open them, and the driver, firmware and pages that they need."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.engine.tenstorrent.fake_system import FakeSystem
from ttchat_tui.engine.doctor import Check
from ttchat_tui.engine.tenstorrent import card_access
from ttchat_tui.engine.tenstorrent import card_checks as module
from ttchat_tui.engine.tenstorrent.floors import FLOORS, firmware_numbers
from ttchat_tui.engine.tenstorrent.telemetry import System

PAGES = "sys/kernel/mm/hugepages/hugepages-1048576kB/nr_hugepages"


@pytest.fixture
def machine(tmp_path: Path) -> FakeSystem:
    return FakeSystem(tmp_path)


def examine(machine: FakeSystem, generation: str = "S5") -> dict[str, Check]:
    system = System(machine.root)
    return {check.subject: check for check in module.card_checks(system, system.read_cards(), generation)}


@pytest.mark.parametrize("generation", FLOORS)
@pytest.mark.parametrize(("part", "attribute"), [("driver", None), ("firmware 0", "tt_fw_bundle_ver")])
def test_what_a_generation_wants_is_enough_and_less_is_named(
    machine: FakeSystem, generation: str, part: str, attribute: str | None
) -> None:
    machine.add_n150()
    floor = FLOORS[generation]
    wanted = floor.firmware if attribute else floor.driver
    file = (
        f"sys/class/tenstorrent/tenstorrent!0/{attribute}" if attribute else "sys/module/tenstorrent/version"
    )
    machine.write(file, wanted)
    assert examine(machine, generation)[part].verdict == "ok"
    first, _, rest = wanted.partition(".")
    machine.write(file, f"{first}.{int(rest.partition('.')[0]) - 1}")
    check = examine(machine, generation)[part]
    assert check.verdict != "ok"
    assert wanted in check.fact
    assert "github.com/tenstorrent" in check.cure


def test_firmware_of_the_old_numbering_is_older_than_any_other() -> None:
    versions = ["80.15.0.0", "80.17", "80.18.0.0", "18.2.0", "18.10.0", "19.8.1.0"]
    assert sorted(set(versions), key=firmware_numbers) == versions


def test_a_card_that_this_user_may_not_open_is_wrong_with_its_owner_and_mode(
    machine: FakeSystem, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine.add_n150()
    assert "access 0" not in examine(machine)
    node = machine.root / "dev/tenstorrent/0"
    node.chmod(0o640)
    monkeypatch.setattr(card_access.os, "access", lambda _path, _mode: False)
    check = examine(machine)["access 0"]
    assert check.verdict == "wrong"
    assert f"(-rw-r----- {node.owner()}:{node.group()})" in check.fact
    assert "udev" in check.cure


def test_a_container_with_the_device_file_of_one_card_of_two_is_well(machine: FakeSystem) -> None:
    machine.add_n150()
    machine.add_n150(1)
    os.remove(machine.root / "dev/tenstorrent/0")
    checks = examine(machine)
    assert checks["access 0"].verdict == "note"
    assert "access 1" not in checks


def test_a_card_without_its_device_file_is_wrong(machine: FakeSystem) -> None:
    machine.add_n150()
    os.remove(machine.root / "dev/tenstorrent/0")
    check = examine(machine)["access 0"]
    assert check.verdict == "wrong"
    assert "--device /dev/tenstorrent" in check.cure


def test_each_card_needs_a_huge_page_and_they_must_be_mounted(machine: FakeSystem) -> None:
    machine.add_n150()
    machine.add_n150(1)
    assert examine(machine)["huge pages"].fact == "none of 1 GB, and no IOMMU"
    machine.write(PAGES, 1)
    assert examine(machine)["huge pages"].fact == "1 of 1 GB for 2 cards, and no IOMMU"
    machine.write(PAGES, 2)
    machine.write("proc/mounts", "hugetlbfs /dev/hugepages hugetlbfs rw,relatime,pagesize=2M 0 0")
    check = examine(machine)["huge pages"]
    assert check.verdict == "wrong"
    assert "systemctl start" in check.cure
    machine.write("proc/mounts", "none /dev/hugepages-1G hugetlbfs rw,pagesize=1024M 0 0")
    assert examine(machine)["huge pages"].verdict == "ok"


def test_with_an_iommu_no_huge_pages_are_needed(machine: FakeSystem) -> None:
    machine.add_n150()
    machine.write("sys/kernel/iommu_groups/0/type", "DMA")
    assert examine(machine)["huge pages"].fact == "not needed: the IOMMU is on"
