"""The ids of prompt and reply so far, and where the latest of them occurred before. O(1) per token."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

_LONGEST, _SHORTEST = 3, 2
"""Matching ids that a guess needs. Two match by chance in any text, but rarely; one is no evidence."""
_ID_BITS: Final = 32


class LookupContext:
    """Guesses the next ids: those that followed the latest earlier occurrence of the last ids.

    An occurrence is followed while it keeps matching, so the match, which is the evidence for the guess, grows. After a
    mismatch the last three ids are looked up, then the last two.
    """

    def __init__(self) -> None:
        self._ids: list[int] = []
        self._latest: dict[int, int] = {}
        """Packed n-gram (n in the low bits) → the position after its latest occurrence."""
        self._source = 0
        """Position of the guess for the next id; 0 for none."""
        self.match = 0
        """How many ids before the guess match the last ids; 0 without a guess."""

    def __len__(self) -> int:
        return len(self._ids)

    def set_ids(self, ids: Sequence[int]) -> None:
        """Hold exactly `ids`. If they extend the held ones, only the new ones are indexed."""
        held = len(self._ids)
        if held > len(ids) or list(ids[:held]) != self._ids:
            self._ids.clear()
            self._latest.clear()
            self._source = self.match = held = 0
        for token_id in ids[held:]:
            self.push(token_id)

    def push(self, token_id: int) -> None:
        """Append one id."""
        if self.match and self._ids[self._source] == token_id:
            self._source += 1
            self.match += 1
        else:
            self._source = self.match = 0
        self._ids.append(token_id)
        end = len(self._ids)
        for n in range(_LONGEST, _SHORTEST - 1, -1):
            if end < n:
                continue
            key = self._key(n)
            if not self.match:
                self._source = self._latest.get(key, 0)
                self.match = n if self._source else 0
            self._latest[key] = end

    def guess(self, count: int) -> list[int]:
        """The next `count` ids, guessed; none when `match` is 0.

        If the earlier occurrence reaches the end of the text, the text from there on repeats periodically.
        """
        if not self.match:
            return []
        found = self._ids[self._source : self._source + count]
        while len(found) < count:
            found += found[: count - len(found)]
        return found

    def _key(self, n: int) -> int:
        key = 0
        for token_id in self._ids[-n:]:
            key = key << _ID_BITS | token_id
        return key << 2 | n
