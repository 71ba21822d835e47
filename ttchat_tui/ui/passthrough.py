"""Control sequences for the terminal around tmux or GNU screen."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

SCREEN_CHUNK: Final = 700
"""GNU screen drops device control strings longer than 768 bytes."""


def passed_through(sequence: str, environment: Mapping[str, str]) -> str:
    """`sequence` wrapped so that tmux (with `allow-passthrough on`) or screen sends it on; without them unchanged."""
    if environment.get("TMUX"):
        return "\x1bPtmux;" + sequence.replace("\x1b", "\x1b\x1b") + "\x1b\\"
    if environment.get("TERM", "").startswith("screen"):
        chunks = (sequence[at : at + SCREEN_CHUNK] for at in range(0, len(sequence), SCREEN_CHUNK))
        return "".join(f"\x1bP{chunk}\x1b\\" for chunk in chunks)
    return sequence
