"""A line of `ttchat-tui doctor`: the type that the checks of the engines and of the command share."""

from __future__ import annotations

import importlib.metadata
from typing import Literal, TypeAlias

import msgspec

Verdict: TypeAlias = Literal["ok", "note", "wrong"]
"""note: works, but the user should know · wrong: something that the chat needs is missing."""


class Check(msgspec.Struct, frozen=True):
    """One line: a fact about `subject`, and what to run if it is not well."""

    subject: str
    verdict: Verdict
    fact: str
    cure: str = ""


def version_of(package: str) -> str | None:
    """The version of an installed package; None if it is not installed."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None
