"""`doctor` on machines with cards: each line that is not well says what to run."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.engine.tenstorrent.fake_system import FakeSystem
from ttchat_tui.cli.doctor.hub_checks import hub_checks
from ttchat_tui.config.load import load_config
from ttchat_tui.config.paths import find_paths
from ttchat_tui.domain.telemetry import SYSTEM_ROOT
from ttchat_tui.engine.declaration import DoctorRequest
from ttchat_tui.engine.doctor import Check
from ttchat_tui.engine.tenstorrent import doctor as module
from ttchat_tui.engine.tenstorrent import environment
from ttchat_tui.engine.tenstorrent.visible_cards import MOCK

S5 = """
class Generator:
    def prefill_forward_text(self, tokens, page_table=None, *, empty_slots=None, start_pos=None): ...
    def decode_forward(self, tokens, start_pos, page_table=None, reset_batch=False, **kwargs): ...
"""


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeSystem:
    """Nothing of Tenstorrent but what a test adds; the home folder is empty."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(module, "version_of", lambda _package: None)
    find_spec = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "ttnn" else find_spec(name))
    return FakeSystem(tmp_path / "root")


def examine(machine: FakeSystem, environ: Mapping[str, str] | None = None) -> dict[str, Check]:
    place = {SYSTEM_ROOT: str(machine.root), "HF_HOME": str(machine.root / "hub"), **(environ or {})}
    request = DoctorRequest(
        options=load_config(find_paths(place), environ=os.environ).tt,
        is_chosen=False,
        environ=place,
        hub_checks=lambda: hub_checks(place),
    )
    return {check.subject: check for check in module.checks(request)}


def checkout(root: Path, source: str, pin: str = "") -> Path:
    folder = root / "models/tt_transformers"
    (folder / "tt").mkdir(parents=True)
    (folder / "tt/generator.py").write_text(source)
    if pin:
        (folder / "requirements.txt").write_text(f"loguru==0.6.0\ntransformers=={pin}\n")
    return root


def test_a_machine_without_anything_of_tenstorrents_gets_one_line(machine: FakeSystem) -> None:
    assert list(examine(machine)) == ["tenstorrent"]


def test_a_free_card_with_everything_it_needs_is_ok(
    machine: FakeSystem, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine.add_n150()
    machine.write("sys/class/tenstorrent/tenstorrent!0/tt_fw_bundle_ver", "19.8.1.0")
    machine.write("sys/kernel/mm/hugepages/hugepages-1048576kB/nr_hugepages", 4)
    machine.write("proc/mounts", "nodev /dev/hugepages-1G hugetlbfs rw,pagesize=1024M 0 0")
    machine.write("opt/tenstorrent/sfpi/compiler/bin/riscv-tt-elf-g++", "")
    machine.write("opt/tenstorrent/sfpi/sfpi.version", "7.89.0")
    monkeypatch.setattr(module, "version_of", {"ttnn": "0.81.1", "transformers": "5.10.2"}.get)
    monkeypatch.setattr(module, "is_importable", lambda *_names: True)
    home = checkout(tmp_path / "metal", S5, "5.10.2")
    (home / "tt_metal").mkdir()
    (home / "tt_metal/sfpi-version").write_text("# sfpi release 7.89.0\n\nsfpi_version='7.89.0'\n")
    checks = examine(
        machine, {"TT_METAL_HOME": str(home), "MESH_DEVICE": "N150", "HF_TOKEN": "hf_x", "HF_MODEL": ""}
    )
    assert [check for check in checks.values() if check.verdict != "ok"] == []
    assert checks["card 0"].fact == "n150, 47 °C, 21 W, 1000 MHz; free"
    assert "API generation S5" in checks["tt-metal"].fact


def test_the_process_that_holds_a_card_is_named_with_the_command_that_ends_it(machine: FakeSystem) -> None:
    machine.add_n150()
    machine.hold(0, (4242, "python3"))
    check = examine(machine)["card 0"]
    assert "open in process 4242 (python3)" in check.fact
    assert "kill 4242" in check.cure


def test_every_problem_has_a_cure(machine: FakeSystem, tmp_path: Path) -> None:
    machine.add_card(0, {"tt_fw_bundle_ver": "80.9.0.0"}, {})
    machine.write("sys/module/tenstorrent/version", "1.29")
    home = checkout(tmp_path / "metal", "class Generator: ...")
    checks = examine(
        machine,
        {
            "TT_METAL_HOME": str(home),
            "MESH_DEVICE": "N151",
            "FAKE_DEVICE": "N150",
            "HF_MODEL": "meta-llama/Llama-3.1-8B-Instruct",
            "HF_HUB_OFFLINE": "1",
        },
    )
    unwell = {subject for subject, check in checks.items() if check.verdict != "ok"}
    assert unwell - {"ttnn", "tt packages", "sfpi"} == {  # these depend on where the tests run
        "driver",
        "firmware 0",
        "huge pages",
        "tt-metal",
        "transformers",
        "mesh",
        "FAKE_DEVICE",
        "HF_MODEL",
        "hub token",
    }
    assert all(checks[subject].cure for subject in unwell)


def test_nothing_is_wrong_on_a_machine_without_a_card(machine: FakeSystem, tmp_path: Path) -> None:
    home = checkout(tmp_path / "metal", "class Generator: ...")
    checks = examine(machine, {"TT_METAL_HOME": str(home)})
    assert checks["tt-metal"].verdict == "note"
    assert "wrong" not in {check.verdict for check in checks.values()}


def test_a_setting_that_the_checkout_does_not_support_is_reported(
    machine: FakeSystem, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TTCHAT_TT__KV_REUSE", "true")
    monkeypatch.setenv("TTCHAT_TT__SAMPLING", "device")
    monkeypatch.setenv("TTCHAT_TT__PREFILL_TRACE", "true")
    older = S5.replace("decode_forward", "decode_forward_text").replace("reset_batch=False, ", "")
    checks = examine(machine, {"TT_METAL_HOME": str(checkout(tmp_path / "s3", older))})
    assert "S3" in checks["tt-metal"].fact
    assert "S3" in checks["kv_reuse"].fact
    assert "most probable" in checks["sampling"].fact
    assert "host" in checks["sampling"].cure
    assert "S3" in checks["prefill_trace"].fact
    checks = examine(machine, {"TT_METAL_HOME": str(checkout(tmp_path / "s5", S5))})
    assert "S5" in checks["kv_reuse"].fact
    assert not {"sampling", "prefill_trace"} & checks.keys()


def test_a_checkout_that_garbles_a_p100_is_wrong_where_there_is_one(
    machine: FakeSystem, tmp_path: Path
) -> None:
    home = checkout(tmp_path / "metal", S5)
    source = home / "models/tt_transformers/tt/model_config.py"
    source.write_text("per_core_M=7 if self.device_name == 'P100' else 1\n")
    machine.add_p150()
    assert "P100" not in examine(machine, {"TT_METAL_HOME": str(home)})
    machine.add_card(1, {"tt_card_type": "p100a"}, {})
    check = examine(machine, {"TT_METAL_HOME": str(home)})["P100"]
    assert check.verdict == "wrong"
    assert f"line 1 of {source}" in check.cure


def test_the_renamed_library_is_shown_with_its_generation_and_its_pin(
    machine: FakeSystem, tmp_path: Path
) -> None:
    home = checkout(tmp_path / "metal", S5, "5.10.2")
    (home / "models/tt_transformers").rename(home / "models/ttt_compat")
    checks = examine(machine, {"TT_METAL_HOME": str(home)})
    assert "models/ttt_compat, API generation S5" in checks["tt-metal"].fact
    assert "5.10.2" in checks["transformers"].cure


def test_a_checkout_without_a_card_explains_how_a_container_gets_one(
    machine: FakeSystem, tmp_path: Path
) -> None:
    home = checkout(tmp_path / "metal", S5)
    assert "--device /dev/tenstorrent" in examine(machine, {"TT_METAL_HOME": str(home)})["card"].cure


def test_a_python_without_wheels_lists_the_versions_that_have_them(
    machine: FakeSystem, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine.add_n150()
    monkeypatch.setattr(module.importlib.util, "find_spec", lambda _name: None)
    monkeypatch.setattr(environment, "WHEEL_PYTHONS", ((2, 7),))
    check = examine(machine)["ttnn"]
    assert check.verdict == "wrong"
    assert "wheels are for Python 2.7" in check.cure


def test_a_variable_that_names_no_folder_is_wrong_by_its_name(machine: FakeSystem, tmp_path: Path) -> None:
    machine.add_n150()
    check = examine(machine, {"TT_METAL_HOME": str(tmp_path / "nope")})["tt-metal"]
    assert check.verdict == "wrong"
    assert f"TT_METAL_HOME={tmp_path / 'nope'} is not a folder." in check.fact


def test_packages_that_the_engine_lacks_are_named_with_their_command(
    machine: FakeSystem, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine.add_n150()
    monkeypatch.setattr(module, "version_of", {"ttnn": "0.81.1"}.get)
    monkeypatch.setattr(module, "is_importable", lambda *names: names[0] not in ("torch", "pydantic"))
    check = examine(machine)["tt packages"]
    assert (check.verdict, check.fact) == ("wrong", "not installed: torch, pydantic")
    assert "pip install torch pydantic" in check.cure
    assert "ttchat-tui[" not in check.cure


def test_a_mesh_of_more_chips_than_the_cards_have_is_wrong(machine: FakeSystem) -> None:
    machine.add_n150()
    check = examine(machine, {"MESH_DEVICE": "N300"})["mesh"]
    assert (check.verdict, check.fact) == ("wrong", "MESH_DEVICE N300 needs 2 chips, 1 can be used.")


def test_a_mock_card_is_named_as_one(machine: FakeSystem) -> None:
    machine.add_n150()
    checks = examine(machine, {MOCK: "/mock/n150.yaml"})
    assert checks["card"].fact.startswith("a mock: /mock/n150.yaml")
    assert "card 0" not in checks


@pytest.mark.parametrize(("pin", "verdict"), [("4.53.0", "note"), ("5.10.0", "ok"), ("5.10.2", "ok")])
def test_another_series_of_transformers_than_the_pinned_one_is_reported(
    machine: FakeSystem, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pin: str, verdict: str
) -> None:
    monkeypatch.setattr(module, "version_of", {"transformers": "5.10.2"}.get)
    home = checkout(tmp_path / "metal", S5, pin)
    assert examine(machine, {"TT_METAL_HOME": str(home)})["transformers"].verdict == verdict
