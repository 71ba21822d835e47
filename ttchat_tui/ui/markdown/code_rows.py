"""Rows of code and literal HTML, highlighted in windows of at most 16 lines that pass on the lexer's state."""

from __future__ import annotations

from typing import Final

from textual.content import Content

from ttchat_tui.ui.markdown.blocks import Leaf
from ttchat_tui.ui.markdown.highlight import ROOT, Highlighter, State
from ttchat_tui.ui.markdown.links import linked
from ttchat_tui.ui.markdown.rows import RenderRow, TextRow

WINDOW_LINES: Final = 16
WINDOW_CHARS: Final = 900
LONG_LINE: Final = 1800
"""Longer lines (minified code, base64) are not highlighted and are settled in pieces."""
EXACT_CHARS: Final = 6000
"""Complete code up to this size is highlighted as a whole: a comment may span windows."""

_FILL: Final = ".md-block"
_FAINT: Final = ".md-faint"


class CodeHeader(TextRow):
    """The row above fenced code: its language. A click on it copies fence number `code_index`."""

    def __init__(self, label: str, code_index: int, *, lead: Content, rest: Content) -> None:
        text = Content.assemble((label, ".md-label"), (" · copy", ".md-label"))
        super().__init__(text, lead=lead, rest=rest, style=_FILL, pad=1, cost=1 / WINDOW_LINES)
        self.code_index = code_index

    @property
    def plain(self) -> str:
        """Empty: a selection across code contains code only."""
        return ""


class CodeRows:
    """A fence, indented code, an HTML block, or link definitions."""

    def __init__(self, lead: Content, rest: Content, code_index: int) -> None:
        self._lead = lead
        self._rest = rest
        self._code_index = code_index
        self._highlighter: Highlighter | None = None
        self._settled: list[RenderRow] = []
        self._line = 0
        """Lines that are settled."""
        self._chars = 0
        """Settled characters of the next line, if it is a long one."""
        self._state: State = ROOT
        self._flow: TextRow | None = None

    def fits(self, leaf: Leaf) -> bool:
        return self._line + (self._chars > 0) <= len(leaf.lines)

    def settle(self, leaf: Leaf) -> list[RenderRow]:
        rows: list[RenderRow] = []
        lines = leaf.lines
        while self._line < len(lines):
            if len(lines[self._line]) > LONG_LINE:
                rows += self._settle_pieces(leaf, lines[self._line], self._line + 1 < len(lines))
                if self._chars:
                    break
                continue
            end = _window_end(lines, self._line)
            if end >= len(lines):
                break
            coloured, self._state = self._colours(leaf).colour(lines[self._line : end], self._state)
            rows += self._rows(leaf, coloured, self._line, is_first=self._line == 0 and not rows)
            self._line = end
        self._settled += rows
        return rows

    def rest(self, leaf: Leaf) -> list[RenderRow]:
        state, line = self._state, self._line
        rows: list[RenderRow] = []
        is_first = not self._settled
        if self._chars:
            rows.append(self._row(leaf, Content(leaf.lines[line][self._chars :]), self._rest, self._flow))
            line += 1
        while line < len(leaf.lines):
            end = _window_end(leaf.lines, line)
            if end == line:
                coloured, end = [Content(leaf.lines[line])], line + 1
            else:
                coloured, state = self._colours(leaf).colour(leaf.lines[line:end], state)
            rows += self._rows(leaf, coloured, line, is_first=is_first and not rows)
            line = end
        rows = rows or self._rows(leaf, [], 0, is_first=is_first)
        self._end_with(leaf, rows or self._settled)
        return rows

    def close(self, leaf: Leaf) -> list[RenderRow] | None:
        if not self._settled or not self.fits(leaf):
            return None
        if not _is_small(leaf):
            return self.rest(leaf)
        rows = self.whole(leaf)
        settled = zip(self._settled, rows, strict=False)
        return rows[len(self._settled) :] if all(old.looks_like(new) for old, new in settled) else None

    def whole(self, leaf: Leaf) -> list[RenderRow]:
        if not _is_small(leaf):
            return CodeRows(self._lead, self._rest, self._code_index).rest(leaf)
        coloured, _ = self._colours(leaf).colour(leaf.lines)
        rows = self._rows(leaf, coloured, 0, is_first=True)
        self._end_with(leaf, rows)
        return rows

    @staticmethod
    def _end_with(leaf: Leaf, rows: list[RenderRow]) -> None:
        last = rows[-1]
        if isinstance(last, TextRow):
            last.tail = leaf.tail

    def _colours(self, leaf: Leaf) -> Highlighter:
        if self._highlighter is None:
            self._highlighter = Highlighter(_language(leaf))
        return self._highlighter

    def _settle_pieces(self, leaf: Leaf, line: str, is_complete: bool) -> list[RenderRow]:
        """Settle a long line except for its last piece; a complete line, whole."""
        rows: list[RenderRow] = []
        while len(line) - self._chars > WINDOW_CHARS or is_complete:
            piece = Content(line[self._chars : self._chars + WINDOW_CHARS])
            if not self._chars:
                rows += self._rows(leaf, [piece], None, is_first=self._line == 0)
                source = _source_of(leaf, self._line)
                if isinstance(rows[-1], TextRow) and source.endswith(line):
                    rows[-1].source = source.removesuffix(line) + piece.plain
            else:
                rows.append(self._row(leaf, piece, self._rest, self._flow))
            last = rows[-1]
            self._flow = last if isinstance(last, TextRow) else None
            self._chars += WINDOW_CHARS
            if self._chars >= len(line):
                self._line, self._chars, self._flow = self._line + 1, 0, None
                break
        return rows

    def _rows(self, leaf: Leaf, lines: list[Content], at: int | None, *, is_first: bool) -> list[RenderRow]:
        """Rows of `lines`, starting at the leaf's line `at`; None for a piece of a line."""
        rows: list[TextRow] = []
        lead = self._lead if is_first else self._rest
        if is_first and leaf.is_fenced:
            label = leaf.info.strip() or "code"
            rows.append(CodeHeader(label, self._code_index, lead=lead, rest=self._rest))
            rows[0].source = "\n".join([*leaf.head, leaf.source[0]])
            lead = self._rest
        for index, line in enumerate(lines):
            row = self._row(leaf, line, lead, None)
            if at is not None:
                row.source = _source_of(leaf, at + index)
            rows.append(row)
            lead = self._rest
        return list(rows)

    def _row(self, leaf: Leaf, line: Content, lead: Content, flow: TextRow | None) -> TextRow:
        line = linked(line)
        cost = max(1 / WINDOW_LINES, len(line) / WINDOW_CHARS)
        if leaf.kind != "code":
            return TextRow(line.stylize_before(_FAINT), lead=lead, rest=self._rest, cost=cost, flow=flow)
        return TextRow(
            line, lead=lead, rest=self._rest, style=_FILL, pad=1, by_word=leaf.by_word, cost=cost, flow=flow
        )


def _source_of(leaf: Leaf, line: int) -> str:
    """The line of the message that line `line` of the code is in; the first of code without a fence, with those before it."""
    source = leaf.source[line + leaf.is_fenced]
    return source if line or leaf.is_fenced else "\n".join([*leaf.head, source])


def _language(leaf: Leaf) -> str:
    return leaf.info.split(maxsplit=1)[0].lower() if leaf.info else ""


def _is_small(leaf: Leaf) -> bool:
    """Whether the code is highlighted as a whole."""
    return sum(map(len, leaf.lines)) <= EXACT_CHARS and max(map(len, leaf.lines), default=0) <= LONG_LINE


def _window_end(lines: list[str], start: int) -> int:
    """The end of the window that starts at line `start`; `start` itself for a long line."""
    end, chars = start, 0
    while end < len(lines) and end - start < WINDOW_LINES and chars < WINDOW_CHARS:
        if len(lines[end]) > LONG_LINE:
            break
        chars += len(lines[end])
        end += 1
    return end
