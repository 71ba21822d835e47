"""What a lane says about itself in a few words."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from rich.cells import cell_len

from ttchat_tui.domain.generation import END_NOTES, FinishReason
from ttchat_tui.domain.reply_settings import differing, setting_words
from ttchat_tui.session.lane import Lane

PAUSE_S: Final = 0.5
"""Between two figures of a lane that grows: they can be read, and the border is not drawn with every flush."""

_SHORT_ENDS: Final[dict[FinishReason, str]] = {"length": "max tokens", "context": "context full"}


def figures_of_lane(lane: Lane, room: int | None = None) -> str:
    """`● 41 tok`; ended: `✓ 41 tok · stopped · 94.2 tok/s`, or `41 new of 104 tok` if it was continued.

    In `room` cells the reason and the rate both have a place: the reason is shortened first, the TTFT left out next, then the
    new tokens have no unit and the rate no decimal. What is still longer is cut by the border.
    """
    if lane.state == "waiting":
        return f"{mark_of(lane)} waits"
    forms = [_figures(lane, shortened) for shortened in range(4)]
    return next((each for each in forms if room is None or cell_len(each) <= room), forms[-1])


def _figures(lane: Lane, shortened: int) -> str:
    """`shortened`: in how many of the ways that `figures_of_lane` names."""
    is_tight, ending = shortened > 2, lane.ending
    unit = "" if is_tight else " tok"
    tokens = f"{lane.tokens:,}{unit}"
    if lane.state == "running":
        stats = lane.live if lane.variant.model else None
        words = [tokens]
    elif ending is None:
        return mark_of(lane)
    else:
        stats = ending.stats
        added = lane.tokens if stats is None else stats.completion_tokens
        words = [f"{added:,} new of {tokens}" if lane.tokens > added and not is_tight else f"{added:,}{unit}"]
        if ending.reason == "error":
            words.append("failed")
        elif ending.is_lost:
            words.append("interrupted")
        elif ending.reason in END_NOTES:
            note = END_NOTES[ending.reason]
            words.append(_SHORT_ENDS.get(ending.reason, note) if shortened else note)
    if stats is not None and stats.decode_tps is not None:
        words.append(f"{stats.decode_tps:.{0 if is_tight else 1}f} tok/s")
    if shortened < 2 and stats is not None and lane.variant.model and stats.ttft_s is not None:
        words.append(f"TTFT {stats.ttft_s:.2f} s")
    return f"{mark_of(lane)} {' · '.join(words)}"


def settings_beside(lanes: Sequence[Lane]) -> list[str]:
    """Of each lane the settings in which they differ and that no label names, as two models have their own recommendations:
    `temperature 0.2, top-k 50`. Empty: they do not differ, or it has not begun."""
    named = {"seed", *(name for lane in lanes for name in lane.variant.settings.sampling)}
    names = [
        each for each in differing([lane.sampling for lane in lanes if lane.sampling]) if each not in named
    ]
    return [", ".join(setting_words(lane.sampling, names)) if lane.sampling else "" for lane in lanes]


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
