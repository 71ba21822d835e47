"""A conversation's title, from the first message."""

from __future__ import annotations

from typing import Final

TITLE_LENGTH: Final = 60


def title_from(content: str) -> str:
    """The first line that says something, cut to `TITLE_LENGTH` characters at a word if that leaves a half of it."""
    line = next((" ".join(line.split()) for line in content.splitlines() if line.strip()), "")
    if len(line) <= TITLE_LENGTH:
        return line
    cut = line[: TITLE_LENGTH - 1]
    words = cut if line[TITLE_LENGTH - 1] == " " else cut.rpartition(" ")[0]
    return (words if len(words) >= TITLE_LENGTH // 2 else cut).rstrip() + "…"
