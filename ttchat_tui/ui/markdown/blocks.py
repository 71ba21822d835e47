"""The block parser's results: leaf blocks, each with the quotes and list items around it."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from re import Pattern
from typing import Literal, TypeAlias

LeafKind: TypeAlias = Literal["paragraph", "heading", "code", "html", "rule", "table", "definition", "empty"]
"""`definition`: one or more link definitions. `empty`: a list item without content, of which only the marker is shown."""

Align: TypeAlias = Literal["", "left", "center", "right"]


@dataclass(frozen=True, slots=True)
class Frame:
    """One quote or list item around a leaf. Two leaves share a container when their frames have one serial."""

    serial: int
    marker: str
    """The item's marker (`•`, ` 7.`); empty for a quote."""

    @property
    def is_quote(self) -> bool:
        return not self.marker


@dataclass(slots=True)
class Leaf:
    """One leaf block. An open leaf grows; a closed one never changes."""

    kind: LeafKind
    serial: int
    """Unique in its message, in document order."""
    path: tuple[Frame, ...] = ()
    fresh: int = 0
    """The frames of `path` from this index on start with this leaf: its first row shows their markers."""
    has_blank_before: bool = False
    lines: list[str] = field(default_factory=list[str])
    """Source lines without the containers' indents and markers. A table's first is its header."""
    level: int = 0
    """Of a heading, 1 to 6."""
    info: str = ""
    """The info string of a fence: its language comes first."""
    by_word: bool = False
    """Long lines of this code break between words."""
    is_fenced: bool = False
    fence: str = ""
    fence_indent: int = 0
    html_end: Pattern[str] | None = None
    ends_at_blank: bool = False
    aligns: tuple[Align, ...] = ()
    is_task_done: bool | None = None
    """Set for the first paragraph of a task item (`- [x] …`)."""
    source: list[str] = field(default_factory=list[str], compare=False)
    """The original lines of the message, for copying."""
    before: list[str] = field(default_factory=list[str], compare=False)
    """Blank lines before them."""
    head: list[str] = field(default_factory=list[str], compare=False)
    """Lines before them with nothing but markers of its items."""
    tail: str | None = field(default=None, compare=False)
    """The line that ended it: a closing fence, or a heading's underline."""
    formula: str = field(default="", compare=False)
    """The opener (`$$`, `\\[` …) of a formula in a paragraph that is not closed yet."""
    is_display: bool = field(default=False, compare=False)
    """The opener is alone on its line: blank lines do not end the formula."""

    def copy(self) -> Leaf:
        return replace(self, lines=self.lines.copy(), source=self.source.copy())


@dataclass(slots=True)
class Quote:
    """An open block quote."""

    serial: int

    def frame(self) -> Frame:
        return Frame(self.serial, "")


@dataclass(slots=True)
class ListBlock:
    """An open list: its items have one kind of marker."""

    delimiter: str
    """`-`, `*`, `+` for bullets, `.` or `)` for numbers: a change of it begins another list."""
    number: int
    """The number of the next item, if it is ordered."""

    @property
    def is_ordered(self) -> bool:
        return self.delimiter in ".)"


@dataclass(slots=True)
class Item:
    """An open list item."""

    serial: int
    marker: str
    indent: int
    """Columns by which a line must be indented to belong to it."""
    is_hollow: bool
    """It has only a marker so far: a blank line ends it."""
    is_announced: bool = False
    """A leaf shows its marker."""

    def frame(self) -> Frame:
        return Frame(self.serial, self.marker)


Container: TypeAlias = Quote | ListBlock | Item
