"""Fuzzy matching of what is typed to names: files, commands, models, titles."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from typing import Final

from rapidfuzz import fuzz, process
from rapidfuzz.distance import LCSseq

SLICE: Final = 4_000
"""Names that are compared in one call of rapidfuzz, which holds the interpreter: about 1 ms."""
RANKED: Final = 200
"""Fuzzy matches of which the most similar come first."""
FORGIVING: Final = 4
"""From so many letters on one may be wrong."""


def ranked(typed: str, names: Sequence[str], limit: int) -> list[int]:
    """The places of the best matches in `names`, which are in casefolded form.

    First come names whose last part begins with `typed`, then those with it in the last part, then anywhere, then those
    with its letters in order. Among equals the order of `names` stays.
    """
    wanted = typed.casefold()
    if not wanted:
        return list(range(min(limit, len(names))))
    found: dict[int, None] = {}
    tests: tuple[Callable[[str], bool], ...] = (
        lambda name: _last_part(name).startswith(wanted),
        lambda name: wanted in _last_part(name),
        lambda name: wanted in name,
    )
    inside = [place for place, name in enumerate(names) if wanted in name]
    for matches in tests:
        _add(found, (place for place in inside if matches(names[place])), limit)
    if len(found) < limit:
        _add(found, _similar(wanted, names), limit)
    return list(found)


def _last_part(name: str) -> str:
    """`a.py` of `src/a.py`, `src/` of `lib/src/`."""
    return name[name.rfind("/", 0, -1) + 1 :]


def _add(found: dict[int, None], places: Iterable[int], limit: int) -> None:
    found.update(dict.fromkeys(islice((place for place in places if place not in found), limit - len(found))))


def _similar(wanted: str, names: Sequence[str]) -> Iterator[int]:
    """Names that contain the letters of `wanted` in order, the most compact first."""
    least = len(wanted) - (len(wanted) >= FORGIVING)
    hits: list[tuple[float, int]] = []
    for start in range(0, len(names), SLICE):
        part = names[start : start + SLICE]
        scored = process.extract(wanted, part, scorer=LCSseq.similarity, score_cutoff=least, limit=RANKED)
        hits += [(-score, start + place) for _, score, place in scored]
    best = sorted(hits)[:RANKED]
    best.sort(key=lambda hit: (hit[0], -fuzz.partial_ratio(wanted, _last_part(names[hit[1]]))))
    return (place for _, place in best)
