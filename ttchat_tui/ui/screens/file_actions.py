"""Actions that write and read files: save a transcript, import conversations."""

from __future__ import annotations

import asyncio
import logging
import shlex
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec

from ttchat_tui.domain.conversation import Conversation, Message
from ttchat_tui.domain.errors import ErrorInfo
from ttchat_tui.domain.events import ProgressReporter
from ttchat_tui.domain.given_settings import setting
from ttchat_tui.domain.imports import ImportReport
from ttchat_tui.domain.recording import Recording
from ttchat_tui.domain.text import visible
from ttchat_tui.domain.thoughts import TAG
from ttchat_tui.domain.user_paths import unquoted
from ttchat_tui.storage.errors import StorageError
from ttchat_tui.ui import deferred
from ttchat_tui.ui.daemon_thread import in_daemon_thread
from ttchat_tui.ui.screens.chat_actions import ChatActions

if TYPE_CHECKING:
    from ttchat_tui.ui.screens.save import Saving

log = logging.getLogger(__name__)

TRACE: Final = "--trace"

_PREVIEWED_MESSAGES = 3
"""A preview shows a few lines; a long conversation would take seconds to render."""


class FileActions(ChatActions):
    """One method for each action; `command_<name>` takes what follows a slash command."""

    start_search: Callable[[], None]
    follow_history: Callable[[], None]
    selected_messages: Callable[[], list[Message]]

    def action_save(self) -> None:
        """Save the open conversation; while the list has the focus, those that are chosen there."""
        chosen = self.history_panel.acted_on if self.history_panel is not None else ()
        if chosen and chosen != (self.session.conversation and self.session.conversation.id,):
            self._ask_for_folder(chosen)
        else:
            self._ask_what_to_save()

    def _ask_what_to_save(self) -> None:
        conversation = self._conversation_to_save()
        if conversation is None:
            return

        def save(chosen: Saving | None) -> None:
            if chosen is None:
                return
            if chosen.has_recordings:
                self.run_worker(self._save_with_recordings("json", chosen.target, chosen.part), group="save")
            else:
                self._save(chosen.format, chosen.target, chosen.part, has_thoughts=chosen.has_thoughts)

        language, _ = self._code_block() or ("", "")
        dialog = deferred.save.SaveTranscript(
            self._exports_dir(),
            deferred.export.file_name(conversation),
            preview=partial(self._preview, conversation),
            selected=len(self._chosen_messages()),
            code_suffix=deferred.export.code_suffix(language) if self._code_block() else "",
            offers_thoughts=any(has_thought(message) for message in self.session.path),
        )
        self.app.push_screen(dialog, save)

    def command_save(self, typed: str) -> None:
        """`/save notes.json`: the suffix names the format (Markdown without one); a bare name goes to the exports folder.
        `/save --trace notes`: JSON with what was recorded of each token; a timeline (.trace, .csv) is made of that anyway."""
        conversation = self._conversation_to_save()
        if conversation is None:
            return
        has_recordings = typed.split()[:1] == [TRACE]
        typed = typed.strip().removeprefix(TRACE).strip() if has_recordings else typed
        try:
            target = deferred.export.place_for(unquoted(typed), self._exports_dir(), conversation)
            if has_recordings and not target.suffix:
                target = target.with_name(f"{target.name}.json")
            format = deferred.export.format_of(target)
        except StorageError as error:
            self.show_error(error.info)
        else:
            if not has_recordings or format in deferred.export.TIMELINES:
                self._save(format, target, "all" if format == "json" else "branch")
            elif format == "json":
                self.run_worker(self._save_with_recordings("json", target, "all"), group="save")
            else:
                name = shlex.quote(str(Path(unquoted(typed)).with_suffix(".json")))
                self.show_error(
                    ErrorInfo(
                        kind="usage",
                        message=f"{target.suffix} files have no recordings.",
                        cure=f"JSON has them: /save {TRACE} {name}",
                    )
                )

    def choices_save(self) -> list[tuple[str, str]]:
        """The conversation's file in each format."""
        conversation = self.session.conversation
        name = deferred.export.file_name(conversation) if conversation is not None else "conversation"
        return [(f"{name}{suffix}", label) for suffix, label in deferred.save.FORMATS.values()]

    def _conversation_to_save(self) -> Conversation | None:
        if self.session.conversation is None:
            self.notify("There is nothing to save yet.", markup=False)
        return self.session.conversation

    def _exports_dir(self) -> Path:
        configured = self.services.config.storage.exports_dir
        return deferred.export.file_path(configured) if configured else self.services.paths.exports_dir

    def _chosen_messages(self) -> list[Message]:
        """The selected messages, or the last reply."""
        last = self.session.last_reply
        return self.selected_messages() or ([last] if last is not None else [])

    def _code_block(self) -> tuple[str, str] | None:
        """The language and the text of the last code block of those messages."""
        found = [
            fence for each in self._chosen_messages() for fence in deferred.fenced_code.fences(each.content)
        ]
        return found[-1] if found else None

    def _messages_of(self, part: str) -> Sequence[Message]:
        """Raises StorageError."""
        match part:
            case "all":
                return deferred.export.export_messages(list(self.session.path), self.session.tree, "json")
            case "message":
                return self._chosen_messages()
            case _:
                return list(self.session.path)

    def _preview(
        self, conversation: Conversation, format: str, part: str, has_thoughts: bool
    ) -> Callable[[], str]:
        if part == "code":
            _, code = self._code_block() or ("", "")
            return lambda: code
        messages = list(self.session.path) if part == "all" else self._messages_of(part)
        first, rest = messages[:_PREVIEWED_MESSAGES], messages[_PREVIEWED_MESSAGES:]
        shown = first if has_thoughts else deferred.export.without_thoughts(first)
        return partial(
            deferred.export.preview,
            format,
            _without_prompt(conversation, part),
            (*shown, *rest),
            len(shown),
        )

    def _save(self, format: str, target: Path, part: str, *, has_thoughts: bool = True) -> None:
        conversation = self._conversation_to_save()
        if conversation is None:
            return
        export = deferred.export
        if format in export.TIMELINES and part != "code":
            self.run_worker(self._save_with_recordings(format, target, part), group="save")
            return
        try:
            made = export.missing_folder(target)
            if part == "code":
                language, code = self._code_block() or ("", "")
                file = export.place_for(str(target), Path(), conversation)
                named = file if file.suffix else file.with_name(file.name + export.code_suffix(language))
                path = export.write_text(named, f"{code}\n")
            else:
                messages = self._messages_of(part)
                messages = messages if has_thoughts else export.without_thoughts(messages)
                path = export.write_export(target, format, _without_prompt(conversation, part), messages)
        except StorageError as error:
            self.show_error(error.info)
        else:
            self._report_saved(path, made)

    def _report_saved(self, path: Path, made: Path | None, note: str = "") -> None:
        """`made`: the folder that was created for it."""
        new = f", in a new folder: {made}" if made else ""
        self.notify(f"Saved to {path}{new}{note}", markup=False)

    async def _save_with_recordings(self, format: str, target: Path, part: str) -> None:
        """As JSON with what was recorded of each token, or as a timeline. Reading that of a long conversation takes seconds."""
        conversation, export = self._conversation_to_save(), deferred.export
        if conversation is None:
            return
        try:
            made = export.missing_folder(target)
            messages = self._messages_of(part)
            recordings = await self._recordings_of(messages)
            shown = _without_prompt(conversation, part)
            write = partial(export.write_export, target, format, shown, messages, recordings=recordings)
            path = await in_daemon_thread(write)
        except StorageError as error:
            self.show_error(error.info)
        else:
            self._report_saved(path, made, f"\nRecorded replies in it: {len(recordings):,}.")

    async def _recordings_of(self, messages: Sequence[Message]) -> dict[int, Recording]:
        """Of the replies that have one. Raises StorageError."""
        found: dict[int, Recording] = {}
        for each in messages:
            recording = await in_daemon_thread(self.session.recordings.reader(each.id))
            if recording.tokens:
                found[each.id] = recording
        return found

    # --- several at once

    def _ask_for_folder(self, ids: Sequence[int]) -> None:
        def save(saving: Saving | None) -> None:
            if saving is not None:
                self.run_worker(self._save_all(ids, saving.format, saving.target), group="save")

        self.app.push_screen(deferred.save_several.SaveSeveral(self._exports_dir(), len(ids)), save)

    async def _save_all(self, ids: Sequence[int], format: str, folder: Path) -> None:
        """Write one file after the other, each on another thread: a disk may be slow."""
        export, done = deferred.export, 0
        for each in ids:
            try:
                conversation, path, tree = self.session.organising.read(each)
                messages = export.export_messages(path, lambda tree=tree: tree, format)
                file = folder / f"{export.file_name(conversation)}{export.suffix_of(format)}"
                recordings = await self._recordings_of(messages) if format in export.TIMELINES else {}
                await asyncio.to_thread(
                    export.write_export, file, format, conversation, messages, recordings=recordings
                )
            except StorageError as error:
                so_far = f"{error.info.sentence} {done:,} of {len(ids):,} conversations were saved."
                self.show_error(msgspec.structs.replace(error.info, message=so_far))
                return
            done += 1
        self.notify(f"{done:,} conversation{'s' * (done != 1)} saved in {folder}", markup=False)

    # --- from files

    def action_import_files(self) -> None:
        self.command_import_files("")

    def command_import_files(self, typed: str) -> None:
        """`/import conversations.zip`: the dialog, which checks the file at once."""
        if self.session.storage_mode != "read-write":
            message = "Nothing can be imported: the conversations of this session are not kept."
            notice = self.session.storage_notice
            cure = (
                notice.cure
                if notice is not None
                else f"Start without --no-save, and with {setting('storage.autosave', 'true')}."
            )
            self.show_error(ErrorInfo(kind="database_read_only", message=message, cure=cure))
            return
        self.app.push_screen(deferred.import_files.ImportFiles(self._import, typed), self._show_imported)

    def _import(self, file: Path, report: ProgressReporter, is_dry_run: bool) -> ImportReport:
        """On another thread, over a connection of its own."""
        database = self.services.paths.database
        return deferred.importing.import_files(database, [file], report, is_dry_run=is_dry_run)

    def _show_imported(self, report: ImportReport | None) -> None:
        if report is None:
            return
        for problem in report.problems:
            log.warning("not imported: %s", problem)
        more = "\nWhat was skipped is in the log (/log)." if report.skipped else ""
        more += "".join(f"\n{note}" for note in report.notes)
        more += "\nThe same import again brings the rest." if report.is_stopped else ""
        self.notify(
            visible(f"{report}.{more}"),
            severity="warning" if more else "information",
            markup=False,
            timeout=8,
        )
        self.follow_history()  # written over another connection, as by another window
        self.start_search()  # it indexes what is new


def has_thought(message: Message) -> bool:
    return message.role == "assistant" and TAG.search(message.content) is not None


def _without_prompt(conversation: Conversation, part: str) -> Conversation:
    """Messages alone go without the system prompt."""
    return msgspec.structs.replace(conversation, system_prompt="") if part == "message" else conversation
