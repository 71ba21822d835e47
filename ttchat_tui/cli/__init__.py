"""The command line: flags, subcommands, and the composition root. Nothing else builds objects."""

from __future__ import annotations

import importlib
import sys
from typing import Final

_ENTRY: Final = "ttchat_tui.cli.entry"
"""Imported within `main`: ctrl+c may come while the rest of this package is read, too."""

INTERRUPTED: Final = 130


def main() -> None:
    """`ttchat-tui`; see `entry.main`."""
    try:
        importlib.import_module(_ENTRY).main()
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
