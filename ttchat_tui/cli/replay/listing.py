"""The stored replies and their numbers."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from typing import Any, Final

from ttchat_tui.cli.standard_output import write_json
from ttchat_tui.cli.tables import write_tabbed
from ttchat_tui.domain.conversation import Message, ReplyRecord
from ttchat_tui.session import first_words
from ttchat_tui.session.stored_requests import NotReplayable
from ttchat_tui.storage.conversations import ConversationStore
from ttchat_tui.storage.export_words import local_time

_CONVERSATIONS: Final = 20


def write_replies(store: ConversationStore, output: str) -> None:
    """Every reply of the latest conversations, of all branches, the newest first, as in every list: as a table, or as JSON."""
    last = _last_on_screen(store)
    if output == "json":
        write_json(
            [_as_json(message, record, is_last=message.id == last) for message, record in _replies(store)]
        )
        return
    rows = (
        (
            str(message.id),
            local_time(message.created_at),
            record.model,
            record.engine,
            str(record.tokens),
            first_words(message.content),
            "last" if message.id == last else "",
        )
        for message, record in _replies(store)
    )
    write_tabbed(("number", "written", "model", "engine", "tokens", "begins", "last"), rows)


def _replies(store: ConversationStore) -> Iterator[tuple[Message, ReplyRecord]]:
    trees = [store.tree(conversation.id) for conversation in store.conversations(limit=_CONVERSATIONS)]
    for message in sorted(chain.from_iterable(trees), key=lambda each: (-each.created_at, -each.id)):
        if message.role == "assistant" and message.reply is not None:
            yield message, message.reply


def _as_json(message: Message, record: ReplyRecord, *, is_last: bool) -> dict[str, Any]:
    """With the names of `-p --output json` and of exports. `is_last`: `replay last` means it."""
    return {
        "message_id": message.id,
        "conversation_id": message.conversation_id,
        "created_at": message.created_at,
        "model": record.model,
        "engine": record.engine,
        "completion_tokens": record.tokens,
        "begins": first_words(message.content),
        "is_last": is_last,
    }


def last_reply_id(store: ConversationStore) -> int:
    """The last reply on screen of the latest conversation that has one.

    Raises:
        NotReplayable: there is none.
    """
    if (found := _last_on_screen(store)) is None:
        raise NotReplayable("There is no reply yet.")
    return found


def _last_on_screen(store: ConversationStore) -> int | None:
    for conversation in store.conversations(limit=_CONVERSATIONS):
        for message in reversed(store.shown_path(conversation)):
            if message.role == "assistant":
                return message.id
    return None
