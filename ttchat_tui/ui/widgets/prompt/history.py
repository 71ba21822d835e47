"""History of sent prompts, with the current position, the draft, and edits made on the way."""

from __future__ import annotations

from collections.abc import Sequence


class PromptHistory:
    """A list to browse with up and down, as in a shell. The draft follows the newest entry."""

    def __init__(self) -> None:
        self._entries: list[str] = []
        self._place: int | None = None
        """Index of the entry shown; None while the draft is."""
        self._edited: dict[int | None, str] = {}
        """Entry → its text when the user left it."""

    def replace(self, entries: Sequence[str]) -> None:
        """Use `entries` (oldest first) from now on."""
        self._entries = [entry for entry in entries if entry.strip()]
        self.leave()

    def add(self, entry: str) -> None:
        """Add a sent prompt, unless it repeats the newest one."""
        if not self._entries or self._entries[-1] != entry:
            self._entries.append(entry)

    def change(self, entry: str, changed: str) -> None:
        """A prompt that was sent has another text by now."""
        places = [place for place, each in enumerate(self._entries) if each == entry]
        if places:
            self._entries[places[-1]] = changed
        else:
            self.add(changed)

    def leave(self) -> None:
        """Return to the draft and discard edits of entries."""
        self._place = None
        self._edited.clear()

    def unsent(self, shown: str) -> list[str]:
        """The draft, then entries that were changed, with `shown`, the current text."""
        texts = {None: "", **self._edited, self._place: shown}
        return [text for place, text in texts.items() if place is None or text != self._entries[place]]

    def older(self, shown: str) -> str | None:
        """The previous entry, or None at the oldest. `shown`: the current text, which is kept."""
        place = len(self._entries) if self._place is None else self._place
        return self._go(place - 1, shown) if place > 0 else None

    def newer(self, shown: str) -> str | None:
        """The next entry, finally the draft; None if the draft is shown."""
        if self._place is None:
            return None
        place = self._place + 1
        return self._go(place if place < len(self._entries) else None, shown)

    def _go(self, place: int | None, shown: str) -> str:
        self._edited[self._place] = shown
        self._place = place
        original = "" if place is None else self._entries[place]
        return self._edited.get(place, original)
