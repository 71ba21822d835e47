"""Actions that keep many conversations in order: pin, tag, archive, and a title by the model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from ttchat_tui.domain.tags import tags_in
from ttchat_tui.domain.updates import Update
from ttchat_tui.session import name_of
from ttchat_tui.ui import deferred
from ttchat_tui.ui.screens.chat_actions import ChatActions
from ttchat_tui.ui.widgets.key_line import ShownKey, keys_shown

ON_CHOSEN: Final = {"archive": "archive", "tags": "tags", "pin": "pin", "save": "save"}
"""Action → its word in the key line while conversations are chosen."""


class OrganisingActions(ChatActions):
    """While the list has the focus, the actions are for the chosen conversations or the highlighted one; otherwise for the
    open one."""

    on_message_selection_selection_changed: Callable[[], None]

    def _acted_on(self) -> tuple[int, ...]:
        """Empty, with a word about it, for a conversation that is not stored yet."""
        chosen = self.history_panel.acted_on if self.history_panel is not None else ()
        if chosen:
            return chosen
        if self.session.conversation is None:
            self.notify("This conversation has no message yet.", markup=False)
            return ()
        return (self.session.conversation.id,)

    def action_pin(self) -> None:
        self._switch(self.session.organising.pin, "pinned", "no longer pinned")

    def action_archive(self) -> None:
        done = "archived. /undo takes it back; /archived shows all that are"
        self._switch(self.session.organising.archive, done, "back in the list")

    def _switch(
        self, change: Callable[[tuple[int, ...]], tuple[bool, list[Update]]], done: str, undone: str
    ) -> None:
        ids = self._acted_on()

        def act() -> list[Update]:
            is_on, updates = change(ids)
            self._say(ids, done if is_on else undone)
            return updates

        if ids:
            self.attempt(act)

    def _say(self, ids: tuple[int, ...], what: str) -> None:
        """A toast that names the conversation, or counts several. Raises StorageError."""
        if len(ids) == 1:
            subject = f"{name_of(self.session.organising.conversation(ids[0]))} is"
        else:
            subject = f"{len(ids):,} conversations are"
        chosen = (
            self.history_panel.conversations.chosen if self.history_panel is not None else frozenset[int]()
        )
        if others := len(chosen.difference(ids)):  # their marks are in sight, but the focus is elsewhere
            those = f"{others:,} chosen are" if others > 1 else "one chosen is"
            what = f"{what}; the {those} not, since the focus is not in the list"
        self.notify(f"{subject} {what}.", markup=False)

    def list_keys(self) -> list[ShownKey]:
        """The keys for the chosen conversations while the list has the focus, the most important first."""
        panel = self.history_panel
        if panel is None or not (panel.conversations.chosen and panel.conversations.has_focus):
            return []
        return keys_shown(ON_CHOSEN, self.services.config.keys)

    def on_conversation_list_choice_changed(self) -> None:
        self.on_message_selection_selection_changed()

    def action_show_archived(self) -> None:
        """The list, with the archived conversations in place of the others."""
        self.action_focus_history()
        if self.history_panel is not None:
            self.history_panel.show_archived()

    # --- tags

    def action_tags(self) -> None:
        ids = self._acted_on()
        organising = self.session.organising

        def ask() -> None:
            before = organising.common_tags(ids)

            def keep(tags: tuple[str, ...] | None) -> None:
                if tags is None:
                    return
                self._tag(
                    ids,
                    [tag for tag in tags if tag not in before],
                    [tag for tag in before if tag not in tags],
                )

            dialog = deferred.tags.TagDialog(before, organising.known_tags(), count=len(ids))
            self.app.push_screen(dialog, keep)

        if ids:
            self.attempt(ask)

    def command_tags(self, typed: str) -> None:
        """`/tag work rust`: give the open conversation these tags."""
        if ids := self._acted_on():
            self._tag(ids, tags_in(typed))

    def _tag(self, ids: tuple[int, ...], add: Sequence[str], remove: Sequence[str] = ()) -> None:
        words = [f"tagged {', '.join(add)}"] if add else []
        words += [f"no longer tagged {', '.join(remove)}"] if remove else []

        def act() -> list[Update]:
            updates = self.session.organising.tag(ids, add=add, remove=remove)
            self._say(ids, " and ".join(words))
            return updates

        if words:
            self.attempt(act)

    def choices_tags(self) -> list[tuple[str, str]]:
        """Every tag in use, the most frequent first."""
        return [(tag, "") for tag in self.session.organising.known_tags()]

    def choices_untag(self) -> list[tuple[str, str]]:
        """The tags of the open conversation."""
        conversation = self.session.conversation
        return [(tag, "") for tag in (conversation.tags if conversation is not None else ())]

    def action_untag(self) -> None:
        """`/untag` alone: take away all tags."""
        if ids := self._acted_on():
            self._tag(ids, (), self.session.organising.common_tags(ids))

    def command_untag(self, typed: str) -> None:
        if ids := self._acted_on():
            self._tag(ids, (), tags_in(typed))

    # --- a title by the model

    def action_title(self) -> None:
        for each in self._acted_on():
            self.write_title(each)

    def write_title(self, conversation_id: int) -> None:
        self.show_updates(self.session.titles.write(conversation_id))
        self.show_place_of_reply()
