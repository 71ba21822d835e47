"""What a lane says about itself in a few words."""

from __future__ import annotations

from typing import Final

from ttchat_tui.domain.generation import END_NOTES, GenerationStats
from ttchat_tui.session.lane import Lane

PAUSE_S: Final = 0.5
"""Between two figures of a lane that grows: they can be read, and the border is not drawn with every flush."""


def figures_of_lane(lane: Lane) -> str:
    """`● 41 tok`; ended: `✓ 41 tok · stopped · 94.2 tok/s`, or `41 new of 104 tok` if it was continued. A narrow lane cuts the end."""
    if lane.state == "waiting":
        return f"{mark_of(lane)} waits"
    tokens = f"{lane.tokens:,} tok"
    if lane.state == "running":
        stats = lane.live if lane.variant.model else None
        return f"{mark_of(lane)} {' · '.join([tokens, *_rates(lane, stats)])}"
    ending = lane.ending
    if ending is None:
        return mark_of(lane)
    added = lane.tokens if ending.stats is None else ending.stats.completion_tokens
    words = [f"{added:,} new of {tokens}" if lane.tokens > added else tokens]
    if ending.reason == "error":
        words.append("failed")
    elif ending.is_lost:
        words.append("interrupted")
    elif ending.reason in END_NOTES:
        words.append(END_NOTES[ending.reason])
    words += _rates(lane, ending.stats)
    return f"{mark_of(lane)} {' · '.join(words)}"


def _rates(lane: Lane, stats: GenerationStats | None) -> list[str]:
    words: list[str] = []
    if stats is not None and stats.decode_tps is not None:
        words.append(f"{stats.decode_tps:.1f} tok/s")
    if stats is not None and lane.variant.model and stats.ttft_s is not None:
        words.append(f"TTFT {stats.ttft_s:.2f} s")
    return words


def mark_of(lane: Lane) -> str:
    """Its state as a sign."""
    if lane.state != "ended":
        return "●" if lane.state == "running" else "○"
    ending = lane.ending
    is_whole = ending is not None and not ending.is_lost and ending.reason not in ("cancelled", "error")
    return "✓" if is_whole else "■"


def is_worth_showing(lane: Lane, since_s: float) -> bool:
    """`since_s`: how long ago its figures were shown last."""
    return lane.state != "running" or since_s >= PAUSE_S
