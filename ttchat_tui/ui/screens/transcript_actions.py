"""Actions on the transcript: select and copy messages, show versions, save the conversation to a file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ttchat_tui.domain.conversation import Conversation
from ttchat_tui.storage.errors import StorageError
from ttchat_tui.ui import deferred
from ttchat_tui.ui.commands import BY_NAME, keys_label
from ttchat_tui.ui.screens.chat_actions import ChatActions

if TYPE_CHECKING:
    from ttchat_tui.ui.widgets.transcript.message import MessageWidget


class TranscriptActions(ChatActions):
    """One method for each action; `command_<name>` takes what follows a slash command."""

    def copy(self, text: str) -> None:
        """Copy to the clipboard in a worker: the tools may be slow or hang."""

        async def run() -> None:
            result = await deferred.clipboard.copy(text, self.app, self.services.paths.state_dir)
            self.notify(result, markup=False)

        self.run_worker(run(), group="clipboard")

    def action_copy_reply(self) -> None:
        source = self.transcript.last_reply_source()
        if source:
            self.copy(source)
        else:
            self.notify("There is no reply to copy yet.", markup=False)

    def action_copy_code(self) -> None:
        self.command_copy_code("")

    def command_copy_code(self, number: str) -> None:
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
            self.notify(
                f"The {which} has {len(blocks) or 'no'} code block{'s' * (len(blocks) != 1)}.", markup=False
            )

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
        """Show another version of the message `key`, the selected one, or the last reply. It stays in view, and selected."""
        selected, last = self.transcript.selected, self.session.last_reply
        wanted = key or selected or (last.id if last else None)
        at = next((at for at, message in enumerate(self.session.path) if message.id == wanted), None)
        if wanted is None or at is None:
            self.notify("There is no reply yet.", markup=False)
            return
        if self.session.path[at].sibling_count < 2:
            self.notify(
                "There is only one version. /retry generates another for the last reply.", markup=False
            )
            return
        self.keep_draft()
        after = len(self.session.path) - at - 1
        if not self.attempt(lambda: self.session.show_version(wanted, step)):
            return
        path = self.session.path
        if path[at].id == wanted:
            return
        if after:
            self._report_hidden(after, back="newer_version" if step < 0 else "older_version")
        if selected == wanted:
            self.transcript.select(path[at].id)
        self.transcript.bring_into_view(path[at].id)

    def _report_hidden(self, count: int, back: str) -> None:
        """Report that `count` messages follow the version that was left. The action `back` returns to it."""
        action = BY_NAME[back]
        how = keys_label(action, self.services.config.keys) or action.slash
        what, them = ("1 message follows", "it") if count == 1 else (f"{count:,} messages follow", "them")
        self.notify(f"{what} the other version; {how} shows {them} again.", markup=False)

    def action_follow_end(self) -> None:
        self.transcript.follow()

    # --- to a file

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

    def command_save(self, typed: str) -> None:
        """`/save notes.json`: the suffix names the format (Markdown without one); a bare name goes to the exports folder."""
        if (conversation := self.session.conversation) is None:
            self.notify("There is nothing to save yet.", markup=False)
            return
        is_quoted = len(typed) > 2 and typed[0] == typed[-1] in "'\""  # as for a shell
        try:
            path = typed[1:-1] if is_quoted else typed
            target = deferred.export.place_for(path, self._exports_dir(), conversation)
            self._save_to(deferred.export.format_of(target), target)
        except StorageError as error:
            self.show_error(error.info)

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
