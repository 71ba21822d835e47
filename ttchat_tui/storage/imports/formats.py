"""The formats of conversations, recognised by the keys of an entry."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import msgspec

from ttchat_tui.storage.decode_words import clause_of
from ttchat_tui.storage.imports.chatgpt import read_chatgpt
from ttchat_tui.storage.imports.claude import read_claude
from ttchat_tui.storage.imports.entries import Entry
from ttchat_tui.storage.imports.files import NOT_AN_EXPORT
from ttchat_tui.storage.imports.imported import EntryError, ImportedConversation
from ttchat_tui.storage.imports.lm_studio import read_lm_studio
from ttchat_tui.storage.imports.messages_format import read_messages
from ttchat_tui.storage.imports.open_webui import read_open_webui
from ttchat_tui.storage.imports.own import read_own

_READERS: Final[tuple[tuple[frozenset[str], Callable[[Entry], ImportedConversation]], ...]] = (
    (frozenset({"format", "version", "conversation", "messages"}), read_own),
    (frozenset({"mapping"}), read_chatgpt),
    (frozenset({"chat_messages"}), read_claude),
    (frozenset({"chat"}), read_open_webui),
    (frozenset({"messages", "systemPrompt"}), read_lm_studio),
    (frozenset({"messages", "tokenCount"}), read_lm_studio),
    (frozenset({"messages"}), read_messages),
)
"""The keys that an entry must have, and what reads it. The first that fits is taken."""


def read_conversation(entry: Entry) -> ImportedConversation:
    """Raises EntryError: it is of no known format, or not as its format should be."""
    for keys, read in _READERS:
        if keys <= entry.keys:
            try:
                return read(entry)
            except (msgspec.ValidationError, msgspec.DecodeError) as error:
                raise EntryError(clause_of(error)) from error
            except RecursionError as error:
                raise EntryError("it is nested too deeply") from error
    raise EntryError("it is not a conversation in a known format", NOT_AN_EXPORT)
