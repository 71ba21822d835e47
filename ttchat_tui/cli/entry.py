"""The console script: a chat that was given no arguments starts at once, all else goes through the full parser."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Mapping, Sequence
from typing import Final

from ttchat_tui.cli import chat
from ttchat_tui.cli.errors import USAGE_ERROR, exit_codes
from ttchat_tui.config.paths import find_paths

_PARSER: Final = "ttchat_tui.cli.main"
"""Imported by name, because it brings typer and pydantic: 140 ms of CPU, a fifth of the way to the first frame."""
_COMPLETION: Final = "_TTCHAT_TUI_COMPLETE"
"""With it the shell asks for completions, and gives no arguments either."""


def main() -> None:
    """Exit codes: 0 done, 1 engine error, 2 usage or config error, 130 interrupted."""
    with exit_codes():
        if is_bare(sys.argv, os.environ):
            sys.exit(chat.run(bare_invocation(os.environ)))
        importlib.import_module(_PARSER).app(prog_name="ttchat-tui")
    sys.exit(USAGE_ERROR)


def is_bare(argv: Sequence[str], environ: Mapping[str, str]) -> bool:
    """Whether there is nothing to parse."""
    return len(argv) < 2 and _COMPLETION not in environ


def bare_invocation(environ: Mapping[str, str]) -> chat.Invocation:
    """What the parser makes of no arguments."""
    return chat.Invocation(
        flags={},
        config_file=None,
        paths=find_paths(environ),
        prompt=None,
        output="text",
        save=True,
        resume=False,
        plain=False,
    )
