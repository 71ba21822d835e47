"""The ids of prompt and reply so far, and where what was just said has been said before: O(1) a token."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

_LONGEST, _SHORTEST = 3, 2
"""Ids that must agree before a continuation is guessed: two occur by chance in any text, but then they are rare in
it; one id is no evidence."""
_ID_BITS: Final = 32


class LookupContext:
    """Guesses what comes next: what followed the latest earlier occurrence of the last ids.

    An occurrence is followed for as long as it keeps being right, so that its length, the evidence for the guess,
    grows; then the latest 3-gram is looked up, then the latest 2-gram.
    """

    def __init__(self) -> None:
        self._ids: list[int] = []
        self._latest: dict[int, int] = {}
        """Packed n-gram, n in its low bits → the position after its latest occurrence."""
        self._source = 0
        """Position of the guess for the next id; 0 is none, nothing is followed from there."""
        self.match = 0
        """How many ids before the guess agree with the last ids; 0 when there is no guess."""

    def __len__(self) -> int:
        return len(self._ids)

    def set_ids(self, ids: Sequence[int]) -> None:
        """Hold exactly `ids`; where they continue what is held, only the new ones are indexed."""
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
        """The `count` ids that are guessed to come next; none when `match` is 0.

        Where the earlier occurrence runs into the end of the text, the text between the two goes on periodically.
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
