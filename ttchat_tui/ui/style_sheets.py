"""The app's style sheets: those of the first frame, and those of what comes after it."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from textual.app import App

_FOLDER: Final = Path(__file__).parent / "styles"

FIRST: Final = [_FOLDER / f"{name}.tcss" for name in ("shell", "transcript", "chat")]
LATER: Final = [_FOLDER / f"{name}.tcss" for name in ("sidebars", "dialogs")]
"""Parsing them would hold the first frame up by some 10 ms, and it has nothing that they style."""


def read_later_ones(app: App[Any]) -> None:
    """To be called before the first widget of theirs is mounted. What a quick key has opened by then is styled again."""
    app.stylesheet.read_all(LATER)
    if len(app.screen_stack) > 1:
        app.refresh_css(animate=False)
