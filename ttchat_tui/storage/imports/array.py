"""The elements of a JSON array, one at a time. One that would take too much memory is skipped."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final, Protocol, TypeAlias

import ijson  # pyright: ignore[reportMissingTypeStubs]

LARGEST: Final = 64 << 20
"""Bytes of the strings of one element."""
MOST_VALUES: Final = 2_000_000
"""In one element: 200 MB."""
DEEPEST: Final = 200
"""Levels of nesting. The nodes of a conversation are beside each other, not inside each other."""

TOO_LARGE: Final = "it is too large"
TOO_DEEP: Final = "it is nested too deeply"

_CHUNK: Final = 1 << 16
_STARTS: Final = frozenset({"start_map", "start_array"})
_ENDS: Final = frozenset({"end_map", "end_array"})

_Events: TypeAlias = Iterator[tuple[str, Any]]


class Reader(Protocol):
    """A file that knows how far it is read."""

    position: int
    mark: int
    """Where the last complete value ended, to about a chunk."""

    def read(self, size: int, /) -> bytes: ...


class Skipped(Exception):
    """In the place of an element that is not built. `str()` is a clause that says why."""


def elements(reader: Reader) -> Iterator[Any]:
    """Each element of the array, or `Skipped` in its place.

    ijson's own `items` keeps the path of each value, so that nesting without end takes memory without end.

    Raises:
        ijson.JSONError, ValueError: the array ends here; with ijson.IncompleteJSONError, the file.
    """
    events: _Events = iter(ijson.basic_parse(reader, buf_size=_CHUNK))
    next(events)  # the beginning of the array
    for event, value in events:
        if event in _STARTS:
            yield _built(_empty(event), events, reader)
        elif event not in _ENDS:
            yield value


def _empty(event: str) -> Any:
    return {} if event == "start_map" else []


def _built(root: Any, events: _Events, reader: Reader) -> Any:
    """`root` with what follows in `events`, up to its end."""
    current, above, key = root, list[Any](), ""
    values = size = 0
    for event, value in events:
        reader.mark = reader.position
        if event == "map_key":
            key = value
            size += len(value)
            continue
        if event in _ENDS:
            if not above:
                return root
            current = above.pop()
            continue
        made = _empty(event) if event in _STARTS else _number(value) if event == "number" else value
        is_map = type(current) is dict
        if is_map:
            current[key] = made
        else:
            current.append(made)
        values += 1
        if event in _STARTS:
            above.append(current)
            current = made
        elif event == "string":
            size += len(value)
        if len(above) > DEEPEST or values > MOST_VALUES or size > LARGEST:
            return _skipped(TOO_DEEP if len(above) > DEEPEST else TOO_LARGE, len(above), events, reader)
    return None  # not reached: the parser raises where the file ends


def _number(value: Any) -> Any:
    """ijson's own floats (`use_float`) exclude large integers; otherwise it gives a Decimal."""
    return value if isinstance(value, int) else float(value)


def _skipped(why: str, level: int, events: _Events, reader: Reader) -> Skipped:
    for event, _ in events:
        reader.mark = reader.position
        level += (event in _STARTS) - (event in _ENDS)
        if level < 0:
            break
    return Skipped(why)
