"""The console script: without arguments the chat starts at once, everything else goes through the parser."""

from __future__ import annotations

import gc
import importlib
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from typing import Final

from ttchat_tui.cli.errors import USAGE_ERROR, exit_codes
from ttchat_tui.cli.standard_output import ensure_streams, require_files
from ttchat_tui.cli.terminal import is_full_screen_possible
from ttchat_tui.cli.typed_ahead import TypedAhead
from ttchat_tui.signals import STACKS_SIGNAL, EndingSignals, write_stacks_to

_CHAT: Final = "ttchat_tui.cli.chat"
_INVOCATION: Final = "ttchat_tui.cli.invocation"
"""Both are imported by name, after garbage collection is off: a collection among new modules costs 5 ms here."""
_PARSER: Final = "ttchat_tui.cli.main"
"""Imported by name because it brings typer: 140 ms of CPU, a third of the time to the first frame."""
_COMPLETION: Final = "_TTCHAT_TUI_COMPLETE"
"""Set when the shell asks for completions, which also come without arguments."""


def main() -> None:
    """Exit codes: 0 done, 1 engine error, 2 usage or config error, 130 interrupted."""
    ensure_streams()
    signal.signal(STACKS_SIGNAL, signal.SIG_IGN)  # what the interpreter's exit restores
    write_stacks_to(2)  # until a log is open
    with EndingSignals(is_last=True), exit_codes():
        require_files()
        if is_bare(sys.argv, os.environ):
            gc.disable()  # until the app is mounted
            with TypedAhead() if is_full_screen_possible() else nullcontext() as typed:
                chat = importlib.import_module(_CHAT)
                invocation = importlib.import_module(_INVOCATION).bare_invocation(os.environ)
                sys.exit(chat.run(invocation, typed))
        importlib.import_module(_PARSER).app(prog_name="ttchat-tui")
    sys.exit(USAGE_ERROR)


def is_bare(argv: Sequence[str], environ: Mapping[str, str]) -> bool:
    """Whether there are no arguments to parse."""
    return len(argv) < 2 and _COMPLETION not in environ
