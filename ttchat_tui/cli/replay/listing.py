"""The stored replies and their numbers."""

from __future__ import annotations

from itertools import chain
from typing import Final

from ttchat_tui.cli.standard_output import write_line
from ttchat_tui.session import first_words
from ttchat_tui.session.stored_requests import NotReplayable
from ttchat_tui.storage.conversations import ConversationStore
from ttchat_tui.storage.export_words import local_time, one_line

_CONVERSATIONS: Final = 20


def write_replies(store: ConversationStore) -> None:
    """Every reply of the latest conversations, of all branches, the newest first, as in every list: number, time, model,
    tokens, first words, and whether it is `last_reply_id`, with tabs between."""
    write_line("\t".join(("number", "written", "model", "engine", "tokens", "begins")))
    last = _last_on_screen(store)
    trees = [store.tree(conversation.id) for conversation in store.conversations(limit=_CONVERSATIONS)]
    for message in sorted(chain.from_iterable(trees), key=lambda each: (-each.created_at, -each.id)):
        if message.role != "assistant" or message.reply is None:
            continue
        columns = (
            str(message.id),
            local_time(message.created_at),
            one_line(message.reply.model),
            one_line(message.reply.engine),
            str(message.reply.tokens),
            one_line(first_words(message.content)),
            *(["last"] if message.id == last else []),
        )
        write_line("\t".join(columns))


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
