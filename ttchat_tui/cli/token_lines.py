"""Tokens as text for a terminal, tinted as in the inspector, and as JSON."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable, Mapping
from typing import Any, Final

from ttchat_tui.cli.named_tokens import named
from ttchat_tui.cli.standard_output import write_line, write_styled
from ttchat_tui.domain.recording import RecordedToken, Recording, alternatives_of
from ttchat_tui.domain.text import visible_piece
from ttchat_tui.ui.widgets.inspector.doubt import Tint
from ttchat_tui.ui.widgets.inspector.layout import BEGUN, TokenLayout

COLOURS: Final[Mapping[Tint, str]] = {"unsure": "33", "doubtful": "4;31", "unknown": "2"}
"""SGR parameters (ECMA-48, 8.3.117): yellow; red and underlined; faint."""
NO_COLOURS: Final[Mapping[Tint, str]] = {"doubtful": "4"}


def is_tinted() -> bool:
    """Stdout is a terminal that can show tints."""
    return sys.stdout.isatty() and os.environ.get("TERM") != "dumb"


def write_tinted(recording: Recording, tint_of: Callable[[int], Tint]) -> None:
    """Write the text of a recording to the terminal, wrapped to its width. `tint_of`: of a token, by its place."""
    layout = TokenLayout(shutil.get_terminal_size().columns - 1)
    layout.extend(recording.piece_of(token.token_id) for token in recording.tokens)
    codes = NO_COLOURS if os.environ.get("NO_COLOR") else COLOURS
    has_begun = False
    for row in range(layout.rows):
        spans = layout.row(row)
        has_begun |= any(span.text == BEGUN for span in spans)
        if spans or row + 1 < layout.rows:
            write_styled((span.text, codes.get(tint_of(span.token), "")) for span in spans)
    if has_begun:
        write_line(f"{BEGUN} is a token with the first bytes of a character, which the next one shows.")


def shown(recording: Recording, token: RecordedToken | None) -> str:
    """A token for a sentence, with its probability: `“ blue” (41.2%)`; without one the end of the reply."""
    if token is None:
        return "the end of the reply"
    piece = visible_piece(recording.piece_of(token.token_id)) or f"id {token.token_id}"
    return f"“{piece}”"


def as_json(recording: Recording, token: RecordedToken, alternatives: int | None = None) -> dict[str, Any]:
    """A token with what is known of it, and the first `alternatives` of its alternatives; None: without them."""
    found: dict[str, Any] = {
        **named(token.token_id, recording.pieces),
        "logprob": token.logprob,
        "rank": token.shown_rank,
        "entropy": token.entropy,
    }
    if alternatives is not None:
        found["alternatives"] = [
            {**named(each.token_id, recording.pieces), "logprob": each.logprob}
            for each in alternatives_of(token)[:alternatives]
        ]
    return found
