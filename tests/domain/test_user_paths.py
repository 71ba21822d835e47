"""Paths as users write them."""

from __future__ import annotations

from pathlib import Path

import pytest

from ttchat_tui.domain.user_paths import expanded, shortened


@pytest.mark.parametrize(
    ("path", "shown"),
    [
        ("/h/me/a/b.md", "~/a/b.md"),
        ("/h/me", "/h/me"),
        ("/h/meadow/b.md", "/h/meadow/b.md"),
        ("b.md", "b.md"),
    ],
)
def test_the_home_folder_is_a_tilde_and_is_found_again(
    path: str, shown: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", "/h/me")
    assert shortened(path) == shown
    assert expanded(shown) == Path(path)
    monkeypatch.setenv("HOME", "/")
    assert shortened("/h/me/a") == "/h/me/a"
