"""The rows of a folded thought: a line with its figures, and the last line of it while it streams."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from textual.content import Content

from ttchat_tui.domain.generation import ThoughtFigures
from ttchat_tui.domain.text import visible
from ttchat_tui.ui.markdown.rows import RenderRow, RenderSpan, TextRow, VisualLine
from ttchat_tui.ui.widgets.cells import cut_at_start

_FAINT: Final = ".md-faint"
_PART_OF_TAG: Final = re.compile(r"[<\[◁][^\s>\]▷]*\Z")
_LONGEST: Final = 400
"""Characters of a thought's last line that can be in view."""


class ThoughtHeader(TextRow):
    """`▸ thought for 8.4 s · 312 tokens`. A click on it opens or folds thought `number` of the message."""

    def __init__(self, number: int, words: str, *, is_open: bool) -> None:
        super().__init__(Content.styled(f"{'▾' if is_open else '▸'} {words}", _FAINT))
        self.number = number
        self.source = None

    @property
    def plain(self) -> str:
        """Empty: its words are not the model's, and are neither found nor copied."""
        return ""


class LastLine:
    """The end of a growing thought, on exactly one line of the screen."""

    plain = ""
    source = None
    style = ""
    cost = 0.0
    flows_on = False
    tail = None

    def __init__(self, thought: str) -> None:
        lines = _PART_OF_TAG.sub("", thought[-_LONGEST:]).rstrip().rsplit("\n", 1)
        self._text = visible(lines[-1]).expandtabs(1).strip()

    def lines(self, width: int) -> Sequence[VisualLine]:
        text = cut_at_start(self._text, max(1, width - 2))
        return [(RenderSpan(Content("  ")), RenderSpan(Content.styled(text, _FAINT)))]

    def looks_like(self, other: RenderRow) -> bool:
        return isinstance(other, LastLine) and self._text == other._text


def thought_words(figures: ThoughtFigures | None, *, is_running: bool, is_cut_off: bool) -> str:
    """`thinking · 312 tokens · 8.4 s`, afterwards `thought for 8.4 s · 312 tokens`; without figures, `thought`."""
    if figures is None:
        words = "thinking" if is_running else "thought"
    else:
        tokens = f"{figures.tokens:,} token{'s' * (figures.tokens != 1)}"
        took = _span(figures.seconds)
        words = f"thinking · {tokens} · {took}" if is_running else f"thought for {took} · {tokens}"
    return f"{words} · cut off" if is_cut_off else words


def _span(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.1f} s"
    return f"{int(seconds) // 60} min {int(seconds) % 60:02d} s"
