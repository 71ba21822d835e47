"""The result of an import: what came in, and what was left out and why."""

from __future__ import annotations

import msgspec

from ttchat_tui.domain.text import as_sentence, counted


class ImportStopped(Exception):
    """Raised by whoever takes the progress, to stop an import. What is stored so far stays."""


class ImportProblem(msgspec.Struct, frozen=True):
    """A file, or a conversation in it, that was skipped."""

    place: str
    """The file, and the entry in it: `conversations.json, conversation 17 “Clock repair”`."""
    reason: str
    """A clause, such as `it has no messages`."""
    cure: str = ""

    def __str__(self) -> str:
        return f"{as_sentence(f'{self.place}: {self.reason}')} {self.cure}".strip()


class ImportReport(msgspec.Struct, frozen=True, kw_only=True):
    """Counts of conversations, except `messages`."""

    added: int = 0
    extended: int = 0
    """Already here, with messages that were not."""
    restored: int = 0
    """Already here, and deleted: brought back."""
    unchanged: int = 0
    """Already here with every message."""
    empty: int = 0
    """Without a message, so that there is nothing to keep."""
    messages: int = 0
    """How many messages were added."""
    problems: tuple[ImportProblem, ...] = ()
    """The first ones, in the order of the files."""
    skipped: int = 0
    """How many problems there were."""
    notes: tuple[str, ...] = ()
    """Sentences on what was left out although nothing is wrong with it: the other files of a zip."""
    is_stopped: bool = False
    """It was stopped before the end of the files."""

    @property
    def has_changes(self) -> bool:
        return bool(self.added or self.extended or self.restored)

    def __str__(self) -> str:
        """`12 conversations added, 3 already here, 1 skipped (340 new messages)`."""
        parts = [
            f"{counted(self.added, 'conversation')} added" if self.added else "",
            f"{counted(self.extended, 'conversation')} extended" if self.extended else "",
            f"{counted(self.restored, 'conversation')} restored" if self.restored else "",
            f"{self.unchanged:,} already here" if self.unchanged else "",
            f"{self.empty:,} without messages" if self.empty else "",
            f"{self.skipped:,} skipped" if self.skipped else "",
        ]
        new = f" ({counted(self.messages, 'new message')})" if self.messages else ""
        parts_counted = (", ".join(filter(None, parts)) or "no conversations found") + new
        return f"stopped before the end: {parts_counted}" if self.is_stopped else parts_counted
