"""The CPU engine's line of `doctor` about its packages."""

from __future__ import annotations

import importlib.machinery
import importlib.util

import pytest

from ttchat_tui.engine.cpu import doctor


@pytest.mark.parametrize(
    ("missing", "has_ttnn", "verdict", "cure"),
    [
        (set[str](), False, "ok", ""),
        ({"gguf"}, True, "note", "pip install gguf, for GGUF files on the CPU"),
        ({"gguf"}, False, "wrong", "pip install 'ttchat-tui[cpu]'"),
        ({"torch", "gguf"}, True, "wrong", "pip install 'ttchat-tui[cpu]'"),
    ],
)
def test_tt_metals_own_venv_has_everything_that_a_card_needs(
    monkeypatch: pytest.MonkeyPatch, missing: set[str], has_ttnn: bool, verdict: str, cure: str
) -> None:
    monkeypatch.setattr(doctor, "version_of", lambda name: None if name in missing else "1.0")
    spec = importlib.machinery.ModuleSpec("ttnn", None) if has_ttnn else None
    monkeypatch.setattr(importlib.util, "find_spec", lambda _name: spec)
    first = doctor._packages()  # pyright: ignore[reportPrivateUsage]
    assert (first.subject, first.verdict, first.cure) == ("cpu engine", verdict, cure)
