"""The chat's keys in a screen that lists messages: what acts on the selected message there acts on the one under the cursor
here. The screen closes, and the chat obeys."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple

from textual.binding import Binding

from ttchat_tui.ui.commands import TABLE, keys_of

NOT_IN_LISTS: Final = ("stop", "extend_up", "extend_down")
"""Actions whose keys do nothing in a list, or something of its own."""


class MessageChoice(NamedTuple):
    """The result of such a screen."""

    message_id: int
    """The message under the cursor."""
    action: str = ""
    """The name of the action of the chat; empty: show the message."""


def chat_bindings(keys: Mapping[str, str], own: Mapping[str, str]) -> list[Binding]:
    """The keys of the chat for a screen with an action `leave(name)`. `keys`: config's. `own`: of some of the chat's actions
    the action that the screen has itself."""
    return [
        Binding(",".join(pressed), own.get(each.name, f"leave('{each.name}')"), each.title, show=False)
        for each in TABLE
        if each.scope == "screen" and each.name not in NOT_IN_LISTS and (pressed := keys_of(each, keys))
    ]
