"""Names of settings on the command line."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, cast, get_args

from ttchat_tui.domain.constraint import ConstraintKind
from ttchat_tui.engine.factory import ENGINES

FLAGS: Final[dict[str, str]] = {
    "model.name": "--model",
    "model.engine": "--engine",
    "model.context_length": "--context-length",
    "model.isolation": "--isolation",
    "engine.record": "--record",
    "system_prompt": "--system",
    "ui.theme": "--theme",
    "sampling.thinking": "--think",
    **{
        f"sampling.{name}": f"--{name.replace('_', '-')}"
        for name in (
            "max_tokens", "temperature", "top_p", "top_k", "min_p", "repetition_penalty", "seed", "stop",
            "logit_bias",
        )
    },
    **{
        f"{kind}.{flag.option}": f"--{flag.option.replace('_', '-')}"
        for kind, engine in ENGINES.items() for flag in engine.flags
    },
}  # fmt: skip
"""Setting → its flag. A constraint has a flag for each of its kinds."""


def flag_of(setting: str, value: Any = None) -> str:
    """The flag that sets `setting` (to `value`); empty: there is none."""
    if setting == "sampling.constraint" and isinstance(value, Mapping):
        kind = cast("Mapping[str, Any]", value).get("kind")
        return f"--{kind}" if kind in get_args(ConstraintKind) else ""
    return FLAGS.get(setting, "")
