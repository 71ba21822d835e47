"""Tags of conversations: single words in lower case."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable
from typing import Final

LONGEST_TAG: Final = 40
"""Characters."""


def tags_in(text: str) -> tuple[str, ...]:
    """The tags in what was typed, each once: words between blanks and commas, with or without a `#` before them.

    Control and format characters separate words too: a tag is shown as it is, and typed again to be found.
    """
    plain = "".join(" " if char == "," or unicodedata.category(char)[0] in "CZ" else char for char in text)
    words = unicodedata.normalize("NFC", plain.lower()).split()
    return tuple(dict.fromkeys(tag for word in words if (tag := word.lstrip("#")[:LONGEST_TAG])))


def has_tags(tags: Iterable[str], wanted: Iterable[str]) -> bool:
    """Whether each of `wanted` is the beginning of a tag: `tag:wo` finds `work` while it is typed, `tag:work` also
    `work/plans`."""
    return all(any(tag.startswith(each) for tag in tags) for each in wanted)
