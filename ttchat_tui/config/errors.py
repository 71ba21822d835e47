"""What is wrong with the settings, as one line for a person."""

from __future__ import annotations

from ttchat_tui.domain.events import ErrorInfo
from ttchat_tui.domain.text import visible


class ConfigError(Exception):
    """Base of this room. `str()` is one line: where (file or variable), which setting, what is wrong, the cure."""

    def __init__(self, where: str, what: str, *, setting: str = "", cure: str = "") -> None:
        """`setting` is a path into the configuration as msgspec writes it (`$.sampling.temperature`), empty for the file
        as a whole. A person reads it as config.toml has it: `sampling.temperature`."""
        setting = setting.removeprefix("$").removeprefix(".")
        message = _one_line(": ".join(part for part in (where, setting, what) if part))
        cure = _one_line(cure)
        super().__init__(f"{message}; {cure}" if cure else message)
        self.info = ErrorInfo(kind="config", message=message, cure=cure)


def _one_line(text: str) -> str:
    return visible(" ".join(text.split()))
