"""One message's Markdown while it streams: source in, chunks of rows out, at constant cost."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from ttchat_tui.domain.text import VisibleStream
from ttchat_tui.ui.markdown.block_parser import BlockParser
from ttchat_tui.ui.markdown.blocks import Leaf
from ttchat_tui.ui.markdown.leaf_rows import LeafRows, gap_rows, leaf_rows
from ttchat_tui.ui.markdown.literal_parser import LiteralParser
from ttchat_tui.ui.markdown.rows import RenderRow
from ttchat_tui.ui.markdown.text_rows import PIECE

PAGE: Final = 8
"""The cost at which a closed chunk is full: 128 lines of code, or 7,200 characters."""


@dataclass(slots=True)
class RenderChunk:
    """Rows that one widget draws. The growing chunk is full at a cost of 1, closed ones at `PAGE`."""

    rows: list[RenderRow] = field(default_factory=list[RenderRow])
    cost: float = 0.0
    is_thought: bool = False


@dataclass(slots=True)
class _Live:
    """An incomplete leaf with rows in the chunks."""

    leaf: Leaf
    rows: LeafRows
    chunk: int
    row: int
    """The index of its first row."""
    previous: Leaf | None
    references: int
    """The number of link definitions at its start; its rows may use no later ones."""
    is_sealed: bool = False
    """All its rows are there; valid while the leaf does not change."""

    def still_holds(self, leaf: Leaf) -> bool:
        if _identity(leaf) != _identity(self.leaf):
            return False
        return leaf == self.leaf if self.is_sealed else self.rows.fits(leaf)


def _identity(leaf: Leaf) -> tuple[object, ...]:
    """What a leaf's first rows depend on besides its text."""
    return leaf.serial, leaf.kind, leaf.path, leaf.fresh, leaf.is_task_done, leaf.level


class Document:
    """Takes text with `feed`, brings the chunks up to date with `update`, and completes them with `finish`.

    After `finish` the chunks look as if the whole text had been fed at once. Before it, only links without a definition so
    far differ: they are shown as source.
    """

    def __init__(self, first_fence: int = 0, *, literal: str | None = None) -> None:
        """`first_fence`: the number of the first fence, for copying. `literal`: the text is no Markdown, and is shown as it is,
        highlighted in this language (empty: in none)."""
        self._first_fence = first_fence
        self._literal = literal
        self.chunks: list[RenderChunk] = [RenderChunk()]
        """Full chunks and the growing one. The rows of the last may change with the next update."""
        self._visible = VisibleStream()
        self._held = ""
        self._partial = ""
        self._lines: list[str] = []
        self._begin({})

    def _begin(self, references: dict[str, object]) -> None:
        is_markdown = self._literal is None
        self._parser: BlockParser | LiteralParser
        self._parser = BlockParser(references) if is_markdown else LiteralParser(self._literal or "")
        self._live: list[_Live] = []
        self._previous: Leaf | None = None
        self._fences = self._first_fence
        self._tail = 0
        self._first_changed = 0
        self._fewest_references: int | None = None

    def feed(self, text: str) -> None:
        """Add source text. Cheap: complete lines are parsed, and nothing is drawn."""
        text = self._held + text
        # a carriage return may be half of a CRLF
        self._held = "\r" if text.endswith("\r") else ""
        text = self._visible.feed(text.removesuffix("\r").replace("\r\n", "\n").replace("\r", "\n"))
        first, *others = text.split("\n")
        self._partial += first
        for line in others:
            self._feed_line(self._partial)
            self._partial = line

    def update(self) -> int:
        """Bring `chunks` up to date. Returns the index of the first changed chunk.

        An unfinished last line is drawn as if it ended here.
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
        """The text is complete: draw its final form. Returns the index of the first changed chunk."""
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
        """Start over with all link definitions known: some link was drawn before its definition."""
        self.chunks = [RenderChunk()]
        self._begin(references)
        for line in self._lines:
            self._parser.feed_line(line)
        self._parser.finish()
        self._commit_closed()

    @property
    def next_fence(self) -> int:
        """The number of the fence after the complete ones."""
        return self._fences

    # --- complete leaves

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
        """Remember that `leaf`, drawn with the first `known` definitions, may have links to later ones."""
        if leaf.kind in ("paragraph", "heading", "table") and any("[" in line for line in leaf.lines):
            fewest = self._fewest_references
            self._fewest_references = known if fewest is None else min(fewest, known)

    # --- leaves that may continue

    def _keep_live(self, leaves: list[Leaf]) -> None:
        """Remove the rows of live leaves that turned out to be something else."""
        for index, live in enumerate(self._live):
            if index >= len(leaves) or not live.still_holds(leaves[index]):
                self._cut_back(index)
                return

    def _draw_tail(self, probe: BlockParser | LiteralParser, tip: int) -> list[RenderRow]:
        """Settle rows of the open leaves where possible, and return the remaining rows."""
        tail: list[RenderRow] = []
        previous, fences = self._previous, self._fences
        for index, leaf in enumerate(probe.leaves):
            live = self._live[index] if index < len(self._live) else None
            # not the probe's references: an unfinished line may define half an address
            rows = live.rows if live else leaf_rows(leaf, self._parser.references, fences)
            may_settle = not tail and (live is None or not live.is_sealed)
            if live is None and not tail:
                live = self._go_live(leaf, rows, previous)
            if live is not None and may_settle and leaf.serial == tip:
                self._settle(live, leaf)
            elif live is not None and may_settle and len(self._partial) > PIECE:
                # a long line has begun another leaf: this one is most likely complete
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
        """Add the missing rows. If the settled ones are wrong, draw the whole leaf again."""
        rows = live.rows.close(leaf) if self._has_rows(live) else None
        if rows is None:
            self._cut_back(self._live.index(live))
            self._live.append(live)
            rows = gap_rows(leaf, live.previous) + live.rows.whole(leaf)
        self._add(rows)

    def _has_rows(self, live: _Live) -> bool:
        return (live.chunk, live.row) != (len(self.chunks) - 1, len(self.chunks[-1].rows))

    # --- chunks

    def _add(self, rows: list[RenderRow]) -> None:
        for row in rows:
            if self.chunks[-1].cost >= 1:
                self._close_chunk()
            self.chunks[-1].rows.append(row)
            self.chunks[-1].cost += row.cost

    def _close_chunk(self) -> None:
        """Start a new chunk. The full one joins the chunk before it while that has room.

        The growing chunk is drawn again with every update and must be small; closed ones should be few widgets.
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
        """Remove the rows of live leaf `index` and all after it."""
        if index >= len(self._live):
            return
        live = self._live[index]
        del self._live[index:]
        del self.chunks[live.chunk + 1 :]
        last = self.chunks[-1]
        del last.rows[live.row :]
        last.cost = sum(row.cost for row in last.rows)
        self._first_changed = min(self._first_changed, live.chunk)
