"""Actions on the tree: edit, regenerate, continue, branch off and delete any message, and show the whole tree."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Final

from ttchat_tui.domain.attachments import without_mentioned_blocks
from ttchat_tui.domain.conversation import Edit, Message, joined
from ttchat_tui.domain.errors import ErrorInfo
from ttchat_tui.domain.reply_settings import NO_SETTINGS, ReplySettings, parse_reply_settings
from ttchat_tui.domain.text import counted
from ttchat_tui.domain.updates import ConversationOpened, Update
from ttchat_tui.storage.errors import StorageError
from ttchat_tui.ui import deferred
from ttchat_tui.ui.screens.chat_actions import ChatActions
from ttchat_tui.ui.widgets.key_line import ShownKey, keys_shown

if TYPE_CHECKING:
    from ttchat_tui.ui.screens.message_keys import MessageChoice
    from ttchat_tui.ui.setting_choices import SettingValues
    from ttchat_tui.ui.widgets.edit_bar import EditBar

ON_SELECTED: Final = {
    "edit_message": "edit",
    "regenerate": "retry",
    "delete_message": "delete",
    "branch": "branch",
    "copy_message": "copy",
    "older_version": "older",
    "newer_version": "newer",
    "tree": "tree",
}
"""Action → its word in the key line while a message is selected, the most important first."""

ON_MESSAGE: Final = {*ON_SELECTED, "copy_code", "keep_message", "leave_out", "toggle_thoughts", "select_text"}
"""Actions on the selected message."""


class BranchActions(ChatActions):
    """One method for each action; `command_<name>` takes what follows a slash command."""

    attached: Callable[..., Awaitable[str | None]]
    _edited: Message | None = None
    """The message whose text is in the prompt."""
    _typed_before = ""
    """What was typed of it: the text of files that it mentions is not in the prompt."""
    _draft_before = ""
    """What was in the prompt before that."""
    _edit_bar: EditBar | None = None
    """Mounted on first use."""

    # --- replies

    def action_regenerate(self) -> None:
        self._regenerate(NO_SETTINGS)

    def command_regenerate(self, typed: str) -> None:
        settings = parse_reply_settings(typed)
        if isinstance(settings, ErrorInfo):
            self.show_error(settings)
        elif settings.model and (fault := self.model_fault(settings.model)) is not None:
            self.show_error(fault)
        else:
            self._regenerate(settings)

    def choices_regenerate(self) -> list[tuple[str, str]]:
        """The names of the settings."""
        return deferred.setting_choices.setting_names(self.session.sampling)

    def values_regenerate(self, setting: str) -> SettingValues:
        choices, session = deferred.setting_choices, self.session
        if setting.lower() == choices.MODEL:
            return choices.SettingValues(self.choices_model())
        levels = session.info.capabilities.thinking if session.info is not None else ()
        return choices.setting_values(setting, session.sampling, session.recommended_sampling, levels)

    def _regenerate(self, settings: ReplySettings) -> None:
        self._change(lambda: self.session.branching.regenerate(self.transcript.selected, settings))

    def action_continue_reply(self) -> None:
        self._change(lambda: self.session.branching.continue_reply(self.transcript.selected))

    # --- editing

    @property
    def is_editing(self) -> bool:
        """The prompt has the text of a message."""
        return self._edited is not None

    def action_edit_message(self) -> None:
        message = self._selected_or(lambda each: each.role == "user")
        if message is None:
            self.notify("There is no message to edit yet.", markup=False)
        else:
            if self._edited is None:
                self.keep_draft()
            elif self._edited.id == message.id:
                return  # its text stays as it is by now
            else:
                self.prompt.remember(self.prompt.text)
            self._begin_edit(message)

    def _begin_edit(self, message: Message, text: str | None = None) -> None:
        """Put what was typed of the message into the prompt, or `text`, as it was changed since."""
        if not self.is_editing:
            self._draft_before = self.prompt.draft
        self._edited = message
        is_own = message.role == "user"
        self.session.context.edited_id = message.id if is_own else None
        self._typed_before = without_mentioned_blocks(message.content) if is_own else message.content
        if self._edit_bar is None:
            self._edit_bar = deferred.edit_bar.EditBar()
            self.query_one("#chat").mount(self._edit_bar, before="#writing")
        self._edit_bar.open(message)
        self.transcript.select(message.id)
        self.prompt.set_draft(self._typed_before if text is None else text)
        self.prompt.set_token_hint("")
        self.close_overlay()
        self.prompt.focus()

    async def submit_edit(self, text: str) -> None:
        """The edited text of a message was sent."""
        message = self._edited
        assert message is not None
        if message.role == "user":
            whole = await self.attached(text, message.content)
            is_there = self._edited is message and self.prompt.text == text  # also after files were read
            if whole is not None and is_there:
                is_changed = whole != message.content
                if self._change(lambda: self.session.branching.edit(message.id, whole)) or not is_changed:
                    self._leave_edit()
            return
        if text == message.content:
            self._leave_edit()
            self.notify("Nothing was changed.", markup=False)
            return

        def finish(to_continue: bool | None) -> None:
            if to_continue is None:  # back to the text
                return
            if self._change(lambda: self.session.branching.write(message.id, text, to_continue=to_continue)):
                self._leave_edit()

        self.app.push_screen(deferred.edited_reply.EditedReply(), finish)

    def _leave_edit(self) -> None:
        """Put the draft back into the prompt."""
        self._end_edit()
        self.prompt.set_draft(self._draft_before)
        self.keep_draft()
        self.count()

    def _end_edit(self) -> None:
        self._edited = self.session.context.edited_id = None
        if self._edit_bar is not None:
            self._edit_bar.display = False

    def keep_draft(self) -> None:
        """The text of a message is not the draft. It is kept beside it once it is changed."""
        message, text = self._edited, self.prompt.draft
        self.session.folds.keep(text, self.prompt.folded_spans, is_edit=message is not None)
        if message is None:
            super().keep_draft()
        else:
            edit = Edit(message.id, text) if text != self._typed_before else None
            self.show_updates(self.session.save_draft(self._draft_before, edit))

    def give_back(self, text: str) -> None:
        """While a message is in the prompt, the draft is below it."""
        if self.is_editing:
            self._draft_before = joined(text, self._draft_before)
        else:
            super().give_back(text)

    def show_updates(self, updates: Sequence[Update]) -> None:
        """Another conversation brings its own draft, and the edit that was left in it."""
        is_opened = any(isinstance(update, ConversationOpened) for update in updates)
        if is_opened:
            self._end_edit()
        super().show_updates(updates)  # pyright: ignore[reportArgumentType]
        if is_opened:
            self._resume_edit()
        else:
            self._leave_lost_edit()

    def _resume_edit(self) -> None:
        try:
            edit = self.session.edit_in_progress
        except StorageError as error:
            self.show_error(error.info)
            return
        if edit is None:
            return
        try:
            message = self.session.path.message(edit.message_id)
        except StorageError as error:
            self.show_error(error.info)
            message = None
        if message is not None:
            self.prompt.know_pastes(self.session.folds.of(edit.text, is_edit=True))
            self._begin_edit(message, edit.text)
        else:  # another window has deleted it, or shows another branch
            self._give_back(edit.text)

    def _give_back(self, text: str) -> None:
        self.prompt.remember(text)
        self.notify(
            "The message that you were editing is not on this branch. ↑ brings the text back.", markup=False
        )

    def _leave_lost_edit(self) -> None:
        """The edited message may have left the screen: deleted, or another branch is shown. ↑ brings back a text that was not
        sent."""
        edited, text = self._edited, self.prompt.text
        if edited is None or self._is_on_screen(edited.id):
            return
        sent = (without_mentioned_blocks(message.content) for message in self.session.path[-2:])
        if text not in (self._typed_before, *sent):
            self._give_back(text)
        self._leave_edit()

    def action_stop(self) -> None:
        """Esc: first leave the edit, unless a reply is to be stopped."""
        if self.is_editing and not self.session.is_answering:
            self._leave_edit()
            self.transcript.select(None)
        else:
            super().action_stop()

    def escape_does(self) -> str:
        is_first = self.is_editing and not self.session.is_answering
        return "leave" if is_first else super().escape_does()

    # --- branches

    def action_branch(self) -> None:
        message = self._selected_or(lambda each: True)
        if message is None:
            self.notify("There is no message to branch from yet.", markup=False)
        else:
            self._branch(message.id)

    def _branch(self, message_id: int) -> None:
        self.apply_typed_settings()
        self.keep_draft()
        if self.attempt(lambda: self.session.branching.branch_off(message_id)):
            self.notify("This is a copy; the conversation it comes from is unchanged.", markup=False)

    def action_delete_message(self) -> None:
        """Without a selection nothing is deleted: a stray key must not destroy anything."""
        message = self._selected_message
        if message is None:
            self.notify("Select the message to delete first: alt+k, or a click.", markup=False)
        else:
            self._delete(message.id)

    def _delete(self, message_id: int, undo: str = "/undo") -> bool:
        """Returns whether it is deleted; otherwise a notice says why not."""
        self.keep_draft()
        count = 0

        def delete() -> list[Update]:
            nonlocal count
            count, updates = self.session.branching.delete(message_id)
            return updates

        self._change(delete)
        if not count:
            return False
        followed = f", with the {counted(count - 1, 'message')} that followed" if count > 1 else ""
        what = "The conversation is deleted" if self.session.conversation is None else f"Deleted{followed}"
        self.notify(f"{what}. {undo} brings it back.", markup=False)
        return True

    # --- the tree

    def action_tree(self) -> None:
        path = self.session.path
        if not path:
            self.notify("There is no message yet.", markup=False)
            return

        def ask() -> None:
            tree = deferred.tree.TreeScreen(
                self.session.branching.outline,
                lambda: self.session.path.ids,
                self.transcript.selected or path.ids[-1],
                lambda message_id, name: self.attempt(lambda: self.session.branching.name(message_id, name)),
                lambda message_id: self._delete(message_id, "ctrl+z here, or /undo in the prompt,"),
                self.action_undo_delete,
                self.services.config.keys,
            )
            self.app.push_screen(tree, self.obey)

        self.attempt(ask)

    async def obey(self, chosen: MessageChoice | None) -> None:
        """Do what a list of messages was left for."""
        if chosen is None:
            return
        message_id, action = chosen
        if not message_id and action in ON_MESSAGE:
            self.notify("There is no message in that row.", markup=False)
            return
        if action == "branch":  # what is on screen stays there
            self._branch(message_id)
            return
        is_ready = (action and action not in ON_MESSAGE) or self._jump(message_id)
        if is_ready and action:
            await self.run_action(action)

    def _jump(self, message_id: int) -> bool:
        """Show the branch with this message, select it and bring it into view. Returns whether it is on screen."""
        if not self._is_on_screen(message_id):
            self.keep_draft()
            if not self.attempt(lambda: self.session.open_at(message_id)):
                return False
        is_there = self._is_on_screen(message_id)
        if is_there:
            self.transcript.select(message_id)
            self.transcript.bring_into_view(message_id)
        return is_there

    def _is_on_screen(self, message_id: int) -> bool:
        return message_id in self.session.path.ids

    # --- the selected message

    def selection_keys(self) -> list[ShownKey]:
        """The keys for what can be done with the selected message, the most important first."""
        try:
            message = self._selected_message
        except StorageError:  # the message on screen says so
            return []
        if message is None or self.is_editing:
            return []
        names = dict(ON_SELECTED)
        if message.sibling_index == 0:
            del names["older_version"]
        if message.sibling_index + 1 >= message.sibling_count:
            del names["newer_version"]
        return keys_shown(names, self.services.config.keys)

    @property
    def _selected_message(self) -> Message | None:
        return self.session.path.message(self.transcript.selected)

    def _selected_or(self, is_wanted: Callable[[Message], bool]) -> Message | None:
        """The selected message, else the last one on the path that is wanted."""
        if self.transcript.selected is not None:
            return self._selected_message
        return next(filter(is_wanted, reversed(self.session.path)), None)

    def _change(self, action: Callable[[], list[Update]]) -> bool:
        """Run an action on the branch on screen, and follow its end. Returns whether another branch is on screen now: if it
        was refused, a notice says why."""
        before = self.session.path
        if not self.attempt(action) or self.session.path is before:
            return False
        self.transcript.follow()
        return True
