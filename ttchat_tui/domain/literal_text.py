"""Answers that are no Markdown: what a constraint made, and whole JSON. They are shown as they are, in the type of code."""

from __future__ import annotations

import json
import re
from typing import Final

from ttchat_tui.domain.constraint import Constraint

_BEGINS_AS_JSON: Final = re.compile(r'\s*(?:\{\s*["}]|\[\s*["{\[]|[\[{]\s*\Z)')
"""Also if no more is known yet than the bracket. Not `[text](address)`."""
_LONGEST_BEGINNING: Final = 1_000


def language_of(constraint: Constraint | None) -> str | None:
    """The language, for highlighting, of what a constraint makes: empty if it has none; None: it is Markdown."""
    if constraint is None:
        return None
    return "json" if constraint.kind == "json-schema" else ""


def begins_as_json(text: str) -> bool:
    """Whether an answer that is being written looks like JSON so far."""
    return _BEGINS_AS_JSON.match(text[:_LONGEST_BEGINNING]) is not None


def is_json(text: str) -> bool:
    """Whether a whole answer is an object or an array in JSON, or the beginning of one that was cut off."""
    if not text.lstrip().startswith(("{", "[")):
        return False
    try:
        json.loads(text)
    except json.JSONDecodeError as error:
        is_cut = error.pos >= len(text.rstrip()) or error.msg.startswith("Unterminated string")
        return is_cut and begins_as_json(text)
    except RecursionError:
        return False
    return True
