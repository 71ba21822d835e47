"""Live reload of the user's theme files while they are edited."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import watchfiles
from textual.theme import Theme

from ttchat_tui.ui.themes import ThemeError, load_themes


async def changed_themes(folder: Path) -> AsyncIterator[tuple[list[Theme], list[ThemeError]]]:
    """Yield all themes again each time a file in `folder` (which must exist) changes, until it is cancelled."""
    async for _ in watchfiles.awatch(folder, recursive=False):
        yield load_themes([folder])
