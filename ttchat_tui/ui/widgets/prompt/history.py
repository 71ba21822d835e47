"""Earlier prompts and where the user stands among them; the draft they left, and edits on the way, are kept."""

from __future__ import annotations

from collections.abc import Sequence


class PromptHistory:
    """A list to walk through with up and down, like a shell's. The place past the newest entry is the draft."""

    def __init__(self) -> None:
        self._entries: list[str] = []
        self._place: int | None = None
        """Index of the entry shown; None while the draft is."""
        self._edited: dict[int | None, str] = {}
        """What each place visited looked like when it was left."""

    def replace(self, entries: Sequence[str]) -> None:
        """Walk through `entries` (oldest first) from now on."""
        self._entries = [entry for entry in entries if entry.strip()]
        self.leave()

    def add(self, entry: str) -> None:
        """`entry` was sent: it is the newest one, unless it is already."""
        if not self._entries or self._entries[-1] != entry:
            self._entries.append(entry)

    def leave(self) -> None:
        """Back to the draft; edits made while walking are forgotten."""
        self._place = None
        self._edited.clear()

    def older(self, shown: str) -> str | None:
        """The entry before the one shown (`shown` is how it looks now), or None at the oldest."""
        place = len(self._entries) if self._place is None else self._place
        return self._go(place - 1, shown) if place > 0 else None

    def newer(self, shown: str) -> str | None:
        """The entry after the one shown, at last the draft; None when the draft is shown already."""
        if self._place is None:
            return None
        place = self._place + 1
        return self._go(place if place < len(self._entries) else None, shown)

    def _go(self, place: int | None, shown: str) -> str:
        self._edited[self._place] = shown
        self._place = place
        original = "" if place is None else self._entries[place]
        return self._edited.get(place, original)
