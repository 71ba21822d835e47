"""Figures as text, for the panels: short, and as wide at 9 as at 999 once they are aligned to the right."""

from __future__ import annotations

from typing import Final

from ttchat_tui.domain.text import visible

NOTHING: Final = "–"
"""Stands for a figure that is not known."""

_FULL, _EMPTY = "━", "─"
"""A slider's strokes: every monospaced font has them in one cell, and they differ without colour."""


def count_text(count: int | None) -> str:
    """`8,192`."""
    return NOTHING if count is None else f"{count:,}"


def rate_text(per_second: float | None) -> str:
    """`94.2`, from a thousand on `1,210`."""
    if per_second is None:
        return NOTHING
    return f"{per_second:,.0f}" if per_second >= 999.95 else f"{per_second:.1f}"


def seconds_text(seconds: float | None) -> str:
    """`0.14`, from a hundred on `123.4`."""
    if seconds is None:
        return NOTHING
    return f"{seconds:,.1f}" if seconds >= 99.995 else f"{seconds:.2f}"


def milliseconds_text(seconds: float | None) -> str:
    """`12.3`, from a thousand on `1,210`; the argument is in seconds."""
    return rate_text(None if seconds is None else seconds * 1000)


def bytes_text(size: int | None) -> tuple[str, str]:
    """Number and unit: (`512`, `MB`), from ten GB on (`12.3`, `GB`); decimal units, as files are sold and shown."""
    if size is None:
        return NOTHING, "MB"
    if size >= 9_999_500_000:
        return f"{size / 1e9:,.1f}", "GB"
    return f"{size / 1e6:,.0f}", "MB"


def share(part: int, whole: int) -> float:
    """`part / whole` within 0 and 1; 0 where the whole is not known."""
    return min(1.0, max(0.0, part / whole)) if whole > 0 else 0.0


def bar_text(filled_share: float, width: int) -> tuple[str, str]:
    """A bar's full and empty part, `width` cells together.

    The first cell fills with the first sign of something, the last only when all of it is there.
    """
    filled = int(filled_share * width)
    if filled_share > 0 and width > 1:
        filled = max(1, filled)
    return _FULL * filled, _EMPTY * (width - filled)


def one_line(text: str) -> str:
    """Text from a file or a peer, safe to show in a row: no control characters, no line breaks, no tabs."""
    return visible(" ".join(text.split()))
