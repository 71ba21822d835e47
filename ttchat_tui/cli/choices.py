"""Values of flags that more than one subcommand has."""

from __future__ import annotations

from enum import Enum


class EngineChoice(str, Enum):
    auto = "auto"
    cpu = "cpu"
    tt = "tt"
    remote = "remote"
