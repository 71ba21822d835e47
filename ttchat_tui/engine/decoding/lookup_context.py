"""The ids of prompt and reply so far, and where the latest of them occurred before. A few microseconds a token."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

_TRIED: Final = 32
"""Earlier occurrences of the last ids that are compared: the latest ones. Common ids have many, and little to say."""
_LONGEST: Final = 8
"""Matching ids that are counted at an occurrence."""
_EVIDENCE: Final = 2
"""Matching ids from which on an occurrence was the right one, and not a chance."""
_NEAR: Final = 12
"""Ids around the place where the followed text was left: an edit that inserts, deletes or replaces goes on there."""


class LookupContext:
    """Guesses the next ids: those that followed an earlier occurrence of the last ids.

    An occurrence is followed while it keeps matching, so the match, which is the evidence for the guess, grows. After a
    mismatch another one is looked up, by the last two ids, else by the last one: the one with the longest match before it. Of equal
    ones it is one near the place that was left, so that an edited copy is followed past its edits; else the latest.
    """

    def __init__(self) -> None:
        self._ids: list[int] = []
        self._latest: dict[int, int] = {}
        """Id → the position after its latest occurrence."""
        self._earlier: list[int] = [0]
        """Position → the position after the occurrence before of the id that ends there; 0 for none."""
        self._latest_pair: dict[tuple[int, int], int] = {}
        self._earlier_pair: list[int] = [0, 0]
        """The same for the two ids that end there."""
        self._source = 0
        """Position of the guess for the next id; 0 for none."""
        self._left = -_NEAR - 1
        """Position at which the occurrence that was followed before ceased to match."""
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
            self._latest_pair.clear()
            del self._earlier[1:], self._earlier_pair[2:]
            held = 0
        for token_id in ids[held:]:
            self._append(token_id)
        self._left = -_NEAR - 1
        self._search()

    def push(self, token_id: int) -> bool:
        """Append one id; returns whether it was guessed."""
        is_right = bool(self.match) and self._ids[self._source] == token_id
        self._append(token_id)
        if is_right:
            self._source += 1
            self.match += 1
        else:
            if self.match >= _EVIDENCE:
                self._left = self._source
            self._search()
        return is_right

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

    def _append(self, token_id: int) -> None:
        ids, end = self._ids, len(self._ids) + 1
        if ids:
            pair = ids[-1], token_id
            self._earlier_pair.append(self._latest_pair.get(pair, 0))
            self._latest_pair[pair] = end
        ids.append(token_id)
        self._earlier.append(self._latest.get(token_id, 0))
        self._latest[token_id] = end

    def _search(self) -> None:
        """Choose the occurrence to follow."""
        if self._earlier_pair[len(self._ids)]:
            self._search_pairs()
            return
        place = self._source = self._earlier[-1]
        self.match = 1 if place else 0
        lowest, highest = self._left - _NEAR, self._left + _NEAR
        for _ in range(_TRIED):
            if place <= highest:
                if place and place >= lowest:
                    self._source = place
                break
            place = self._earlier[place]

    def _search_pairs(self) -> None:
        ids, left = self._ids, self._left
        match, is_near, source = 0, False, 0
        place = self._earlier_pair[-1]
        for _ in range(_TRIED):
            if not place:
                break
            length = 2  # of the ids before `place` that are the last ids
            while length < _LONGEST and length < place and ids[place - 1 - length] == ids[-1 - length]:
                length += 1
            # Places descend: of equal ones the first stays.
            if length > match or (length == match and not is_near and abs(place - left) <= _NEAR):
                match, is_near, source = length, abs(place - left) <= _NEAR, place
            place = self._earlier_pair[place]
        self.match, self._source = match, source
