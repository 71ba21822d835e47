"""One message's Markdown while it is written: source in, chunks of rows out, at a cost that does not grow."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from ttchat_tui.domain.text import VisibleStream
from ttchat_tui.ui.markdown.block_parser import BlockParser
from ttchat_tui.ui.markdown.blocks import Leaf
from ttchat_tui.ui.markdown.leaf_rows import LeafRows, gap_rows, leaf_rows
from ttchat_tui.ui.markdown.rows import RenderRow
from ttchat_tui.ui.markdown.text_rows import PIECE

PAGE: Final = 8
"""Cost at which a closed chunk takes no more rows: 128 lines of code, 7,200 characters."""


@dataclass(slots=True)
class RenderChunk:
    """Rows that are drawn by one widget. The growing one is full at a cost of 1; closed ones hold up to `PAGE`."""

    rows: list[RenderRow] = field(default_factory=list[RenderRow])
    cost: float = 0.0


@dataclass(slots=True)
class _Live:
    """A leaf of which rows stand in the chunks though it is not complete."""

    leaf: Leaf
    rows: LeafRows
    chunk: int
    row: int
    """Where its rows begin."""
    previous: Leaf | None
    references: int
    """How many link definitions had come when it was begun: its rows may know no more."""
    is_sealed: bool = False
    """All its rows stand there: right as long as the leaf stays as it is."""

    def still_holds(self, leaf: Leaf) -> bool:
        if _identity(leaf) != _identity(self.leaf):
            return False
        return leaf == self.leaf if self.is_sealed else self.rows.fits(leaf)


def _identity(leaf: Leaf) -> tuple[object, ...]:
    """What the first rows of a leaf depend on, apart from its text."""
    return leaf.serial, leaf.kind, leaf.path, leaf.fresh, leaf.is_task_done, leaf.level


class Document:
    """Feed it text, `update` it to see the chunks, `finish` it when the text is complete.

    After `finish` the chunks look as if the whole text had come at once, however it was cut; before it, the only
    difference is that a link whose definition has not come yet is shown as its source.
    """

    def __init__(self) -> None:
        self.chunks: list[RenderChunk] = [RenderChunk()]
        """Full chunks and the growing one; the last holds rows that may change with the next update."""
        self._visible = VisibleStream()
        self._held = ""
        self._partial = ""
        self._lines: list[str] = []
        self._begin({})

    def _begin(self, references: dict[str, object]) -> None:
        self._parser = BlockParser(references)
        self._live: list[_Live] = []
        self._previous: Leaf | None = None
        self._fences = 0
        self._tail = 0
        self._first_changed = 0
        self._fewest_references: int | None = None

    def feed(self, text: str) -> None:
        """Take more source. Cheap: complete lines go to the block parser, nothing is drawn."""
        text = self._held + text
        # A carriage return may be half of a line's end.
        self._held = "\r" if text.endswith("\r") else ""
        text = self._visible.feed(text.removesuffix("\r").replace("\r\n", "\n").replace("\r", "\n"))
        first, *others = text.split("\n")
        self._partial += first
        for line in others:
            self._feed_line(self._partial)
            self._partial = line

    def update(self) -> int:
        """Bring `chunks` up to date; returns the index of the first chunk that changed.

        An unfinished last line is drawn as the block that it would be if it ended here.
        """
        self._drop_tail()
        self._commit_closed()
        probe = self._parser.clone()
        if self._partial:
            probe.feed_line(self._partial)
        tip = probe.tip.serial if probe.tip is not None else 0
        probe.finish()
        self._keep_live(probe.leaves)
        tail = self._draw_tail(probe, tip)
        self.chunks[-1].rows += tail
        self._tail = len(tail)
        return self._pop_first_changed()

    def finish(self) -> int:
        """The text is complete: draw it for good. Returns the index of the first chunk that changed."""
        self._drop_tail()
        if self._held:
            self.feed("\n")
        if self._partial:
            self._feed_line(self._partial)
            self._partial = ""
        self._parser.finish()
        self._commit_closed()
        references = self._parser.references
        if self._fewest_references is not None and len(references) > self._fewest_references:
            self._draw_again(references)
        if not self.chunks[-1].rows and len(self.chunks) > 1:
            self.chunks.pop()
        return self._pop_first_changed()

    def _feed_line(self, line: str) -> None:
        self._lines.append(line)
        self._parser.feed_line(line)

    def _pop_first_changed(self) -> int:
        first = min(self._first_changed, len(self.chunks) - 1)
        self._first_changed = len(self.chunks) - 1
        return first

    def _draw_again(self, references: dict[str, object]) -> None:
        """Some link was drawn before its definition came: start over, now that all of them are known."""
        self.chunks = [RenderChunk()]
        self._begin(references)
        for line in self._lines:
            self._parser.feed_line(line)
        self._parser.finish()
        self._commit_closed()

    # Leaves that are complete.

    def _commit_closed(self) -> None:
        for leaf in self._parser.leaves:
            self._commit(leaf)
        self._parser.leaves.clear()

    def _commit(self, leaf: Leaf) -> None:
        live = self._live[0] if self._live else None
        if live is not None and live.still_holds(leaf):
            if not live.is_sealed:
                self._complete(live, leaf)
            self._live.remove(live)
            known = live.references
        else:
            self._cut_back(0)
            self._add(gap_rows(leaf, self._previous))
            self._add(leaf_rows(leaf, self._parser.references, self._fences).whole(leaf))
            known = len(self._parser.references)
        self._note_links(leaf, known)
        self._previous = leaf
        self._fences += leaf.is_fenced

    def _note_links(self, leaf: Leaf, known: int) -> None:
        """`leaf` was drawn by the first `known` definitions, and may hold links to later ones."""
        if leaf.kind in ("paragraph", "heading", "table") and any("[" in line for line in leaf.lines):
            fewest = self._fewest_references
            self._fewest_references = known if fewest is None else min(fewest, known)

    # Leaves that may go on.

    def _keep_live(self, leaves: list[Leaf]) -> None:
        """Take back the rows of every live leaf that turned out to be something else."""
        for index, live in enumerate(self._live):
            if index >= len(leaves) or not live.still_holds(leaves[index]):
                self._cut_back(index)
                return

    def _draw_tail(self, probe: BlockParser, tip: int) -> list[RenderRow]:
        """Settle what can be settled of the open leaves, and return the rows of the rest."""
        tail: list[RenderRow] = []
        previous, fences = self._previous, self._fences
        for index, leaf in enumerate(probe.leaves):
            live = self._live[index] if index < len(self._live) else None
            # Not the probe's references: an unfinished line may define half of an address.
            rows = live.rows if live else leaf_rows(leaf, self._parser.references, fences)
            may_settle = not tail and (live is None or not live.is_sealed)
            if live is None and not tail:
                live = self._go_live(leaf, rows, previous)
            if live is not None and may_settle and leaf.serial == tip:
                self._settle(live, leaf)
            elif live is not None and may_settle and len(self._partial) > PIECE:
                # A long line has begun another leaf; this one is most likely complete.
                self._seal(live, leaf)
            if live is None or not live.is_sealed:
                has_begun = live is not None and self._has_rows(live)
                tail += ([] if has_begun else gap_rows(leaf, previous)) + rows.rest(leaf)
            previous, fences = leaf, fences + leaf.is_fenced
        return tail

    def _go_live(self, leaf: Leaf, rows: LeafRows, previous: Leaf | None) -> _Live:
        known = len(self._parser.references)
        live = _Live(leaf, rows, len(self.chunks) - 1, len(self.chunks[-1].rows), previous, known)
        self._live.append(live)
        return live

    def _settle(self, live: _Live, leaf: Leaf) -> None:
        rows = live.rows.settle(leaf)
        if rows:
            self._add(rows if self._has_rows(live) else gap_rows(leaf, live.previous) + rows)
        live.leaf = leaf

    def _seal(self, live: _Live, leaf: Leaf) -> None:
        self._complete(live, leaf)
        live.leaf, live.is_sealed = leaf, True

    def _complete(self, live: _Live, leaf: Leaf) -> None:
        """Add the rows that are missing; draw the leaf anew if the settled ones are not as they should be."""
        rows = live.rows.close(leaf) if self._has_rows(live) else None
        if rows is None:
            self._cut_back(self._live.index(live))
            self._live.append(live)
            rows = gap_rows(leaf, live.previous) + live.rows.whole(leaf)
        self._add(rows)

    def _has_rows(self, live: _Live) -> bool:
        return (live.chunk, live.row) != (len(self.chunks) - 1, len(self.chunks[-1].rows))

    # Chunks.

    def _add(self, rows: list[RenderRow]) -> None:
        for row in rows:
            if self.chunks[-1].cost >= 1:
                self._close_chunk()
            self.chunks[-1].rows.append(row)
            self.chunks[-1].cost += row.cost

    def _close_chunk(self) -> None:
        """Begin another chunk; the full one joins the page before it while that has room.

        What grows is drawn again with every update and must be small; what is closed should be in few widgets.
        """
        last = self.chunks[-1]
        page = self.chunks[-2] if len(self.chunks) > 1 else None
        if page is None or page.cost >= PAGE:
            self.chunks.append(RenderChunk())
            return
        place = len(self.chunks) - 1
        for live in self._live:
            if live.chunk == place:
                live.chunk, live.row = place - 1, live.row + len(page.rows)
        page.rows += last.rows
        page.cost += last.cost
        self.chunks[-1] = RenderChunk()
        self._first_changed = min(self._first_changed, place - 1)

    def _drop_tail(self) -> None:
        if self._tail:
            del self.chunks[-1].rows[-self._tail :]
        self._tail = 0

    def _cut_back(self, index: int) -> None:
        """Remove all rows from live leaf `index` on."""
        if index >= len(self._live):
            return
        live = self._live[index]
        del self._live[index:]
        del self.chunks[live.chunk + 1 :]
        last = self.chunks[-1]
        del last.rows[live.row :]
        last.cost = sum(row.cost for row in last.rows)
        self._first_changed = min(self._first_changed, live.chunk)
