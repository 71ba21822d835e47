"""The thoughts and answers of a reply that grows, at a cost that does not depend on the text so far."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

from ttchat_tui.domain.thoughts import LONGEST_TAG, TAG, Part, split_thoughts

_TAG_BEGUN: Final = re.compile(r"[<\[◁]\S*\Z")
_BARE_TAG: Final = "analysis"
"""With it begins a thought of gpt-oss whose control tokens a server removes."""


class ThoughtStream:
    """The parts of the text fed so far, as `split_thoughts` finds them in a growing text. What comes later may change them:
    the end of a fence makes a tag in it code."""

    def __init__(self, text: str = "") -> None:
        self.text = ""
        self.parts: list[Part] = []
        self._is_split = True
        """The parts are those of the whole text; otherwise the last one has grown since."""
        self.feed(text)

    def feed(self, text: str) -> None:
        """Add text. The whole is split again only near a tag; elsewhere, the last part grows."""
        if not text:
            return
        self.text += text
        last = self.parts[-1] if self.parts else None
        is_between = last is None or (last.is_thought and not last.is_open)
        if is_between or TAG.search(self.text, max(0, len(self.text) - len(text) - LONGEST_TAG)):
            self.parts = split_thoughts(self.text, is_growing=True)
            self._is_split = True
        elif last is not None:
            self.parts[-1] = last._replace(text=last.text + text)
            self._is_split = False

    def finish(self) -> None:
        """The text is complete."""
        is_undecided = len(self.parts) > 1 and self.parts[-1].is_open
        if self._is_split and not is_undecided:
            return
        self.parts = split_thoughts(self.text)

    @property
    def thoughts(self) -> list[Part]:
        return [part for part in self.parts if part.is_thought]


class AnswerFilter:
    """The answer in a reply that grows, in pieces that are final: thoughts are left out, and what may become a tag waits."""

    has_given_thought = False
    """What was given before turned out to be a thought: its template had opened it."""

    def __init__(self) -> None:
        self._stream = ThoughtStream()
        self._given: str = ""

    @property
    def has_thoughts(self) -> bool:
        """There are thoughts in what was fed."""
        return bool(self._stream.thoughts)

    def feed(self, text: str) -> str:
        """Add text; returns what it adds to the answer."""
        self._stream.feed(text)
        answer = _joined(self._stream.parts)
        if (tag := _TAG_BEGUN.search(answer, max(0, len(answer) - LONGEST_TAG))) is not None:
            answer = answer[: tag.start()]
        is_begun = bool(self._given or answer.strip())
        return self._give(answer) if is_begun and not _BARE_TAG.startswith(answer.strip().lower()) else ""

    def finish(self) -> str:
        """The reply is complete; returns the rest of the answer."""
        answer = _joined(split_thoughts(self._stream.text))
        return self._give(answer, is_whole=True) if answer.strip() else ""

    def _give(self, answer: str, *, is_whole: bool = False) -> str:
        """What is new in `answer`. Where what was given is no longer its beginning, all of it."""
        if self._given.startswith(answer) and not (is_whole and answer.strip() != self._given.strip()):
            return ""
        new = answer[len(self._given) :]
        if not answer.startswith(self._given):
            self.has_given_thought = True
            new = f"\n\n{answer}"
        self._given = answer
        return new


def _joined(parts: Iterable[Part]) -> str:
    """The parts of the answer as they are, with a blank line in the place of a thought between two."""
    answer, is_first = "", True
    for part in parts:
        if not part.is_thought:
            missing = 2 - min(2, len(answer) - len(answer.rstrip("\n"))) if answer else 0
            answer += "\n" * missing + (part.text if is_first else part.text.lstrip("\n"))
        is_first = False
    return answer
