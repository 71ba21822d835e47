"""The messages of a transcript in order, of which only those that were on screen have been made into views."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TypeAlias, overload

from ttchat_tui.ui.widgets.transcript.message_data import MessageView

Entry: TypeAlias = MessageView | int
"""A view, or the key of a message whose view is made when it is wanted."""


class Views(Sequence[MessageView]):
    """Views by place. To iterate makes all of them."""

    def __init__(self, entries: Sequence[Entry], make: Callable[[int], MessageView]) -> None:
        self._entries = list(entries)
        self._make = make

    def __len__(self) -> int:
        return len(self._entries)

    @overload
    def __getitem__(self, place: int) -> MessageView: ...
    @overload
    def __getitem__(self, place: slice) -> list[MessageView]: ...
    def __getitem__(self, place: int | slice) -> MessageView | list[MessageView]:
        if isinstance(place, slice):
            return [self[each] for each in range(*place.indices(len(self._entries)))]
        entry = self._entries[place]
        if isinstance(entry, int):
            entry = self._entries[place] = self._make(entry)
        return entry

    def __iter__(self) -> Iterator[MessageView]:
        return iter(self[:])

    def __setitem__(self, place: int, view: MessageView) -> None:
        self._entries[place] = view

    def __delitem__(self, place: int) -> None:
        del self._entries[place]

    def append(self, view: MessageView) -> None:
        self._entries.append(view)

    def begin_with(self, count: int, entries: Sequence[Entry]) -> Views:
        """The first `count` messages, without notices, and these after them."""
        above = [each for each in self._entries if _is_message(each)]
        return Views([*above[:count], *entries], self._make)

    def place_of(self, key: int) -> int | None:
        """The place of a message, searched from the end, where it nearly always is."""
        for place in reversed(range(len(self._entries))):
            entry = self._entries[place]
            if (entry if isinstance(entry, int) else entry.key) == key:
                return place
        return None

    @property
    def message_keys(self) -> list[int]:
        """The keys of all messages, in order. Notices are not part of the conversation."""
        return [each if isinstance(each, int) else each.key for each in self._entries if _is_message(each)]


def _is_message(entry: Entry) -> bool:
    return isinstance(entry, int) or entry.role != "notice"
