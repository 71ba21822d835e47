"""What vi's commands delete and yank: the unnamed register, `a` to `z`, and `+` for the clipboard."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, NamedTuple


class Clipboard(NamedTuple):
    """Beyond the prompt."""

    write: Callable[[str], object]
    read: Callable[[], str]


NO_CLIPBOARD: Final = Clipboard(lambda text: None, lambda: "")


class Register(NamedTuple):
    text: str = ""
    is_lines: bool = False
    """Whole lines, the last one without its newline."""

    def __bool__(self) -> bool:
        return bool(self.text) or self.is_lines


class Registers:
    """`A` to `Z` add to `a` to `z`; `_` keeps nothing; any other name than these and `+` is the unnamed register."""

    def __init__(self, clipboard: Clipboard) -> None:
        self._clipboard = clipboard
        self._named: dict[str, Register] = {}
        self._last = Register()

    def keep(self, name: str, register: Register) -> None:
        """What goes into a named register is what the unnamed one returns, too."""
        if name == "_":
            return
        if _is_letter(name):
            if name.isupper():
                register = _joined(self._named.get(name.lower(), Register()), register)
            self._named[name.lower()] = register
        elif name in ("+", "*"):
            self._clipboard.write(register.text + "\n" * register.is_lines)
        self._last = register

    def content(self, name: str) -> Register:
        if _is_letter(name):
            return self._named.get(name.lower(), Register())
        if name in ("+", "*"):
            text = self._clipboard.read()
            return Register(text.removesuffix("\n"), text.endswith("\n"))
        return Register() if name == "_" else self._last


def _is_letter(name: str) -> bool:
    return len(name) == 1 and name.isascii() and name.isalpha()


def _joined(before: Register, added: Register) -> Register:
    if not before:
        return added
    is_lines = before.is_lines or added.is_lines
    return Register(f"{before.text}{chr(10) if is_lines else ''}{added.text}", is_lines)
