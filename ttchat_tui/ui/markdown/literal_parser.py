"""The parser of text that is no Markdown."""

from __future__ import annotations

from ttchat_tui.ui.markdown.blocks import Leaf

_TAB = 4


class LiteralParser:
    """In the place of a `BlockParser`: each line, as it is, is one of a single block of code."""

    def __init__(self, language: str) -> None:
        """`language`: for highlighting; empty: none."""
        self.leaves: list[Leaf] = []
        self.tip: Leaf | None = None
        self.references: dict[str, object] = {}
        self._language = language

    def clone(self) -> LiteralParser:
        twin = LiteralParser(self._language)
        twin.tip = self.tip.copy() if self.tip is not None else None
        return twin

    def feed_line(self, line: str) -> None:
        if self.tip is None:
            if not line.strip():  # before the text
                return
            self.tip = Leaf("code", serial=1, info=self._language, by_word=True)
        self.tip.lines.append(line.expandtabs(_TAB))
        self.tip.source.append(line)

    def finish(self) -> None:
        if self.tip is not None:
            self.leaves.append(self.tip)
            self.tip = None
