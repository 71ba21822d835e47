"""Errors in the settings."""

from __future__ import annotations

from ttchat_tui.domain.errors import AppError
from ttchat_tui.domain.text import one_line


class ConfigError(AppError):
    """A setting that cannot be used. `str()` is one line: the file, variable or flag, the setting, what is wrong, the cure. In
    `info` the cure is a sentence."""

    kind = "config"

    def __init__(self, where: str, what: str, *, setting: str = "", cure: str = "") -> None:
        """
        Args:
            where: the file, the environment variable, or the flag, which names the setting itself.
            what: what is wrong.
            setting: path of the setting as msgspec writes it (`$.sampling.temperature`; shown as
                `sampling.temperature`); empty for the whole file.
            cure: what to do.
        """
        setting = "" if where.startswith("--") else setting.removeprefix("$").removeprefix(".")
        place = ": ".join(part for part in (where, setting) if part)
        self._cure = one_line(cure)
        super().__init__(one_line(about(place, what)), _sentence(self._cure))

    def __str__(self) -> str:
        return f"{self.info.message.rstrip('.')}; {self._cure}" if self._cure else self.info.message


def about(place: str, what: str) -> str:
    """What is wrong at `place`: `x.toml: there is no such file`, and `x.toml is a folder` where `what` has no subject."""
    return f"{place} {what}" if what.startswith(("is ", "has ", "cannot be ")) else f"{place}: {what}"


def _sentence(words: str) -> str:
    """`words` for a line of their own, such as below a message in a toast."""
    ending = "." if words[-1:].isalnum() else ""
    return f"{words[:1].upper()}{words[1:]}{ending}"
