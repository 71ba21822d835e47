"""A line editor for a short text: what a row becomes while a value is typed."""

from __future__ import annotations


class LineEdit:
    """Text and cursor, without a screen.

    Args:
        text: The initial text, all of it selected: the first typed character replaces it.
        allowed: The characters that may be typed; others are ignored.
        limit: The longest text, in characters.
    """

    def __init__(self, text: str = "", *, allowed: str, limit: int = 24) -> None:
        self.text = text
        self.cursor = len(text)
        self.is_selected = bool(text)
        self._allowed = allowed
        self._limit = limit

    def insert(self, text: str) -> None:
        """Insert the allowed characters of `text` at the cursor, or in place of a selection, up to the limit."""
        accepted = "".join(character for character in text if character in self._allowed)
        if accepted and self.is_selected:
            self._cut(0, len(self.text))
        accepted = accepted[: self._limit - len(self.text)]
        self.text = self.text[: self.cursor] + accepted + self.text[self.cursor :]
        self.cursor += len(accepted)

    def press(self, key: str) -> bool:
        """Apply an editing key, given by its name in Textual. False if it is not one."""
        match key:
            case "left":
                self.cursor = max(0, self.cursor - 1)
            case "right":
                self.cursor = min(len(self.text), self.cursor + 1)
            case "home" | "ctrl+a":
                self.cursor = 0
            case "end" | "ctrl+e":
                self.cursor = len(self.text)
            case "backspace" | "ctrl+h" | "delete" if self.is_selected:
                self._cut(0, len(self.text))
            case "backspace" | "ctrl+h":
                self._cut(max(0, self.cursor - 1), self.cursor)
            case "delete":
                self._cut(self.cursor, self.cursor + 1)
            case "ctrl+u":
                self._cut(0, self.cursor)
            case _:
                return False
        self.is_selected = False
        return True

    def _cut(self, start: int, end: int) -> None:
        self.text = self.text[:start] + self.text[end:]
        self.cursor = start
        self.is_selected = False
