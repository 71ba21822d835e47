"""Rows of paragraphs and headings. Long ones are settled in pieces, cut where no markup can span the cut."""

from __future__ import annotations

import re
from typing import Final

from textual.content import Content

from ttchat_tui.ui.markdown.blocks import Leaf
from ttchat_tui.ui.markdown.inline import BREAK, parse_inline
from ttchat_tui.ui.markdown.rows import RenderRow, TextRow

PIECE: Final = 900
"""Characters after which a paragraph is cut."""
_PATIENCE: Final = 3600
"""Characters to wait for a good cut. After that any cut is used, and the closed paragraph is drawn again."""
_TRIES: Final = 3
_STRIDE: Final = 300
"""Characters until the next search for a cut."""
_ROW_COST: Final = 1 / 12
_ENDS: Final = re.compile(
    rf"\\[^\n]|(?<!`)(?P<code>`+)(?!`).*?(?<!`)(?P=code)(?!`)|`+|(?P<newline>\n)|(?P<break>{BREAK.pattern})",
    re.DOTALL | re.IGNORECASE,
)
"""Ends of rows, and the escapes and code in which they do not count."""


class TextRows:
    """A paragraph or heading: one row per source line."""

    def __init__(self, lead: Content, rest: Content, references: dict[str, object]) -> None:
        self._lead = lead
        self._rest = rest
        self._references = references
        self._settled = ""
        self._is_exact = True
        self._look_again_at = 0
        self._flow: TextRow | None = None

    def fits(self, leaf: Leaf) -> bool:
        return not self._settled or _source(leaf).startswith(self._settled)

    def settle(self, leaf: Leaf) -> list[RenderRow]:
        rows: list[RenderRow] = []
        text = _source(leaf)
        while len(text) - len(self._settled) > PIECE and (cut := self._find_cut(text)):
            rows += self._rows(leaf, text[len(self._settled) : cut])
            last = rows[-1]
            self._flow = last if text[cut - 1] != "\n" and isinstance(last, TextRow) else None
            self._settled = text[:cut]
        return rows

    def rest(self, leaf: Leaf) -> list[RenderRow]:
        rows = self._rows(leaf, _source(leaf)[len(self._settled) :])
        next(row for row in reversed(rows) if row.source is not None).tail = leaf.tail
        return list(rows)

    def close(self, leaf: Leaf) -> list[RenderRow] | None:
        return self.rest(leaf) if self._is_exact and self.fits(leaf) else None

    def whole(self, leaf: Leaf) -> list[RenderRow]:
        return TextRows(self._lead, self._rest, self._references).rest(leaf)

    def _find_cut(self, text: str) -> int:
        """The end of the next piece, after a blank or a newline; 0 to wait for more text."""
        start = len(self._settled)
        if len(text) < self._look_again_at:
            return 0
        end = start + PIECE
        for _ in range(_TRIES):
            cut = self._last_break(text, start, end)
            if not cut:
                break
            if not self._is_exact or not parse_inline(text[start:cut].rstrip(), self._references).is_loose:
                return cut
            end = cut - PIECE // 4
        if len(text) - start <= _PATIENCE:
            self._look_again_at = len(text) + _STRIDE
            return 0
        self._is_exact = False
        return self._last_break(text, start, start + PIECE) or start + PIECE

    @staticmethod
    def _last_break(text: str, start: int, end: int) -> int:
        """The last good cut in `text[start:end]`: a newline if it is late enough, or a blank."""
        newline = text.rfind("\n", start, end)
        if newline > start + PIECE // 2:
            return newline + 1
        blank = max(text.rfind(" ", start, end), newline)
        return blank + 1 if blank > start else 0

    def _rows(self, leaf: Leaf, source: str) -> list[TextRow]:
        text = source.rstrip()
        content = parse_inline(text, self._references).content
        if leaf.kind == "heading":
            content = content.stylize_before(f".md-h{leaf.level}")
        blanks = source[len(text) :]
        if blanks and "\n" not in blanks:
            content += blanks
        rows: list[TextRow] = []
        flow = self._flow
        lead = self._rest if self._settled else self._lead
        for line in content.split("\n", allow_blank=True):
            cost = max(len(line) / PIECE, _ROW_COST)
            rows.append(TextRow(line, lead=lead, rest=self._rest, cost=cost, flow=flow))
            lead, flow = self._rest, None
        _give_sources(rows, self._sources(leaf, source))
        return rows

    def _sources(self, leaf: Leaf, text: str) -> list[str]:
        """The original lines of `text`; the last may be cut."""
        first = self._settled.count("\n")
        begins_line = not self._settled or self._settled.endswith("\n")
        parts = text.rstrip().split("\n")
        lines = leaf.source[first : first + len(parts)]
        last = leaf.lines[first + len(parts) - 1].rstrip()
        missing = len(last) - len(parts[-1].rstrip()) if begins_line or len(parts) > 1 else 0
        if not begins_line:
            lines[0] = text if len(parts) == 1 else parts[0]
        if missing > 0 and (begins_line or len(parts) > 1):
            lines[-1] = lines[-1].rstrip()[:-missing] + text[len(text.rstrip()) :]
        if not self._settled:
            lines[0] = "\n".join([*leaf.head, lines[0]])
        return lines


def _give_sources(rows: list[TextRow], lines: list[str]) -> None:
    """Assign each row its part of `lines` for copying: usually one line, a part of it where a `<br>` breaks it, several if
    code spans them."""
    parts = _parts("\n".join(lines), lines[0].rfind("\n") + 1)
    if len(rows) == len(parts):
        for row, (source, is_last) in zip(rows, parts, strict=True):
            row.source = source
            row.flows_on = row.flows_on or not is_last
        return
    # A link's title spans lines, or a `<br>` is in a formula: the parts cannot be assigned to rows.
    rows[0].source = "\n".join(lines)
    for row in rows[1:]:
        row.source = None


def _parts(text: str, start: int) -> list[tuple[str, bool]]:
    """`text` split after each `<br>` and at each newline outside code, from offset `start` on. Each part with whether it
    ends its line."""
    parts: list[tuple[str, bool]] = []
    at = 0
    for match in _ENDS.finditer(text, start):
        if match["newline"]:
            parts.append((text[at : match.start()], True))
        elif match["break"]:
            parts.append((text[at : match.end()], False))
        else:
            continue
        at = match.end()
    return [*parts, (text[at:], True)]


def _source(leaf: Leaf) -> str:
    return "\n".join(leaf.lines)
