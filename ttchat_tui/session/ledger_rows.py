"""The rows of the context ledger, each made when it is looked at: a conversation may have thousands, of which a screen shows
forty."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final, TypeAlias, overload

from ttchat_tui.domain.conversation import Message
from ttchat_tui.domain.ledger import LedgerRow, RowKind
from ttchat_tui.session.outgoing import SUMMARY_HEADING, Outgoing, OutgoingPart, as_said

_SHOWN: Final = 200
"""Characters of a text in the ledger."""

PartKey: TypeAlias = tuple[RowKind, int]
"""Kind and message of a part."""

Source: TypeAlias = OutgoingPart | Message
"""What a row is made of: a part of the prompt, or a message that is not sent."""


class LazyLedgerRows(Sequence[LedgerRow]):
    """In the order of the conversation."""

    def __init__(self, sources: Sequence[Source], row_of: Callable[[Source], LedgerRow]) -> None:
        self._sources = sources
        self._row_of = row_of

    def __len__(self) -> int:
        return len(self._sources)

    @overload
    def __getitem__(self, place: int) -> LedgerRow: ...
    @overload
    def __getitem__(self, place: slice) -> list[LedgerRow]: ...
    def __getitem__(self, place: int | slice) -> LedgerRow | list[LedgerRow]:
        if isinstance(place, slice):
            return [self._row_of(each) for each in self._sources[place]]
        return self._row_of(self._sources[place])


def ledger_rows(
    prompt: Outgoing, path: Sequence[Message], tokens: Mapping[PartKey, int], fallen: set[PartKey]
) -> LazyLedgerRows:
    """The rows of a prompt and of the messages of `path` that are not sent. `tokens` of its parts, as far as they are
    counted; `fallen`: those that fall out."""

    def row_of(source: Source) -> LedgerRow:
        if isinstance(source, Message):
            return LedgerRow(
                kind="message",
                message_id=source.id,
                role=source.role,
                text=as_said(source.role, source.content).content[:_SHOWN],
                fate=prompt.unsent[source.id],
                is_kept=source.context == "kept",
            )
        key = (source.kind, source.message_id)
        return LedgerRow(
            kind=source.kind,
            message_id=source.message_id,
            role=source.role,
            text=source.content.removeprefix(f"{SUMMARY_HEADING}\n")[:_SHOWN],
            tokens=tokens.get(key),
            fate="falls out" if key in fallen else "sent",
            is_kept=source.is_kept,
        )

    parts = [part for parts in prompt.parts for part in parts]
    return LazyLedgerRows(_with_unsent(parts, path, prompt) if prompt.unsent else parts, row_of)


def _with_unsent(parts: Sequence[OutgoingPart], path: Sequence[Message], prompt: Outgoing) -> list[Source]:
    """The parts with the messages that are not sent, in the order of the conversation."""
    head = [part for part in parts if part.kind in ("system", "summary")]
    sent = {part.message_id: part for part in parts if part.kind == "message"}
    draft = [part for part in parts if part.kind == "draft"]
    said = [
        sent.get(message.id, message) for message in path if message.id in sent or message.id in prompt.unsent
    ]
    return [*head, *said, *draft]
