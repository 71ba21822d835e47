"""Tells the app when a user's own theme files change, so that a theme can be made while looking at it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import watchfiles
from textual.theme import Theme

from ttchat_tui.ui.themes import ThemeError, load_themes


async def changed_themes(folder: Path) -> AsyncIterator[tuple[list[Theme], list[ThemeError]]]:
    """All themes anew, each time a file in `folder` (which must exist) changes. Ends when it is cancelled."""
    async for _ in watchfiles.awatch(folder, recursive=False):
        yield load_themes([folder])
