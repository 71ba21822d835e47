"""Long pastes, each shown in the draft as one label: `[pasted 1: 500 lines, 28.9 kB]`."""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from ttchat_tui.ui.widgets.cells import size_words

FEWEST_LINES: Final = 20
FEWEST_CHARACTERS: Final = 4_000
"""A paste with fewer than both is shown as it is. In a line of 200,000 characters each key takes the prompt 125 ms."""


class Label(NamedTuple):
    """Columns of a label in a line of the draft."""

    start: int
    end: int


class FoldedPastes:
    """The pastes of this session with their labels. None is forgotten: undo may bring its label back."""

    def __init__(self) -> None:
        self._texts: dict[str, str] = {}
        """Label → text."""

    def label(self, text: str) -> str:
        """What is shown for a pasted text: its label, or the text itself if it is short. The same text has the same label."""
        lines = text.count("\n") + (not text.endswith("\n"))
        if lines < FEWEST_LINES and len(text) < FEWEST_CHARACTERS:
            return text
        for label, known in self._texts.items():
            if known == text:
                return label
        size = size_words(len(text.encode("utf-8", "replace")))
        label = f"[pasted {len(self._texts) + 1}: {lines:,} line{'s' * (lines != 1)}, {size}]"
        self._texts[label] = text
        return label

    def folded(self, text: str) -> str:
        """`text` with labels for the pastes that are in it, and for other long lines."""
        for label, pasted in self._texts.items():
            text = text.replace(pasted, label)
        if len(text) < FEWEST_CHARACTERS:
            return text
        return "\n".join(self.label(line) for line in text.split("\n"))

    def unfolded(self, shown: str) -> str:
        """`shown` with the texts for their labels."""
        if "[pasted " in shown:
            for label, text in self._texts.items():
                shown = shown.replace(label, text)
        return shown

    def spans_in(self, shown: str) -> list[tuple[int, int]]:
        """Where the pastes of `shown` are in `unfolded(shown)`."""
        found, grown = list[tuple[int, int]](), 0
        labels = "|".join(map(re.escape, self._texts)) if "[pasted " in shown else "(?!)"
        for match in re.finditer(labels, shown):
            start = match.start() + grown
            found.append((start, start + len(self._texts[match[0]])))
            grown = found[-1][1] - match.end()
        return found

    def spans(self, line: str) -> list[Label]:
        """Where labels are in a line of the draft."""
        found: list[Label] = []
        for label in self._texts if "[pasted " in line else ():
            at = line.find(label)
            while at >= 0:
                found.append(Label(at, at + len(label)))
                at = line.find(label, at + len(label))
        return found
