"""Which model to start with, when several places name one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from ttchat_tui.domain.model_spec import EngineKind

DEFAULT: Final = "smollm2-135m-instruct"
"""The catalog's default, said here too: reading the catalog for it takes 5 ms of the way to the first frame."""


def choose_model(
    *,
    flag: str = "",
    environ: Mapping[str, str],
    configured: str = "",
    last_used: str = "",
    default: str = DEFAULT,
) -> str:
    """The first that is not blank of: --model, TTCHAT_MODEL, HF_MODEL, config.toml, last used, the default.

    TTCHAT_MODEL__NAME is the systematic spelling of TTCHAT_MODEL.
    """
    candidates = (
        flag,
        environ.get("TTCHAT_MODEL", ""),
        environ.get("TTCHAT_MODEL__NAME", ""),
        environ.get("HF_MODEL", ""),
        configured,
        last_used,
    )
    return next((name.strip() for name in candidates if name.strip()), default)


_PREFIXES: Final[dict[str, EngineKind]] = {"cpu:": "cpu", "tt:": "tt", "remote:": "remote"}


def split_kind(name: str) -> tuple[EngineKind | None, str]:
    """`remote:lab/llama-3` → (`remote`, `lab/llama-3`); a name without an engine in front has None."""
    for prefix, kind in _PREFIXES.items():
        if name.startswith(prefix):
            return kind, name.removeprefix(prefix)
    return None, name
