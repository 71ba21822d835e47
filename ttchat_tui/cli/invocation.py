"""The parsed command line of one chat."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from ttchat_tui.config.paths import Paths, find_paths


class Invocation(msgspec.Struct, frozen=True, kw_only=True):
    """What the command line asks for."""

    flags: dict[str, Any]
    """Config keys (`sampling.temperature`) that flags set."""
    model_flag: str = "--model"
    """Where `model.name` in `flags` comes from, for messages: `--model`, `--preset`, or the reply that is replayed."""
    config_file: Path | None
    paths: Paths
    prompt: str | None
    attached: tuple[str, ...] = ()
    """Files that go with the prompt."""
    output: str
    thoughts: bool = False
    """The text on stdout has the model's thoughts too."""
    candidates: int = 1
    """Number of replies to `prompt`."""
    alternatives: int | None = None
    """How many alternatives each token of `jsonl` comes with; None: tokens are not listed."""
    save: bool
    resume: bool
    plain: bool

    @property
    def sampling_flags(self) -> dict[str, Any]:
        """The sampling parameters that flags set, by the names of `SamplingParams`."""
        prefix = "sampling."
        given = {
            key.removeprefix(prefix): value for key, value in self.flags.items() if key.startswith(prefix)
        }
        return {name: tuple(value) if name == "stop" else value for name, value in given.items()}

    @property
    def system_flag(self) -> str | None:
        """The system prompt of the command line."""
        return self.flags.get("system_prompt")


def bare_invocation(environ: Mapping[str, str]) -> Invocation:
    """The invocation of a command line without arguments."""
    return Invocation(
        flags={},
        config_file=None,
        paths=find_paths(environ),
        prompt=None,
        output="text",
        save=True,
        resume=False,
        plain=False,
    )
