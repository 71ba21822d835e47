"""What is being looked for in the open conversation: hits are marked wherever they are drawn, and walked one by one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from textual.message import Message

from ttchat_tui.domain.matching import Matcher
from ttchat_tui.ui.widgets.transcript.selection import MessageSelection, is_selectable

if TYPE_CHECKING:
    from ttchat_tui.ui.widgets.transcript.message import MessageWidget


class MessageHits(MessageSelection):
    """A base of `Transcript`, which has the attributes used here."""

    _matcher: Matcher | None = None
    _at_hit: tuple[int, int] | None = None
    """The current hit: (key of its message, index among the message's hits)."""

    @dataclass
    class HitsChanged(Message):
        """Another hit is the current one, or others are found."""

        at: int
        """1-based place of the current hit's message among those with hits; 0: none is current."""
        count: int
        """Messages with hits."""
        hit: int
        """1-based place of the current hit in its message."""
        hits: int
        """Hits in that message; 0: none is current."""

    @property
    def hit_message(self) -> int | None:
        """The key of the message with the current hit."""
        return self._at_hit[0] if self._at_hit is not None else None

    def find(self, matcher: Matcher | None, key: int | None = None) -> None:
        """Mark what `matcher` finds, and show the first hit: of the message `key`, else of the newest message. None: mark
        nothing more."""
        self._matcher = matcher if matcher else None
        self._at_hit = None
        self.mark_hits()
        keys = self._hit_keys()
        if keys:
            self._go_to(key if key is not None and key in keys else keys[-1], 0)
        self._announce_hits(keys)

    def step_hit(self, step: int) -> None:
        """Show the next (1) or the previous (-1) hit. After the last one, the first follows."""
        keys = self._hit_keys()
        if not keys:
            return
        key, index = self._at_hit or (keys[-1], -1)
        count = self._hits_of(key)
        if key in keys and 0 <= index + step < count:
            self._go_to(key, index + step)
        else:
            after = [each for each in keys if each > key] if key not in keys else keys[keys.index(key) + 1 :]
            before = [each for each in keys if each < key]
            if step > 0:
                self._go_to((after or keys)[0], 0)
            else:
                self._go_to((before or keys)[-1], -1)
        self._announce_hits(keys)

    def mark_hits(self) -> None:
        """Mark hits in the mounted messages."""
        for widget in self._mounted():
            is_current = self._at_hit is not None and widget.view.key == self._at_hit[0]
            widget.mark(self._matcher, self._at_hit[1] if self._at_hit and is_current else None)

    def mark_selected(self) -> None:
        """Mark new widgets: the selected message, and hits."""
        super().mark_selected()
        if self._matcher is not None:
            self.mark_hits()

    def _hit_keys(self) -> list[int]:
        """The messages with hits, in order."""
        matcher = self._matcher
        if matcher is None:
            return []
        return [view.key for view in self._views if is_selectable(view) and matcher.is_in(view.text)]

    def _hits_of(self, key: int) -> int:
        widget = self._widgets.get(key)
        return widget.hit_count if widget is not None else 0

    def _announce_hits(self, keys: list[int]) -> None:
        key, hit = self._at_hit if self._at_hit and self._at_hit[0] in keys else (None, 0)
        at, hits = (keys.index(key) + 1, self._hits_of(key)) if key is not None else (0, 0)
        self.post_message(self.HitsChanged(at, len(keys), hit + 1, hits))

    def _go_to(self, key: int, index: int) -> None:
        """Make hit `index` of a message the current one (-1: the last), and bring it into view."""
        self.mount_around(key)
        widget = self._widgets[key]
        widget.mark(self._matcher, None)
        count = widget.hit_count
        self._at_hit = (key, index % count if count else 0)
        self.mark_hits()
        # A message that was not mounted has no lines yet.
        self.call_after_refresh(self._show_hit, widget)

    def _show_hit(self, widget: MessageWidget) -> None:
        """Bring the current hit into view; a message whose hits are not drawn (in an address), from its header."""
        if self._at_hit is None or widget.view.key != self._at_hit[0] or not widget.is_attached:
            return
        place = widget.place_of_hit(self._at_hit[1])
        if place is None:
            self.bring_into_view(widget.view.key)
            return
        self.show_line(widget, place)
