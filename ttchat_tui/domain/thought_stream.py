"""The thoughts and answers of a reply that grows, at a cost that does not depend on the text so far."""

from __future__ import annotations

from ttchat_tui.domain.thoughts import LONGEST_TAG, TAG, Part, split_thoughts


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
