"""What the block parser finds: leaf blocks, each with the path of quotes and list items that it stands in."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from re import Pattern
from typing import Literal, TypeAlias

LeafKind: TypeAlias = Literal["paragraph", "heading", "code", "html", "rule", "table", "definition", "empty"]
"""`definition` is one or more link definitions. `empty` is a list item without content: only its marker is shown."""

Align: TypeAlias = Literal["", "left", "center", "right"]


@dataclass(frozen=True, slots=True)
class Frame:
    """One quote or list item around a leaf. Two leaves share a container when their frames have one serial."""

    serial: int
    marker: str
    """What the item begins with (`•`, ` 7.`); empty for a quote."""

    @property
    def is_quote(self) -> bool:
        return not self.marker


@dataclass(slots=True)
class Leaf:
    """One leaf block. While it is open its lines grow; a closed one never changes."""

    kind: LeafKind
    serial: int
    """Unique in its message, in document order."""
    path: tuple[Frame, ...] = ()
    fresh: int = 0
    """From this index on, the frames of `path` begin with this leaf: their markers are shown on its first row."""
    has_blank_before: bool = False
    lines: list[str] = field(default_factory=list[str])
    """Source lines without the containers' indents and markers. A table's first is its header."""
    level: int = 0
    """Of a heading, 1 to 6."""
    info: str = ""
    """The info string of a fence: its language comes first."""
    is_fenced: bool = False
    fence: str = ""
    fence_indent: int = 0
    html_end: Pattern[str] | None = None
    ends_at_blank: bool = False
    aligns: tuple[Align, ...] = ()
    is_task_done: bool | None = None
    """Set for the first paragraph of a task item (`- [x] …`)."""
    source: list[str] = field(default_factory=list[str], compare=False)
    """The lines of the message that it was read from, as they came: what copying it yields."""
    before: list[str] = field(default_factory=list[str], compare=False)
    """Blank lines before them."""
    head: list[str] = field(default_factory=list[str], compare=False)
    """Lines before them that hold only the markers of its items."""
    tail: str | None = field(default=None, compare=False)
    """The line that ended it: of a fence, or under a heading."""
    formula: str = field(default="", compare=False)
    """What a paragraph's last line opened (`$$`, `\\[` …) and no line has closed yet."""
    is_display: bool = field(default=False, compare=False)
    """The opener stood alone on its line: blank lines do not end the formula."""

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
    """What the next item counts, if it is ordered."""

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
    """Nothing but its marker so far: a blank line ends it."""
    is_announced: bool = False
    """A leaf has taken its marker already."""

    def frame(self) -> Frame:
        return Frame(self.serial, self.marker)


Container: TypeAlias = Quote | ListBlock | Item
