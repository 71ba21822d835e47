"""Line editing and history of the REPL, by readline where Python has it."""

from __future__ import annotations

import os
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from ttchat_tui.domain.special_files import special_file

try:
    import readline
except ImportError:  # Python was built without it: input is plain lines
    readline = None

LINES: Final = 1000


@contextmanager
def line_history(file: Path | None) -> Generator[None, None, None]:
    """In this block `input` offers earlier lines. `file` (mode 0600) keeps the newest 1,000; None keeps none."""
    if readline is None or file is None or special_file(file):
        yield
        return
    readline.set_history_length(LINES)
    with suppress(OSError):
        readline.read_history_file(file)
    try:
        yield
    finally:
        # A history that cannot be written is not worth an error at the end of a chat.
        with suppress(OSError):
            file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            os.close(os.open(file, os.O_CREAT | os.O_WRONLY, 0o600))
            readline.write_history_file(file)
