"""The layout of a text of tokens: which token is in which cell, in rows of a given width.

Rows break as a message's do, between words and beside characters of two cells. Where several tokens make a character, the
last one shows it, so that the text can be read, and the others show ⟨. A newline is shown as ⏎ and also breaks the
row. A space at the end of a row may take one cell more than the width, so that the next row begins with a word.
"""

from __future__ import annotations

import codecs
import re
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import Final, Literal, NamedTuple, TypeAlias

from rich.cells import cell_len

from ttchat_tui.domain.text import visible_piece

LEAST_WIDTH: Final = 4
"""Cells of a row at least: a character takes up to two."""

UNKNOWN: Final = "·"
"""In the place of a token without a piece: it was not recorded."""

BEGUN: Final = "⟨"
"""In the place of the first bytes of a character, if the next tokens have the others: the character is shown with the last
one."""

_SPACE, _NEWLINE = "␣", "⏎"  # as `visible_piece` shows them, and nothing else
_UNITS: Final = re.compile("⟨[^⟩]*⟩|⟨| +|⏎|⇥|[^ ⏎⇥⟨]+")
_CHARACTERS: Final = re.compile("⟨[^⟩]*⟩|.", re.DOTALL)
_NO_BASE: Final = "◌"
"""Carries a mark that changes the character before it (Unicode 7.9.2), so that it has a cell of its own."""

_Kind: TypeAlias = Literal["word", "space", "newline", "wide"]


class _Unit(NamedTuple):
    text: str
    cells: int
    kind: _Kind


class Span(NamedTuple):
    """A part of one token in one row."""

    token: int
    column: int
    text: str


@lru_cache(32_768)
def _units_of(piece: bytes) -> tuple[tuple[_Unit, ...], bytes]:
    """What a token shows, split where a row may break, and the bytes of a character that it only begins."""
    decoder = codecs.getincrementaldecoder("utf-8")("surrogateescape")
    decoder.decode(piece)
    begun = decoder.getstate()[0]
    shown = visible_piece(piece.removesuffix(begun)).replace(_SPACE, " ") + BEGUN * bool(begun)
    return tuple(_split(shown or UNKNOWN)), begun


def _split(shown: str) -> Iterator[_Unit]:
    for text in _UNITS.findall(shown):
        text = text if cell_len(text[0]) else _NO_BASE + text
        cells = cell_len(text)
        if text[0] in " ⇥":
            yield _Unit(text, cells, "space")
        elif text == _NEWLINE:
            yield _Unit(text, cells, "newline")
        elif text == BEGUN:
            yield _Unit(text, cells, "wide")
        elif all(cell_len(char) == 1 for char in text):
            yield _Unit(text, cells, "word")
        else:
            for char in _characters(text):
                width = cell_len(char)
                yield _Unit(char, width, "wide" if width == 2 else "word")


def _characters(text: str) -> list[str]:
    """The characters of a text, those without a cell together with the one before them."""
    found: list[str] = []
    for char in _CHARACTERS.findall(text):
        if found and not cell_len(char):
            found[-1] += char
        else:
            found.append(char)
    return found


class TokenLayout:
    """Rows of spans. Tokens are added at the end."""

    def __init__(self, width: int) -> None:
        self.width = max(width, LEAST_WIDTH)
        self._texts: list[str] = []
        self._columns: list[int] = []
        self._tokens: list[int] = []
        """Three columns of spans, in order."""
        self._first_spans: list[int] = []
        """For each token the index of its first span."""
        self._row_starts = [0]
        """For each row the index of its first span."""
        self._column = 0
        """Where the next span begins."""
        self._word = 0
        """The span with which the last word begins."""
        self._begun = b""
        """The bytes of a character that is not complete."""

    @property
    def tokens(self) -> int:
        return len(self._first_spans)

    @property
    def rows(self) -> int:
        return len(self._row_starts)

    def extend(self, pieces: Iterable[bytes]) -> None:
        """Add tokens with these bytes."""
        width, texts, columns, tokens = self.width, self._texts, self._columns, self._tokens
        for token, piece in enumerate(pieces, start=len(self._first_spans)):
            self._first_spans.append(len(texts))
            if self._begun and piece and piece[0] & 0xC0 == 0x80:  # a byte that continues a character
                piece = self._begun + piece
            units, self._begun = _units_of(piece)
            for text, cells, kind in units:
                end = self._column + cells
                if end <= width and kind in ("word", "space"):  # nearly always
                    texts.append(text)
                    columns.append(self._column)
                    tokens.append(token)
                    self._column = end
                    if kind == "space":
                        self._word = len(texts)
                else:
                    self._add(token, text, cells, kind)

    def _add(self, token: int, text: str, cells: int, kind: _Kind) -> None:
        width = self.width + (kind in ("space", "newline"))
        if kind == "wide":
            self._word = len(self._texts)
        if self._column + cells > width:
            if kind in ("word", "wide") and self._word > self._row_starts[-1]:
                self._break_before_word()
            elif kind == "newline" or (kind == "wide" and self._column):
                self._break()
        while self._column + cells > width:  # longer than a row
            head = _fitting(text, width - self._column, at_least=not self._column)
            if head:
                self._put(token, text[:head])
                text = text[head:]
                cells = cell_len(text)
            if not text:
                return
            self._break()
        self._put(token, text)
        if kind == "newline":
            self._break()
        elif kind != "word":
            self._word = len(self._texts)

    def _put(self, token: int, text: str) -> None:
        self._texts.append(text)
        self._columns.append(self._column)
        self._tokens.append(token)
        self._column += cell_len(text)

    def _break(self) -> None:
        self._row_starts.append(len(self._texts))
        self._column, self._word = 0, len(self._texts)

    def _break_before_word(self) -> None:
        """The last word moves to a row of its own."""
        self._row_starts.append(self._word)
        shift = self._columns[self._word] if self._word < len(self._columns) else self._column
        for span in range(self._word, len(self._columns)):
            self._columns[span] -= shift
        self._column -= shift

    def row(self, row: int) -> list[Span]:
        """The spans of a row, from left to right. The last row may be empty."""
        begin, end = self._ends_of(row)
        return [
            Span(self._tokens[span], self._columns[span], self._texts[span]) for span in range(begin, end)
        ]

    def _ends_of(self, row: int) -> tuple[int, int]:
        is_last = row + 1 == len(self._row_starts)
        return self._row_starts[row], len(self._texts) if is_last else self._row_starts[row + 1]

    def place_of(self, token: int) -> tuple[int, int]:
        """Row and column of the token's first cell."""
        span = self._first_spans[token]
        return bisect_right(self._row_starts, span) - 1, self._columns[span]

    def rows_of(self, token: int) -> range:
        """The rows that show a part of the token."""
        is_last = token + 1 == len(self._first_spans)
        end = (len(self._texts) if is_last else self._first_spans[token + 1]) - 1
        first = bisect_right(self._row_starts, self._first_spans[token]) - 1
        return range(first, bisect_right(self._row_starts, end))

    def token_at(self, row: int, column: int) -> int | None:
        """The token in a cell, or the nearest one in its row. None: the row is empty or is not there."""
        if not 0 <= row < len(self._row_starts):
            return None
        begin, end = self._ends_of(row)
        if begin == end:
            return None
        return self._tokens[max(begin, bisect_right(self._columns, column, begin, end) - 1)]


def _fitting(text: str, room: int, *, at_least: bool) -> int:
    """How many characters of `text` fit into `room` cells; with `at_least`, not fewer than one. Marks stay with their
    base."""
    used = 0
    for index, char in enumerate(text):
        used += cell_len(char)
        if used > room and not (at_least and index == 0):
            return index
    return len(text)
