"""A bar whose parts are durations, and its legend. Each part begins with its name or its own letter, so that no colour is needed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from textual.content import Content

from ttchat_tui.domain.anatomy import PartName, TimelinePart

LETTERS: Final[dict[PartName, str]] = {
    "wait": "W",
    "template": "T",
    "tokenise": "K",
    "prepare": "A",
    "request": "R",
    "first byte": "B",
    "prefill": "P",
    "compile": "C",
    "first token": "F",
    "first step": "2",
    "decode": "D",
    "sampling": "S",
    "detokenise": "O",
    "send": "N",
    "loop": "L",
    "stream": "Y",
    "end": "E",
    "pipe": "I",
    "screen": "V",
    "other": "X",
}

_COLOURS: Final[dict[PartName, str]] = {
    "prefill": "$primary",
    "compile": "$error",
    "first byte": "$warning",
    "first token": "$warning",
    "first step": "$error",
    "decode": "$success",
    "stream": "$success",
    "sampling": "$accent",
    "detokenise": "$warning",
    "send": "$primary",
    "pipe": "$primary",
    "screen": "$accent",
}
"""Of the others: `$text-muted`."""

GAP: Final = "  "
_COLUMN_GAP: Final = "   "


def colour_of(name: PartName) -> str:
    return _COLOURS.get(name, "$text-muted")


def bar(parts: Sequence[TimelinePart], width: int) -> Content:
    """`width` cells; a part that is too short for one is left out, and one that has room for its name begins with that."""
    pieces: list[tuple[str, str]] = []
    for part, cells in zip(parts, cells_of([part.seconds for part in parts], width), strict=True):
        if cells:
            name = part.name if len(part.name) < cells else LETTERS[part.name]
            pieces += [(name, "bold"), ("█" * (cells - len(name)), colour_of(part.name))]
    return Content.assemble(*pieces)


def cells_of(shares: Sequence[float], width: int) -> list[int]:
    """`width` cells in proportion to `shares`, by largest remainder."""
    total = sum(shares)
    if total <= 0.0 or width < 1:
        return [0] * len(shares)
    exact = [share / total * width for share in shares]
    cells = [int(each) for each in exact]
    by_rest = sorted(range(len(exact)), key=lambda at: cells[at] - exact[at])
    for at in by_rest[: width - sum(cells)]:
        cells[at] += 1
    return cells


def legend(parts: Sequence[TimelinePart], width: int) -> list[Content]:
    """Lines of at most `width` cells: letter, name, duration and share of each part. In columns where two have room, otherwise one
    after the other."""
    total = sum(part.seconds for part in parts)
    cells = [(part.name, duration_words(part.seconds), _share_words(part.seconds / total)) for part in parts]
    name, duration, share = (max((len(each[at]) for each in cells), default=0) for at in range(3))
    aligned = [
        _item(part, f"{each[0]:<{name}} {each[1]:>{duration}} {each[2]:>{share}}")
        for part, each in zip(parts, cells, strict=True)
    ]
    columns = (width + len(_COLUMN_GAP)) // (4 + name + duration + share + len(_COLUMN_GAP))
    if columns > 1:
        rows = (aligned[at : at + columns] for at in range(0, len(aligned), columns))
        return [Content(_COLUMN_GAP).join(row) for row in rows]
    lines: list[Content] = []
    for item in (_item(part, " ".join(each)) for part, each in zip(parts, cells, strict=True)):
        if lines and lines[-1].cell_length + len(GAP) + item.cell_length <= width:
            lines[-1] = Content.assemble(lines[-1], GAP, item)
        else:
            lines.append(item)
    return lines


def _item(part: TimelinePart, words: str) -> Content:
    return Content.assemble((LETTERS[part.name], f"bold {colour_of(part.name)}"), f" {words}")


def _share_words(share: float) -> str:
    return f"{share:.1%}" if share >= 0.0005 else "<0.1%"


def duration_words(seconds: float | None) -> str:
    """`0.042 ms`, `12.3 ms`, `1.23 s`, `123 s`."""
    if seconds is None:
        return "–"
    if seconds >= 0.9995:
        return f"{seconds:,.0f} s" if seconds >= 99.95 else f"{seconds:.2f} s"
    milliseconds = seconds * 1000
    digits = 1 if milliseconds >= 9.95 else 2 if milliseconds >= 0.0995 else 3
    return f"{milliseconds:.{digits}f} ms"
