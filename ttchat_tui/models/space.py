"""Free space for a download."""

from __future__ import annotations

import shutil
from pathlib import Path

from ttchat_tui.models.errors import ModelError


def require_space(needed: int, folder: Path, what: str) -> None:
    """Refuse a download that would not fit.

    Args:
        needed: bytes that are still to come.
        folder: existing folder on the disk that they come to.
        what: the source, for the message.

    Raises:
        ModelError: `disk_full`.
    """
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise ModelError(
            f"{what} needs {needed / 1e6:,.0f} MB and {folder} has {free / 1e6:,.0f} MB left.",
            kind="disk_full",
            cure="Make room (`ttchat-tui models rm`), or set TTCHAT_CACHE_DIR to a larger disk.",
        )
