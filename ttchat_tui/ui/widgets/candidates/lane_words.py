"""What a lane says about itself in a few words."""

from __future__ import annotations

from typing import Final

from ttchat_tui.domain.generation import END_NOTES
from ttchat_tui.session.lane import Lane

PAUSE_S: Final = 0.5
"""Between two figures of a lane that grows: they can be read, and the border is not drawn with every flush."""


def figures_of_lane(lane: Lane) -> str:
    """`● 41 tok`; ended: `✓ 41 tok · 94.2 tok/s · stopped`."""
    if lane.state == "waiting":
        return "○ waits"
    tokens = f"{lane.tokens:,} tok"
    if lane.state == "running":
        return f"● {tokens}"
    message = lane.ended
    if message is None or message.reply is None:
        return "■" if lane.note else f"✓ {tokens}"
    stats, reason = message.reply.stats, message.reply.finish_reason
    words = [tokens]
    if stats is not None:
        words = [f"{stats.completion_tokens:,} tok"]
        if stats.decode_tps is not None:
            words.append(f"{stats.decode_tps:.1f} tok/s")
    if message.status == "error":
        words.append("failed")
    elif reason in END_NOTES:
        words.append(END_NOTES[reason])
    mark = "✓" if message.status == "complete" else "■"
    return f"{mark} {' · '.join(words)}"


def is_worth_showing(lane: Lane, since_s: float) -> bool:
    """`since_s`: how long ago its figures were shown last."""
    return lane.state != "running" or since_s >= PAUSE_S
