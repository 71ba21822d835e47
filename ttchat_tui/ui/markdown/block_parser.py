"""Block parsing line by line, after CommonMark's parsing strategy: closed blocks never change."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from ttchat_tui.ui.markdown import block_starts as starts
from ttchat_tui.ui.markdown import maths
from ttchat_tui.ui.markdown.blocks import Container, Item, Leaf, LeafKind, ListBlock, Quote

_BULLETS: Final = "•◦▪"
_TAB: Final = 4
_DEEPEST: Final = 100
"""The deepest nesting of containers; further markers are text. As markdown-it's `maxNesting`."""


class BlockParser:
    """Takes complete lines. `leaves` are the closed blocks in order, `tip` is the open one.

    The cost of a line is independent of the lines before it. A `clone` shows the effect of an unfinished line.
    """

    def __init__(self, references: dict[str, object] | None = None) -> None:
        self.leaves: list[Leaf] = []
        self.tip: Leaf | None = None
        self.references: dict[str, object] = {} if references is None else references
        """Link definitions so far, by normalised label."""
        self._containers: list[Container] = []
        self._serial = 0
        self._has_blank = False
        self._is_probe = False
        self._raw = ""
        self._is_taken = False
        self._loose: list[str] = []
        """Lines that belong to no leaf: blank ones and bare markers."""
        self._line = ""
        self._at = 0

    def clone(self) -> BlockParser:
        """A copy with the open blocks only, to be fed one line."""
        twin = BlockParser(dict(self.references))
        twin._is_probe = True
        twin.tip = self.tip.copy() if self.tip else None
        twin._containers = [replace(container) for container in self._containers]
        twin._serial = self._serial
        twin._loose = self._loose.copy()
        twin._has_blank = self._has_blank
        return twin

    def feed_line(self, line: str) -> None:
        """Parse one line, without its newline."""
        self._raw, self._is_taken = line, False
        self._line = line.expandtabs(_TAB)
        self._at = 0
        self._read()
        if not self._is_taken:
            self._loose.append(line)

    def _read(self) -> None:
        """Assign the line to a block."""
        matched = self._match_containers()
        is_whole = matched == len(self._containers)
        if is_whole and self.tip is not None and self._continue_tip(self.tip):
            return
        matched, has_started, is_done = self._open_blocks(matched, is_whole)
        if not is_done:
            self._read_text(matched, has_started, is_whole)

    def finish(self) -> None:
        """Close everything that is open."""
        self._close_to(0)

    # --- the position in the line; tabs are expanded, so an offset is a column

    def _indent(self) -> int:
        rest = self._line[self._at :]
        return len(rest) - len(rest.lstrip(" "))

    def _rest(self) -> str:
        """The rest of the line, without leading spaces."""
        return self._line[self._at :].lstrip(" ")

    def _is_blank(self) -> bool:
        return not self._line[self._at :].strip()

    def _match_containers(self) -> int:
        """Skip the markers and indents of the open containers. Returns how many of them continue."""
        for index, container in enumerate(self._containers):
            indent = self._indent()
            match container:
                case Quote():
                    if indent > 3 or not self._rest().startswith(">"):
                        return index
                    self._step_over_quote()
                case ListBlock():
                    pass
                case Item(is_hollow=is_hollow, indent=needed):
                    is_blank = self._is_blank()
                    if is_blank and is_hollow:
                        return index
                    if indent >= needed:
                        self._at += needed
                    elif is_blank:
                        self._at += indent
                    else:
                        return index
        return len(self._containers)

    def _step_over_quote(self) -> None:
        self._at += self._indent() + 1
        if self._line[self._at : self._at + 1] == " ":
            self._at += 1

    def _continue_tip(self, tip: Leaf) -> bool:
        """Add the line to the open leaf if it can only belong there. Returns False if it may start a block."""
        is_blank = self._is_blank()
        if tip.kind == "code":
            return self._continue_fence(tip) if tip.is_fenced else self._continue_indented(tip, is_blank)
        if tip.kind == "html":
            if is_blank and tip.ends_at_blank:
                self._close_tip()
                self._has_blank = True
                return True
            self._add_source(tip, self._line[self._at :])
            if tip.html_end is not None and not tip.ends_at_blank and tip.html_end.search(self._rest()):
                self._close_tip()
            return True
        if tip.formula and self._continue_formula(tip, is_blank):
            return True
        if is_blank:
            self._close_tip()
            self._has_blank = True
        return is_blank

    def _continue_formula(self, tip: Leaf, is_blank: bool) -> bool:
        """Add the line unparsed if it continues an open formula."""
        line = self._line[self._at :]
        if tip.formula == "$" and (is_blank or not maths.closes_at(line, "$")):
            return False
        if is_blank and not tip.is_display:
            return False
        if tip.lines[-1] == "" and (starts.atx_heading(line) or starts.fence(line)):
            return False  # the formula was never closed
        self._add_line(tip, "" if is_blank else line)
        return True

    def _add_line(self, tip: Leaf, line: str) -> None:
        """Add a line of text to a paragraph."""
        self._add_source(tip, line)
        if self._is_probe:
            return  # no further line needs it
        was_open = bool(tip.formula)
        tip.formula = maths.open_after(line, tip.formula)
        if not was_open:
            tip.is_display = tip.formula not in ("", "$", r"\(") and line.strip() == tip.formula

    def _continue_fence(self, tip: Leaf) -> bool:
        indent = self._indent()
        if indent <= 3 and starts.closes_fence(self._rest(), tip.fence):
            tip.tail, self._is_taken = self._raw, True
            self._close_tip()
        else:
            self._add_source(tip, self._line[self._at + min(indent, tip.fence_indent) :])
        return True

    def _continue_indented(self, tip: Leaf, is_blank: bool) -> bool:
        if not is_blank and self._indent() < 4:
            self._close_tip()
            return False
        self._add_source(tip, self._line[self._at + 4 :])
        self._has_blank = is_blank
        return True

    def _open_blocks(self, matched: int, is_whole: bool) -> tuple[int, bool, bool]:
        """Open the blocks that start on this line. Returns (continued containers, whether a block started, whether the line is
        used up)."""
        has_started = False
        while not self._is_blank():
            in_paragraph = (
                is_whole and not has_started and self.tip is not None and self.tip.kind == "paragraph"
            )
            if self._indent() >= 4:
                if self.tip is None or self.tip.kind != "paragraph":
                    self._close_to(matched)
                    self._add_source(self._open_leaf("code"), self._line[self._at + 4 :])
                    return matched, True, True
                break
            rest = self._rest()
            is_deepest = matched >= _DEEPEST
            if rest.startswith(">") and not is_deepest:
                self._close_to(matched)
                self._drop_list()
                self._step_over_quote()
                self._push(Quote(self._next_serial()))
            elif (in_paragraph and self._become_table_or_heading(rest)) or self._open_leaf_block(
                rest, matched
            ):
                return matched, True, True
            elif is_deepest or not self._open_item(rest, matched, in_paragraph):
                break
            has_started = True
            matched = len(self._containers)
        return matched, has_started, False

    def _become_table_or_heading(self, rest: str) -> bool:
        """Turn the open paragraph's last line into a table header, or the paragraph into a heading, if this line does so."""
        tip = self.tip
        assert tip is not None
        if aligns := starts.table_aligns(tip.lines[-1], rest):
            header, source = tip.lines.pop(), tip.source.pop()
            if tip.lines:
                self._close_tip()
                self._open_leaf("table")
            else:
                tip.kind = "table"
            assert self.tip is not None
            self.tip.lines.append(header)
            self.tip.source += [source, self._raw]
            self.tip.aligns, self._is_taken = aligns, True
            return True
        level = starts.setext_level(rest)
        if not level:
            return False
        if not self._split_definitions(tip):
            return False
        tip.kind, tip.level = "heading", level
        tip.tail, self._is_taken = self._raw, True
        self._close_tip()
        return True

    def _open_leaf_block(self, rest: str, matched: int) -> bool:
        """Open the heading, fence, rule or HTML block that `rest` begins, if any."""
        if heading := starts.atx_heading(rest):
            self._close_to(matched)
            leaf = self._open_leaf("heading")
            leaf.level = heading.level
            self._add_source(leaf, heading.text)
            self._close_tip()
        elif fence := starts.fence(rest):
            fence_indent = self._indent()
            self._close_to(matched)
            leaf = self._open_leaf("code")
            leaf.is_fenced, leaf.fence, leaf.info = True, fence.marker, fence.info
            leaf.fence_indent = fence_indent
            leaf.source, self._is_taken = [self._raw], True
        elif (html := starts.html_start(rest)) and (html.can_interrupt or not self._is_interruptible()):
            self._close_to(matched)
            leaf = self._open_leaf("html")
            leaf.html_end, leaf.ends_at_blank = html.end, html.ends_at_blank
            self._add_source(leaf, self._line[self._at :])
            if not html.ends_at_blank and html.end.search(rest):
                self._close_tip()
        elif starts.is_rule(rest):
            self._close_to(matched)
            self._open_leaf("rule").source, self._is_taken = [self._raw], True
            self._close_tip()
        else:
            return False
        return True

    def _is_interruptible(self) -> bool:
        return self.tip is not None and self.tip.kind in ("paragraph", "table")

    def _open_item(self, rest: str, matched: int, in_paragraph: bool) -> bool:
        marker = starts.list_marker(rest)
        if marker is None:
            return False
        is_ordered = marker.delimiter in ".)"
        if in_paragraph and (marker.is_blank or (is_ordered and marker.number != 1)):
            return False
        offset = self._indent()
        self._close_to(matched)
        last = self._containers[-1] if self._containers else None
        if not isinstance(last, ListBlock) or last.delimiter != marker.delimiter:
            self._drop_list()
            last = ListBlock(marker.delimiter, marker.number)
            self._containers.append(last)
        if is_ordered:
            label = f"{last.number}{marker.delimiter}".rjust(3)
        else:
            depth = sum(isinstance(c, ListBlock) and not c.is_ordered for c in self._containers)
            label = " " + _BULLETS[(depth - 1) % len(_BULLETS)]
        last.number += 1
        self._push(Item(self._next_serial(), label, offset + marker.indent, marker.is_blank))
        self._at = min(self._at + offset + marker.indent, len(self._line))
        return True

    def _read_text(self, matched: int, has_started: bool, is_whole: bool) -> None:
        """Add the rest of the line, which begins no block, to an open block or a new paragraph."""
        tip = self.tip
        is_blank = self._is_blank()
        if tip is not None and tip.kind == "paragraph" and not has_started and not is_blank:
            self._add_line(tip, self._rest())  # also a lazy continuation line
            return
        if tip is not None and tip.kind == "table" and not has_started and is_whole and self._indent() < 4:
            self._add_source(tip, self._rest())
            return
        self._close_to(matched)
        if is_blank:
            self._has_blank = self._has_blank or not has_started
            return
        self._add_line(self._open_leaf("paragraph"), self._rest())

    def _add_source(self, leaf: Leaf, line: str) -> None:
        """Add the rest of the line to `leaf`."""
        leaf.lines.append(line)
        leaf.source.append(self._raw)
        self._is_taken = True

    # --- opening and closing

    def _next_serial(self) -> int:
        self._serial += 1
        return self._serial

    def _push(self, container: Container) -> None:
        self._fill_items()
        self._containers.append(container)

    def _fill_items(self) -> None:
        for container in self._containers:
            if isinstance(container, Item):
                container.is_hollow = False

    def _drop_list(self) -> None:
        """End an open list: anything but an item ends it."""
        if self._containers and isinstance(self._containers[-1], ListBlock):
            self._containers.pop()

    def _open_leaf(self, kind: LeafKind) -> Leaf:
        self._drop_list()
        self._fill_items()
        around = [container for container in self._containers if not isinstance(container, ListBlock)]
        self.tip = Leaf(kind, self._next_serial(), tuple(container.frame() for container in around))
        self.tip.fresh = self._announce(around)
        for line in self._loose:
            (self.tip.head if line.strip("> \t") else self.tip.before).append(line)
        self._loose.clear()
        self.tip.has_blank_before, self._has_blank = self._has_blank, False
        return self.tip

    def _announce(self, around: list[Quote | Item]) -> int:
        """Mark all items as shown. Returns the index of the first new one, or their number."""
        fresh = len(around)
        for index, container in enumerate(around):
            if isinstance(container, Item) and not container.is_announced:
                container.is_announced = True
                fresh = min(fresh, index)
        return fresh

    def _close_to(self, depth: int) -> None:
        """Close the open leaf and all but the first `depth` containers."""
        self._close_tip()
        while len(self._containers) > depth:
            last = self._containers[-1]
            if isinstance(last, Item) and not last.is_announced:
                self._open_leaf("empty")
                self._close_tip()
            self._containers.pop()

    def _close_tip(self) -> None:
        tip, self.tip = self.tip, None
        if tip is None:
            return
        if tip.kind == "paragraph":
            if not self._split_definitions(tip):
                tip.kind = "definition"
                self.leaves.append(tip)
                return
            task = starts.task_state(tip.lines[0]) if tip.fresh < len(tip.path) else None
            if task is not None and not tip.path[-1].is_quote:
                tip.is_task_done, tip.lines[0] = task
        elif tip.kind == "code" and not tip.is_fenced:
            while tip.lines and not tip.lines[-1].strip():
                tip.lines.pop()
                self._loose.insert(0, tip.source.pop())
        self.leaves.append(tip)

    def _split_definitions(self, tip: Leaf) -> bool:
        """Split link definitions off the head of a paragraph, as a leaf of their own. Returns whether text is left."""
        definitions, text = starts.split_definitions("\n".join(tip.lines).strip(), self.references)
        if definitions and text:
            lines = definitions.split("\n")
            source = tip.source[: len(lines)]
            self.leaves.append(
                replace(tip, kind="definition", serial=self._next_serial(), lines=lines, source=source)
            )
            tip.fresh, tip.has_blank_before = len(tip.path), False
            tip.source, tip.before, tip.head = tip.source[len(lines) :], [], []
        tip.lines = (text or definitions).split("\n")
        self._loose[:0] = tip.source[len(tip.lines) :]
        del tip.source[len(tip.lines) :]
        return bool(text)
