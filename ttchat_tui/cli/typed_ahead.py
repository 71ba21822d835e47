"""Keys typed while the program starts, held for the screen.

In line mode the terminal would echo them, and Enter would arrive as a newline, which Textual reads as ctrl+j: the
message would become a draft of two lines.
"""

from __future__ import annotations

import termios
from contextlib import suppress
from typing import Any, Final

_STDIN: Final = 0
_IFLAG, _LFLAG, _CC = 0, 3, 6
"""Indices into the list that `tcgetattr` returns."""
_LINE_INPUT: Final = termios.ICRNL | termios.INLCR | termios.IGNCR | termios.IXON | termios.IXOFF
_LINE_MODE: Final = termios.ECHO | termios.ICANON | termios.IEXTEN
"""Less than Textual turns off: ctrl+c still interrupts until there is a screen to read it."""


class TypedAhead:
    """In this block the terminal of stdin neither echoes nor edits input. Does nothing without a terminal."""

    def __init__(self) -> None:
        self.before: list[Any] | None = None
        """The original line settings of the terminal; None without a terminal."""

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
        """Restore the line settings before Textual saves them."""
        if self.before is not None:
            with suppress(termios.error):  # the terminal is gone
                termios.tcsetattr(_STDIN, termios.TCSANOW, self.before)

    def close(self) -> None:
        """Restore the terminal. Idempotent."""
        self.give_back()
        self.before = None

    def _begin(self) -> None:
        settings = termios.tcgetattr(_STDIN)
        self.before = termios.tcgetattr(_STDIN)
        settings[_IFLAG] &= ~_LINE_INPUT
        settings[_LFLAG] &= ~_LINE_MODE
        settings[_CC][termios.VMIN], settings[_CC][termios.VTIME] = 1, 0
        termios.tcsetattr(_STDIN, termios.TCSANOW, settings)
