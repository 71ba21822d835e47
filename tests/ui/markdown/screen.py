"""A document as it is drawn, in a form that can be compared: visual lines of runs of (text, styles)."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence

from rich.cells import cell_len
from textual.content import Content

from ttchat_tui.ui.markdown.document import Document
from ttchat_tui.ui.markdown.rows import RenderRow

Run = tuple[str, tuple[str, ...]]


def drawn(document: Document, width: int) -> list[list[Run]]:
    """Every visual line of `document`, blanks at its end dropped."""
    lines = [line for chunk in document.chunks for row in chunk.rows for line in _row(row, width)]
    assert all(cell_len("".join(text for text, _ in line)) <= width for line in lines), "cut off at the right"
    return lines


def drawn_text(document: Document, width: int) -> list[str]:
    return ["".join(text for text, _ in line) for line in drawn(document, width)]


def whole(source: str) -> Document:
    """`source` in one go."""
    document = Document()
    document.feed(source)
    document.finish()
    return document


def streamed(pieces: Iterable[str]) -> Document:
    """The pieces one after the other, each drawn before the next comes."""
    document = Document()
    for piece in pieces:
        document.feed(piece)
        document.update()
    document.finish()
    return document


def cut(source: str, lengths: Sequence[int]) -> list[str]:
    """`source` in pieces of these lengths, over and over."""
    pieces: list[str] = []
    at = 0
    while at < len(source):
        length = lengths[len(pieces) % len(lengths)]
        pieces.append(source[at : at + length])
        at += length
    return pieces


def _row(row: RenderRow, width: int) -> list[list[Run]]:
    lines: list[list[Run]] = []
    for line in row.lines(width):
        runs: list[Run] = []
        for piece in line:
            under = (row.style,) if row.style and piece.is_inside else ()
            for text, styles in _runs(piece.content):
                _append(runs, text, under + styles)
        while runs and not runs[-1][0].strip():
            runs.pop()
        if runs:
            runs[-1] = (runs[-1][0].rstrip(), runs[-1][1])
        lines.append(runs)
    return lines


def _runs(content: Content) -> list[Run]:
    """The text where its styles change, each run with the styles that cover it, in their order."""
    edges = sorted({0, len(content), *(at for span in content.spans for at in span[:2] if at < len(content))})
    return [
        (
            content.plain[start:stop],
            tuple(str(span.style) for span in content.spans if span.start <= start and stop <= span.end),
        )
        for start, stop in itertools.pairwise(edges)
    ]


def _append(runs: list[Run], text: str, styles: tuple[str, ...]) -> None:
    if runs and runs[-1][1] == styles:
        runs[-1] = (runs[-1][0] + text, styles)
    elif text:
        runs.append((text, styles))
