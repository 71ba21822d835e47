"""Figures as short text for the panels."""

from __future__ import annotations

from typing import Final

from ttchat_tui.domain.recording import perplexity_of

NOTHING: Final = "–"
"""Shown for an unknown figure."""

_FULL, _EMPTY = "━", "─"
"""As in a slider's track: one cell wide in every monospaced font, and distinct without colour."""


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
    """Number and unit: (`512`, `MB`), from ten GB on (`12.3`, `GB`). Units are decimal."""
    if size is None:
        return NOTHING, "MB"
    if size >= 9_999_500_000:
        return f"{size / 1e9:,.1f}", "GB"
    return f"{size / 1e6:,.0f}", "MB"


def share(part: int, whole: int) -> float:
    """`part / whole`, limited to 0 to 1; 0 if the whole is unknown."""
    return min(1.0, max(0.0, part / whole)) if whole > 0 else 0.0


def bar_text(filled_share: float, width: int) -> tuple[str, str]:
    """A bar's full and empty part, `width` cells together.

    The first cell fills from half of it on, so that nothing is lit for what is next to nothing; the last one only at 1.
    """
    exact = filled_share * width
    filled = max(int(exact), int(exact >= 0.5 and width > 1))
    return _FULL * filled, _EMPTY * (width - filled)


def likelihood_words(mean_logprob: float | None, greedy_share: float | None) -> list[str]:
    """`ppl 1.52`, the perplexity, and `78% greedy`, as far as they are known."""
    parts: list[str] = []
    if mean_logprob is not None:
        parts.append(f"ppl {perplexity_of(mean_logprob):,.2f}")
    if greedy_share is not None:
        parts.append(f"{greedy_share:.0%} greedy")
    return parts
