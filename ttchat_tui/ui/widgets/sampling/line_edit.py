"""A short line of text with a cursor, edited key by key: what a row turns into while a value is typed."""

from __future__ import annotations


class LineEdit:
    """Text and cursor, without a screen.

    Args:
        text: What stands there at first, all of it selected: the first character that is typed replaces it.
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
        """Insert what is allowed of `text` at the cursor, up to the limit; where all is selected, instead of it."""
        accepted = "".join(character for character in text if character in self._allowed)
        if accepted and self.is_selected:
            self._cut(0, len(self.text))
        accepted = accepted[: self._limit - len(self.text)]
        self.text = self.text[: self.cursor] + accepted + self.text[self.cursor :]
        self.cursor += len(accepted)

    def press(self, key: str) -> bool:
        """Apply an editing key, by Textual's name of it; False if it is none."""
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
