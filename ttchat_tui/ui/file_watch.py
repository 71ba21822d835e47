"""News of files that the user edits while the app runs: themes, prompt templates, presets."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import watchfiles


async def changes(*folders: Path) -> AsyncIterator[None]:
    """Yield each time files in `folders` (which must exist) have changed, until it is cancelled."""
    async for _ in watchfiles.awatch(*folders, recursive=False):
        yield
