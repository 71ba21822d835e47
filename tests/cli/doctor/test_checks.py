"""What `doctor` says of the packages that are here and those that are not."""

from __future__ import annotations

import importlib.machinery
import importlib.util

import pytest

from ttchat_tui.cli.doctor import checks


@pytest.mark.parametrize(
    ("missing", "has_ttnn", "verdict", "cure"),
    [
        (set[str](), False, "ok", ""),
        ({"gguf"}, True, "note", "pip install gguf, for GGUF files on the CPU"),
        ({"gguf"}, False, "wrong", "pip install 'ttchat-tui[cpu]'"),
        ({"torch", "gguf"}, True, "wrong", "pip install 'ttchat-tui[cpu]'"),
    ],
)
def test_a_venv_as_tt_metal_makes_it_lacks_nothing_that_a_card_needs(
    monkeypatch: pytest.MonkeyPatch, missing: set[str], has_ttnn: bool, verdict: str, cure: str
) -> None:
    monkeypatch.setattr(checks, "version_of", lambda name: None if name in missing else "1.0")
    spec = importlib.machinery.ModuleSpec("ttnn", None) if has_ttnn else None
    monkeypatch.setattr(importlib.util, "find_spec", lambda _name: spec)
    first = next(checks._packages())  # pyright: ignore[reportPrivateUsage]
    assert (first.subject, first.verdict, first.cure) == ("cpu engine", verdict, cure)
