"""Tokens in JSON."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def named(token_id: int, pieces: Mapping[int, bytes]) -> dict[str, Any]:
    """A token as OpenAI's API names it: a part of a character is U+FFFD in its text, and the bytes are exact."""
    piece = pieces.get(token_id, b"")
    known_id = token_id if token_id >= 0 else None
    return {"id": known_id, "token": piece.decode("utf-8", "replace"), "bytes": list(piece)}
