"""The CPU engine's line of `doctor` about its packages."""

from __future__ import annotations

import importlib.machinery
import importlib.util
from pathlib import Path

import pytest

from ttchat_tui.domain.installation import install_command
from ttchat_tui.domain.model_spec import CpuOptions
from ttchat_tui.domain.telemetry import SYSTEM_ROOT
from ttchat_tui.engine.cpu import doctor
from ttchat_tui.engine.declaration import DoctorRequest
from ttchat_tui.engine.doctor import Check


def first_check(
    monkeypatch: pytest.MonkeyPatch, root: Path, missing: set[str], *, ttnn: bool, chosen: bool = False
) -> Check:
    monkeypatch.setattr(doctor, "version_of", lambda name: None if name in missing else "1.0")
    spec = importlib.machinery.ModuleSpec("ttnn", None) if ttnn else None
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: spec if name == "ttnn" else find(name))
    request = DoctorRequest(
        options=CpuOptions(),
        is_chosen=chosen,
        environ={SYSTEM_ROOT: str(root)},
        hub_checks=lambda: iter(()),
    )
    return next(doctor.checks(request))


@pytest.mark.parametrize(
    ("missing", "has_ttnn", "verdict", "cure"),
    [
        (set[str](), False, "ok", ""),
        ({"gguf"}, True, "note", f"{install_command('gguf')}, for GGUF files on the CPU"),
        ({"gguf"}, False, "wrong", install_command("ttchat-tui[cpu]")),
        ({"torch", "gguf"}, True, "note", install_command("ttchat-tui[cpu]")),
        ({"torch", "gguf"}, False, "wrong", install_command("ttchat-tui[cpu]")),
    ],
)
def test_where_ttnn_is_the_engine_is_not_needed(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    missing: set[str],
    has_ttnn: bool,
    verdict: str,
    cure: str,
) -> None:
    first = first_check(monkeypatch, tmp_path, missing, ttnn=has_ttnn)
    assert (first.subject, first.verdict, first.cure) == ("cpu engine", verdict, cure)


def test_where_a_card_is_the_engine_is_not_needed_unless_it_was_chosen(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "dev/tenstorrent").mkdir(parents=True)
    assert first_check(monkeypatch, tmp_path, {"torch"}, ttnn=False).verdict == "note"
    assert first_check(monkeypatch, tmp_path, {"torch"}, ttnn=False, chosen=True).verdict == "wrong"
