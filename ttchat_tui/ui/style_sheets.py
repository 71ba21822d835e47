"""The app's style sheets: those for the first frame, and those read later."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from textual.app import App

_FOLDER: Final = Path(__file__).parent / "styles"

FIRST: Final = [_FOLDER / f"{name}.tcss" for name in ("shell", "transcript", "chat")]
LATER: Final = [_FOLDER / f"{name}.tcss" for name in ("sidebars", "dialogs")]
"""The first frame has no widget that they style; parsing them would delay it by about 10 ms."""


def read_later_ones(app: App[Any]) -> None:
    """Read the later sheets. Call it before the first widget that they style is mounted; a dialog that is already open is
    styled again."""
    app.stylesheet.read_all(LATER)
    if len(app.screen_stack) > 1:
        app.refresh_css(animate=False)
