"""Listings on stdout: a heading over every column. With `--output json` a listing is one array instead."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Annotated, Literal, TypeAlias

import typer
from rich.cells import cell_len

from ttchat_tui.cli.standard_output import write_line
from ttchat_tui.domain.text import visible_line

OutputChoice: TypeAlias = Annotated[
    Literal["text", "json"], typer.Option("--output", help="What goes to stdout.")
]
OldJson: TypeAlias = Annotated[bool, typer.Option("--json", hidden=True)]
"""The earlier form of `--output json`, which keeps working."""


def write_aligned(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """For a reader: two spaces between columns.

    Raises:
        ValueError: a row has more or fewer cells than there are heads.
    """
    cells = [[visible_line(cell) for cell in row] for row in (heads, *rows)]
    widths = [max(map(cell_len, column)) for column in zip(*cells, strict=True)]
    for row in cells:
        padded = (cell + " " * (width - cell_len(cell)) for cell, width in zip(row, widths, strict=True))
        write_line("  ".join(padded).rstrip())


def write_tabbed(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """For a reader and for `cut`: a tab between columns, and no tab in a cell.

    Raises:
        ValueError: a row has more or fewer cells than there are heads.
    """
    for row in (heads, *rows):
        write_line("\t".join(" ".join(cell.split()) for _, cell in zip(heads, row, strict=True)))
