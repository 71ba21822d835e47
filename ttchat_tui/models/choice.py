"""Choice of the model to start with."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Final, Literal, TypeAlias

import msgspec

from ttchat_tui.domain.model_spec import EngineKind

DEFAULT: Final = "smollm2-135m-instruct"
"""The catalog's default, repeated here: reading the catalog takes 5 ms before the first frame."""

NameSource: TypeAlias = Literal[
    "--model", "--preset", "TTCHAT_MODEL", "TTCHAT_MODEL__NAME", "HF_MODEL", "config", "last used", "default"
]


class ModelChoice(msgspec.Struct, frozen=True):
    """A model name and its source."""

    name: str
    place: NameSource


def choose_model(
    *,
    flag: str = "",
    environ: Mapping[str, str],
    configured: str = "",
    last_used: str = "",
    default: str = DEFAULT,
) -> ModelChoice:
    """The first non-blank of: --model, TTCHAT_MODEL, HF_MODEL, config.toml, last used, the default.

    TTCHAT_MODEL__NAME is the systematic spelling of TTCHAT_MODEL.
    """
    candidates: tuple[tuple[NameSource, str], ...] = (
        ("--model", flag),
        ("TTCHAT_MODEL", environ.get("TTCHAT_MODEL", "")),
        ("TTCHAT_MODEL__NAME", environ.get("TTCHAT_MODEL__NAME", "")),
        ("HF_MODEL", environ.get("HF_MODEL", "")),
        ("config", configured),
        ("last used", last_used),
    )
    named = (ModelChoice(name.strip(), place) for place, name in candidates if name.strip())
    return next(named, ModelChoice(default, "default"))


def split_kind(name: str, kinds: Collection[EngineKind]) -> tuple[EngineKind | None, str]:
    """`remote:lab/llama-3` → (`remote`, `lab/llama-3`); None and the name if it begins with none of `kinds`."""
    kind, colon, rest = name.partition(":")
    return (kind, rest) if colon and kind in kinds else (None, name)
