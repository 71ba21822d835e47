"""What the chat screen does when asked: one method an entry of the action table."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from textual import getters

from ttchat_tui.domain.conversation import Conversation
from ttchat_tui.domain.errors import ErrorInfo
from ttchat_tui.domain.updates import NOTE, Update
from ttchat_tui.domain.user_paths import expanded
from ttchat_tui.models.errors import ModelError
from ttchat_tui.storage.errors import StorageError
from ttchat_tui.ui import deferred
from ttchat_tui.ui.commands import Action
from ttchat_tui.ui.screens.sidebars import SidebarScreen
from ttchat_tui.ui.widgets.status_line import StatusLine
from ttchat_tui.ui.widgets.transcript.transcript import Transcript

if TYPE_CHECKING:
    from ttchat_tui.session import ChatSession
    from ttchat_tui.ui.widgets.metrics.panel import MetricsPanel
    from ttchat_tui.ui.widgets.transcript.message import MessageWidget


class ChatActions(SidebarScreen):
    """The actions, apart from the drawing in `ChatScreen`, which has the attributes used here."""

    session: ChatSession
    status = getters.query_one(StatusLine)
    transcript = getters.query_one(Transcript)
    metrics_panel: MetricsPanel | None = None
    show_updates: Callable[[list[Update]], None]

    def show_error(self, error: ErrorInfo) -> None:
        """One sentence and its cure, as a toast: never markup, never a backtrace."""
        text = f"{error.message}\n{error.cure}" if error.cure else error.message
        severity = "information" if error.kind == NOTE else "warning" if error.kind == "busy" else "error"
        self.notify(text, severity=severity, markup=False, timeout=5 if error.kind == NOTE else 8)

    def show_notes(self, notes: Sequence[str]) -> None:
        """What a load did otherwise than was wished, a toast for each."""
        for note in notes:
            self.notify(note, severity="warning", markup=False, timeout=8)

    def attempt(self, action: Callable[[], list[Update] | None]) -> bool:
        """Run something that reads or writes the store; a failure is said, and changes nothing. Whether it went."""
        try:
            updates = action()
        except StorageError as error:
            self.show_error(error.info)
            return False
        self.show_updates(updates or [])
        return True

    async def run_command(self, action: Action, argument: str) -> None:
        """A slash command: `/model name` and their like take an argument, the others are the plain action."""
        if not argument:
            await self.run_action(action.name)
            return
        match action.name:
            case "rename":
                self._rename_current(argument)
            case "save":
                self.attempt(lambda: self._save_as(argument))
            case "copy_code":
                self._copy_code(argument)
            case "model":
                self._load(argument)
            case "theme":
                self._use_theme(argument)
            case _:
                await self.run_action(action.name)

    # --- replies

    def action_stop(self) -> None:
        """Esc: stop the reply on screen; else close the overlay; else clear the selection; else `session.interrupt`."""
        is_answering = self.session.is_answering
        if self.overlay and not is_answering:
            self.close_overlay()
        elif self.transcript.selected is not None and not is_answering:
            self.transcript.select(None)
        else:
            self.show_updates(self.session.interrupt())
        if not self.overlay:
            self.prompt.focus()

    def action_regenerate(self) -> None:
        self.transcript.follow()
        self.show_updates(self.session.regenerate())

    def action_continue_reply(self) -> None:
        self.transcript.follow()
        self.show_updates(self.session.continue_reply())

    async def action_edit_draft(self) -> None:
        await self.prompt.edit_externally()

    # --- conversations

    def apply_typed_settings(self) -> None:
        """The system prompt as it stands: the panel tells of it only once the typing has paused."""
        panel = self.sampling_panel
        if panel is not None and panel.system_prompt != self.session.system_prompt:
            self.attempt(lambda: self.session.set_system_prompt(panel.system_prompt))

    def action_new(self) -> None:
        self.apply_typed_settings()
        self.keep_draft()
        if self.history_panel is not None:
            self.history_panel.clear_filter()
        self.attempt(self.session.new_conversation)
        self.close_overlay()

    def open_conversation(self, conversation_id: int) -> None:
        if self.session.conversation is None or self.session.conversation.id != conversation_id:
            self.apply_typed_settings()
            self.keep_draft()
            self.attempt(lambda: self.session.open(conversation_id))
        self.close_overlay()

    def keep_draft(self) -> None:
        """What stands in the prompt, now: the prompt tells of it only once the typing has paused."""
        self.show_updates(self.session.save_draft(self.prompt.text))

    def action_next_conversation(self) -> None:
        self._open_neighbour(1)

    def action_previous_conversation(self) -> None:
        self._open_neighbour(-1)

    def _open_neighbour(self, step: int) -> None:
        current = self.session.conversation.id if self.session.conversation else None
        neighbour = self.history_panel.neighbour(current, step) if self.history_panel else None
        if neighbour is not None:
            self.open_conversation(neighbour)

    def action_rename(self) -> None:
        if self.session.conversation is not None:
            self.ask_title(self.session.conversation.id)

    def ask_title(self, conversation_id: int) -> None:
        def rename(title: str | None) -> None:
            if title:
                self.attempt(lambda: self.session.rename(conversation_id, title))

        def ask() -> None:
            current = self.session.title_of(conversation_id)
            self.app.push_screen(deferred.rename.Rename(current), rename)

        self.attempt(ask)

    def _rename_current(self, title: str) -> None:
        conversation = self.session.conversation
        if conversation is not None:
            self.attempt(lambda: self.session.rename(conversation.id, title))

    def action_delete(self) -> None:
        if self.session.conversation is not None:
            self.delete_conversation(self.session.conversation.id)

    def delete_conversation(self, conversation_id: int) -> None:
        """No question asked: it can be undone."""
        self.keep_draft()
        if self.attempt(lambda: self.session.delete(conversation_id)):
            self.notify("Deleted. /undo brings it back.", markup=False)

    def action_undo_delete(self) -> None:
        """The one deleted last, also before this start; again: the one before."""

        def undo() -> list[Update]:
            self.keep_draft()
            updates = self.session.undelete()
            if not updates:
                self.notify("There is no deleted conversation. They are kept for 30 days.", markup=False)
            return updates

        self.attempt(undo)

    def action_save(self) -> None:
        conversation = self.session.conversation
        if conversation is None:
            self.notify("There is nothing to save yet.", markup=False)
            return

        def save(chosen: tuple[str, Path] | None) -> None:
            if chosen is not None:
                self._save_to(*chosen)

        dialog = deferred.save.SaveTranscript(self._exports_dir(), deferred.export.file_name(conversation))
        self.app.push_screen(dialog, save)

    def _exports_dir(self) -> Path:
        configured = self.services.config.storage.exports_dir
        return deferred.export.file_path(configured) if configured else self.services.paths.exports_dir

    def _save_as(self, typed: str) -> None:
        """`/save notes.json`: the ending names the format, Markdown without one; a bare name goes to the exports."""
        if (conversation := self.session.conversation) is None:
            self.notify("There is nothing to save yet.", markup=False)
            return
        path = (
            typed[1:-1] if len(typed) > 2 and typed[0] == typed[-1] in "'\"" else typed
        )  # as a shell has it
        target = deferred.export.place_for(path, self._exports_dir(), conversation)
        self._save_to(deferred.export.format_of(target), target)

    def _save_to(self, export_format: str, target: Path) -> None:
        conversation: Conversation | None = self.session.conversation
        if conversation is None:
            self.notify("There is nothing to save yet.", markup=False)
            return
        try:
            export = deferred.export
            messages = export.export_messages(self.session.path, self.session.tree, export_format)
            made = export.missing_folder(target)
            path = export.write_export(target, export_format, conversation, messages)
        except StorageError as error:
            self.show_error(error.info)
        else:
            self.notify(f"Saved to {path}{f', in a new folder: {made}' if made else ''}", markup=False)

    # --- the transcript

    def copy(self, text: str) -> None:
        """To the clipboard, off the UI's loop: the tools may be slow or hang."""

        async def run() -> None:
            said = await deferred.clipboard.copy(text, self.app, self.services.paths.state_dir)
            self.notify(said, markup=False)

        self.run_worker(run(), group="clipboard")

    def action_copy_reply(self) -> None:
        source = self.transcript.last_reply_source()
        if source:
            self.copy(source)
        else:
            self.notify("There is no reply to copy yet.", markup=False)

    def action_copy_code(self) -> None:
        self._copy_code("")

    def _copy_code(self, number: str) -> None:
        last = self.session.last_reply
        key = self.transcript.selected or (last.id if last else None)
        blocks = self.transcript.code_blocks(key) if key is not None else []
        place = int(number) if number.isdecimal() else len(blocks) if not number else 0
        if key is None:
            self.notify("There is no reply yet.", markup=False)
        elif 1 <= place <= len(blocks):
            self.copy(blocks[place - 1])
        else:
            which = "selected message" if self.transcript.selected else "last reply"
            self.notify(f"The {which} has {len(blocks)} code block{'s' * (len(blocks) != 1)}.", markup=False)

    def action_copy_message(self) -> None:
        if self.transcript.selected is None:
            self.action_copy_reply()
        else:
            self.copy(self.transcript.source_of(self.transcript.selected))

    def action_select_previous(self) -> None:
        self.transcript.select_neighbour(-1)

    def action_select_next(self) -> None:
        self.transcript.select_neighbour(1)

    def action_older_version(self) -> None:
        self._show_version(-1)

    def action_newer_version(self) -> None:
        self._show_version(1)

    def on_message_widget_version_requested(self, event: MessageWidget.VersionRequested) -> None:
        self._show_version(event.step, event.key)

    def _show_version(self, step: int, key: int | None = None) -> None:
        """Of the message `key`, else of the selected one, else of the last reply. It stays in view, and selected."""
        selected, last = self.transcript.selected, self.session.last_reply
        wanted = key or selected or (last.id if last else None)
        at = next((at for at, message in enumerate(self.session.path) if message.id == wanted), None)
        if wanted is None or at is None:
            self.notify("There is no reply yet.", markup=False)
            return
        if self.session.path[at].sibling_count < 2:
            self.notify("There is one version only. /retry makes another of the last reply.", markup=False)
            return
        self.keep_draft()
        if not self.attempt(lambda: self.session.show_version(wanted, step)):
            return
        path = self.session.path
        if path[at].id == wanted:
            return
        if selected == wanted:
            self.transcript.select(path[at].id)
        self.transcript.bring_into_view(path[at].id)

    def action_follow_end(self) -> None:
        self.transcript.follow()

    # --- the model

    def action_model(self) -> None:
        def load(name: str | None) -> None:
            if name:
                self._load(name)

        local = deferred.library.list_models(self.services.paths.models_dir, os.environ)
        rows = deferred.model_rows.offered(local, self.session.info, self.services.config.remote)
        current = deferred.model_rows.loaded(self.session.model, self.session.info)
        self.app.push_screen(deferred.model_picker.ModelPicker(rows, current), load)

    def _load(self, name: str) -> None:
        """Load another model, if there is such a thing: a slip of the pen must not cost the one that is loaded."""
        try:
            if not name.startswith(deferred.model_rows.REMOTE_PREFIX):  # that only its server can say
                deferred.local.resolve(name, self.services.paths.models_dir, os.environ)
        except ModelError as error:
            self.show_error(error.info)
        else:
            self.session.load(name)

    def action_reload_model(self) -> None:
        self.session.load(self.session.model)

    def action_unload_model(self) -> None:
        self.session.unload()

    def remember_model(self, name: str) -> None:
        """What `--model` would take to get it again, from any folder."""
        path = expanded(name)
        self.keep_ui_state(last_model=str(path.resolve()) if os.path.exists(path) else name)

    # --- the view

    def action_focus_transcript(self) -> None:
        self.transcript.focus()

    def action_theme(self) -> None:
        def keep(name: str | None) -> None:
            if name:
                self.keep_ui_state(theme=name)

        self.app.push_screen(deferred.theme_picker.ThemePicker(), keep)

    def _use_theme(self, name: str) -> None:
        if name in self.app.available_themes:
            self.app.theme = name
            self.keep_ui_state(theme=name)
        else:
            self.show_error(
                ErrorInfo(kind="usage", message=f"There is no theme {name}.", cure="/theme lists them.")
            )

    # --- the app

    def action_show_log(self) -> None:
        paths = self.services.paths
        self.app.push_screen(deferred.log.LogScreen(paths.log_file, paths.engine_log_file))

    def action_palette(self) -> None:
        self.app.action_command_palette()

    def action_help(self) -> None:
        ui = self.services.config.ui
        prompt_keys = {"send": ",".join(ui.submit_keys), "newline": ",".join(ui.newline_keys)}
        self.app.push_screen(deferred.help.HelpScreen({**self.services.config.keys, **prompt_keys}))
