"""The result of a row: lines for the table, and all measurements."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass
class Line:
    """One line of the table."""

    what: str
    peer: str
    figure: str
    """As shown, with its unit."""
    target: str = "stated"
    is_met: bool | None = None
    """None without a target."""


@dataclass
class Result:
    """The result of one row."""

    lines: list[Line]
    counted: str = ""
    """The rounds that the figures use."""
    details: dict[str, Any] = field(default_factory=dict)

    def record(self) -> dict[str, Any]:
        return asdict(self)


def at_least(what: str, peer: str, ratio: dict[str, Any], target: float | None, note: str = "") -> Line:
    """A paired ratio (`Rounds.ratio`), with its quartiles."""
    value, (low, high) = ratio["ratio"], ratio["quartiles"]
    figure = f"{value:.2f} ({low:.2f}-{high:.2f}, n={ratio['rounds']})"
    return Line(
        what,
        peer,
        f"{figure}; {note}" if note else figure,
        "stated" if target is None else f">= {target:g}",
        None if target is None else value >= target,
    )


def table(lines: list[Line]) -> str:
    """The lines as a Markdown table."""
    marks = {True: "yes", False: "**no**", None: ""}
    rows = [
        f"| {line.what} | {line.peer} | {line.figure} | {line.target} | {marks[line.is_met]} |"
        for line in lines
    ]
    return "\n".join(["| what | peer | figure | target | met |", "|---|---|---|---|---|", *rows])
