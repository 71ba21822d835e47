"""vi's searches: words as they are written, not a pattern, and around the ends of the text."""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right


def search(direction: str, words: str, times: int, text: str, at: int) -> int | None:
    """Where the next occurrence of `words` begins after the cursor (`/`), or before it (`?`); None if there is none.
    Occurrences do not overlap, as in vim."""
    hits = [match.start() for match in re.finditer(re.escape(words), text)] if words else []
    if not hits:
        return None
    first = bisect_right(hits, at) if direction == "/" else bisect_left(hits, at) - 1
    step = times - 1 if direction == "/" else 1 - times
    return hits[(first + step) % len(hits)]
