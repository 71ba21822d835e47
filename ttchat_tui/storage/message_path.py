"""The messages of a branch, read from the database when somebody asks for them.

A branch of 10,000 messages is on screen with some thirty of them. Ids are cheap: 5 ms for all; whole messages cost 0.2 s.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from typing import Final, cast, overload

from ttchat_tui.domain.conversation import Message
from ttchat_tui.storage.errors import StorageError, not_found

PAGE: Final = 64
"""Messages that are read at once around one that is asked for: 1.5 ms."""

Read = Callable[[Sequence[int]], Iterable[Message]]


class MessagePath(Sequence[Message]):
    """First to last. Whatever returns messages raises StorageError if they cannot be read; to iterate reads all of them.

    Slices share what is read. On the thread of the store only.
    """

    def __init__(self, read: Read, ids: Sequence[int] = (), known: dict[int, Message] | None = None) -> None:
        """`read` reads the messages of these ids that are there, in any order."""
        self._read = read
        self.ids = list(ids)
        """The ids of all messages, in order. They grow: a message is older than those that follow it."""
        self._known: dict[int, Message] = {} if known is None else known

    # --- reading

    def __len__(self) -> int:
        return len(self.ids)

    @overload
    def __getitem__(self, place: int) -> Message: ...
    @overload
    def __getitem__(self, place: slice) -> MessagePath: ...
    def __getitem__(self, place: int | slice) -> Message | MessagePath:
        if isinstance(place, slice):
            return MessagePath(self._read, self.ids[place], self._known)
        wanted = self.ids[place]
        if wanted not in self._known:
            count = len(self.ids)
            first = max(0, min(place % count - PAGE // 2, count - PAGE))
            try:
                self._require(self.ids[first : first + PAGE])
            except StorageError:  # perhaps one of its neighbours cannot be read
                self._require([wanted])
        return self._known[wanted]

    def __iter__(self) -> Iterator[Message]:
        self.read()
        return iter([self._known[each] for each in self.ids])

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, list | tuple | MessagePath):
            return NotImplemented
        return list(self) == list(cast("Sequence[Message]", other))

    __hash__ = None  # type: ignore[assignment]

    def place_of(self, message_id: int | None) -> int | None:
        """The place of a message; None: it is not on this path."""
        place = len(self.ids) if message_id is None else bisect_left(self.ids, message_id)
        return place if self.ids[place : place + 1] == [message_id] else None

    def message(self, message_id: int | None) -> Message | None:
        """The message of this id; None: it is not on this path."""
        place = self.place_of(message_id)
        return None if place is None else self[place]

    def already_read(self) -> list[Message]:
        """Those that somebody has asked for, in order."""
        return [self._known[each] for each in self.ids if each in self._known]

    @property
    def is_read(self) -> bool:
        return len(self._known) >= len(self.ids) and all(each in self._known for each in self.ids)

    def read(self) -> None:
        """Read all messages that are not read yet."""
        self._require(self.ids)

    def read_some(self) -> None:
        """Read the last `2 * PAGE` messages that are not read yet."""
        unread = [each for each in self.ids if each not in self._known]
        self._require(unread[-2 * PAGE :])

    def _require(self, ids: Sequence[int]) -> None:
        unread = [each for each in ids if each not in self._known]
        if not unread:
            return
        self._known.update((message.id, message) for message in self._read(unread))
        if not all(each in self._known for each in unread):  # deleted for good in another window
            raise not_found("This message")

    # --- changing

    def append(self, message: Message) -> None:
        self.ids.append(message.id)
        self._known[message.id] = message

    def __iadd__(self, messages: Sequence[Message]) -> MessagePath:
        """Of messages that were on the path already, its own copies stay: those in what `messages` was cut from may be older."""
        if isinstance(messages, MessagePath):
            self._known |= {each: messages._known[each] for each in messages.ids if each in messages._known}
            self.ids += messages.ids
        else:
            for each in messages:
                self.append(each)
        return self

    def with_messages(self, *newer: Message) -> MessagePath:
        """The same path with newer copies of some of its messages."""
        return MessagePath(self._read, self.ids, self._known | {each.id: each for each in newer})

    def without(self, ids: Collection[int]) -> MessagePath:
        return MessagePath(self._read, [each for each in self.ids if each not in ids], self._known)

    def switched(self, ids: Sequence[int], kept: int) -> MessagePath:
        """The path `ids`, which begins with the first `kept` messages of this one: those are not read again."""
        known = {each: self._known[each] for each in ids[:kept] if each in self._known}
        return MessagePath(self._read, ids, known)
