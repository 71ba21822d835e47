"""Which model to start with, when several places name one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

DEFAULT: Final = "smollm2-135m-instruct"
"""The catalog's default, said here too: reading the catalog for it takes 5 ms of the way to the first frame."""


def choose_model(
    *, flag: str = "", environ: Mapping[str, str], configured: str = "", last_used: str = ""
) -> str:
    """The first that is not blank of: --model, TTCHAT_MODEL, HF_MODEL, config.toml, last used, the default alias.

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
    return next((name.strip() for name in candidates if name.strip()), DEFAULT)
