"""Keeps what is typed while the program starts, for the screen to read.

In a terminal's line mode it would be echoed over the shell's line, and Enter would arrive as a newline: Textual reads
that as ctrl+j, and the message becomes a draft of two lines.
"""

from __future__ import annotations

import termios
from contextlib import suppress
from typing import Any, Final

_STDIN: Final = 0
_IFLAG, _LFLAG, _CC = 0, 3, 6
"""Places in what `tcgetattr` gives."""
_LINE_INPUT: Final = termios.ICRNL | termios.INLCR | termios.IGNCR | termios.IXON | termios.IXOFF
_LINE_MODE: Final = termios.ECHO | termios.ICANON | termios.IEXTEN
"""Less than Textual takes away: ctrl+c still interrupts, until there is a screen that reads it."""


class TypedAhead:
    """While this lasts, the terminal of stdin neither echoes nor edits what is typed. Does nothing without a terminal."""

    def __init__(self) -> None:
        self.before: list[Any] | None = None
        """The terminal's line settings as they were found; None where there is no terminal."""

    def __enter__(self) -> TypedAhead:
        try:
            with suppress(termios.error):
                self._begin()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def give_back(self) -> None:
        """Restore the terminal's settings, for whoever saves them next."""
        if self.before is not None:
            with suppress(termios.error):  # the terminal is gone
                termios.tcsetattr(_STDIN, termios.TCSANOW, self.before)

    def close(self) -> None:
        """Restore the terminal. Idempotent."""
        self.give_back()
        self.before = None

    def _begin(self) -> None:
        wanted = termios.tcgetattr(_STDIN)
        self.before = termios.tcgetattr(_STDIN)
        wanted[_IFLAG] &= ~_LINE_INPUT
        wanted[_LFLAG] &= ~_LINE_MODE
        wanted[_CC][termios.VMIN], wanted[_CC][termios.VTIME] = 1, 0
        termios.tcsetattr(_STDIN, termios.TCSANOW, wanted)
