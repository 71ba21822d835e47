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
        self._keys = [each if isinstance(each, int) else each.key for each in entries]
        self._made = {each.key: each for each in entries if not isinstance(each, int)}
        self._make = make

    def __len__(self) -> int:
        return len(self._keys)

    @overload
    def __getitem__(self, place: int) -> MessageView: ...
    @overload
    def __getitem__(self, place: slice) -> list[MessageView]: ...
    def __getitem__(self, place: int | slice) -> MessageView | list[MessageView]:
        if isinstance(place, slice):
            return [self._view(key) for key in self._keys[place]]
        return self._view(self._keys[place])

    def _view(self, key: int) -> MessageView:
        view = self._made.get(key)
        if view is None:
            view = self._made[key] = self._make(key)
        return view

    def __iter__(self) -> Iterator[MessageView]:
        return iter(self[:])

    def __setitem__(self, place: int, view: MessageView) -> None:
        self._made.pop(self._keys[place], None)
        self._keys[place] = view.key
        self._made[view.key] = view

    def __delitem__(self, place: int) -> None:
        self._made.pop(self._keys.pop(place), None)

    def append(self, view: MessageView) -> None:
        self._keys.append(view.key)
        self._made[view.key] = view

    def begin_with(self, count: int, entries: Sequence[Entry]) -> Views:
        """The first `count` messages, without notices, and these after them."""
        views = Views(entries, self._make)
        above = self.message_keys[:count]
        views._made |= {key: self._made[key] for key in above if key in self._made}
        views._keys[:0] = above
        return views

    def place_of(self, key: int) -> int | None:
        """The place of a message; nearly always it is the last one."""
        if self._keys[-1:] == [key]:
            return len(self._keys) - 1
        return self._keys.index(key) if key in self._keys else None

    @property
    def message_keys(self) -> list[int]:
        """The keys of all messages, in order. Notices are not part of the conversation."""
        notices = {key for key, view in self._made.items() if view.role == "notice"}
        return [key for key in self._keys if key not in notices] if notices else self._keys[:]
