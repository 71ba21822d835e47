"""Actions of the chat screen on replies, conversations, the model and the view: one method per entry of the action table."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING, cast

from textual import getters
from textual.message import Message as TextualMessage

from ttchat_tui.domain.errors import AppError, ErrorInfo
from ttchat_tui.domain.updates import NOTE, Update
from ttchat_tui.models.errors import ModelError
from ttchat_tui.session import with_served_name
from ttchat_tui.session.by_title import require_title, titled
from ttchat_tui.session.notices import is_over
from ttchat_tui.storage.errors import StorageError
from ttchat_tui.ui import deferred
from ttchat_tui.ui.commands import Action
from ttchat_tui.ui.screens.sidebars import SidebarScreen
from ttchat_tui.ui.themes import load_themes
from ttchat_tui.ui.widgets.history.groups import day_of
from ttchat_tui.ui.widgets.status_line import StatusLine
from ttchat_tui.ui.widgets.transcript.transcript import Transcript

if TYPE_CHECKING:
    from ttchat_tui.models.library import ModelRow
    from ttchat_tui.session import ChatSession
    from ttchat_tui.ui.app import TtchatApp
    from ttchat_tui.ui.widgets.history.panel import HistoryPanel


class ChatActions(SidebarScreen):
    """One method for each action. `ChatScreen` has the attributes used here, and draws."""

    session: ChatSession
    status = getters.query_one(StatusLine)
    transcript = getters.query_one(Transcript)
    show_updates: Callable[[list[Update]], None]
    give_back: Callable[[str], None]
    show_place_of_reply: Callable[[], None]
    write_title: Callable[[int], None]
    count: Callable[[], None]
    take_back_preset: Callable[[], bool]
    pace_word: Callable[[], str]
    choose_model: Callable[[str], None]
    _errors: Mapping[str, ErrorInfo] = MappingProxyType({})
    """Those that toasts have shown, by their words."""
    _has_failed = False
    """An error was shown since the last command began."""

    class ThemesRead(TextualMessage):
        """The user's theme files were read again."""

    def show_error(self, error: ErrorInfo) -> None:
        """Show an error's message and cure in a toast."""
        severity = "information" if error.kind == NOTE else "warning" if error.kind == "busy" else "error"
        self._has_failed |= error.kind != NOTE
        self._errors = {**self._errors, error.lines: error}
        self.notify(error.lines, severity=severity, markup=False, timeout=5 if error.kind == NOTE else 8)

    def drop_untrue_toasts(self) -> None:
        """Remove toasts about what has ended since, such as a load."""
        self._drop_toasts(lambda error: is_over(error, self.session))

    def _drop_toasts(self, is_past: Callable[[ErrorInfo], bool]) -> None:
        for toast in cast("TtchatApp", self.app).shown_toasts():
            error = self._errors.get(toast.message)
            if error is not None and is_past(error):
                self.drop_toast(toast.message)

    def drop_toast(self, words: str) -> None:
        """Remove the toast with these words, if it is on screen."""
        app = cast("TtchatApp", self.app)
        for toast in app.shown_toasts():
            if toast.message == words:
                app.remove_toast(toast)

    def show_notes(self, notes: Sequence[str]) -> None:
        """Show an engine's notes about a load, in a toast each."""
        for note in notes:
            self.notify(note, severity="warning", markup=False, timeout=8)

    def attempt(self, action: Callable[[], list[Update] | None]) -> bool:
        """Run `action`, which may raise StorageError, and show its updates or the error. Returns whether it succeeded."""
        try:
            updates = action()
        except StorageError as error:
            self.show_error(error.info)
            return False
        self.show_updates(updates or [])
        return True

    async def run_command(self, action: Action, argument: str) -> bool:
        """A slash command: `command_<name>` where an argument follows it, otherwise the plain action. False: it has shown
        an error."""
        self._has_failed = False
        self._drop_toasts(lambda error: error.kind == "usage")  # of the command before
        command = getattr(self, f"command_{action.name}", None) if argument else None
        if command is None:
            await self.run_action(action.name)
        else:
            try:
                result = command(argument)
                if inspect.isawaitable(result):
                    await result
            except StorageError as error:
                self.show_error(error.info)
        return not self._has_failed

    # --- replies

    def action_stop(self) -> None:
        """Esc: stop the reply on screen; else close the overlay; else clear the selection; else `session.interrupt`."""
        is_answering = self.session.is_answering
        if self.overlay and not is_answering:
            self.close_overlay()
        elif self.transcript.selected is not None and not is_answering:
            self.transcript.select(None)
        else:
            cast("TtchatApp", self.app).drop_stale_toasts(with_errors=not self.escape_does())
            self.show_updates(self.session.interrupt())
            self.status.set_cancelling(self.session.is_cancelling_load)
        if not self.overlay:
            self.prompt.focus()

    def escape_does(self) -> str:
        """What `action_stop` would do to what is on screen, in a word; empty if nothing."""
        if self.session.is_answering:
            return "stop"
        if self.overlay:
            return "close"
        if self.transcript.selected is not None:
            return "deselect"
        return "stop" if self.session.side_requests.running is not None else ""

    async def action_edit_draft(self) -> None:
        await self.prompt.edit_externally()

    # --- conversations

    def apply_typed_settings(self) -> None:
        """Apply the system prompt now: the panel reports it only after a pause in typing."""
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
        """Store the draft now: the prompt reports it only after a pause in typing."""
        self.show_updates(self.session.save_draft(self.prompt.draft))

    def action_next_conversation(self) -> None:
        self._open_neighbour(1)

    def action_previous_conversation(self) -> None:
        self._open_neighbour(-1)

    def _open_neighbour(self, step: int) -> None:
        current = self.session.conversation.id if self.session.conversation else None
        neighbour = self.history_panel.neighbour(current, step) if self.history_panel else None
        if neighbour is not None:
            self.open_conversation(neighbour)

    def action_open(self) -> None:
        self.action_focus_history()

    def command_open(self, title: str) -> None:
        """Open the conversation with this title, or the only one whose title contains it; of equal titles the newest, as
        the completion offers it."""
        try:
            found = titled(self.session.organising.listed(), title)
            newest = {each.title: each for each in reversed(found)}
            cure = "Type more of the title, or look for it in the list: /find."
            chosen = require_title(list(newest.values())[::-1], title, cure=cure)
        except AppError as error:
            self.show_error(error.info)
        else:
            self.open_conversation(chosen.id)

    def choices_open(self) -> list[tuple[str, Callable[[], str]]]:
        """The titles, of equal ones the newest. Raises StorageError."""
        ages: dict[str, float] = {}
        for each in self.session.organising.listed():
            ages.setdefault(each.title, each.updated_at)
        ages.pop("", None)
        return [(title, partial(day_of, updated_at)) for title, updated_at in ages.items()]

    def action_rename(self) -> None:
        if self.session.conversation is not None:
            self.ask_title(self.session.conversation.id)

    def ask_title(self, conversation_id: int) -> None:
        def ask() -> None:
            current = self.session.organising.conversation(conversation_id).title

            def rename(title: str | None) -> None:
                if title and title != current:
                    self.attempt(lambda: self.session.rename(conversation_id, title))
                elif title == "":
                    self.write_title(conversation_id)

            self.app.push_screen(deferred.rename.Rename(current), rename)

        self.attempt(ask)

    def command_rename(self, title: str) -> None:
        if (conversation := self.session.conversation) is not None:
            self.attempt(lambda: self.session.rename(conversation.id, title))

    def action_delete(self) -> None:
        if self.session.conversation is not None:
            self.delete_conversations(self.session.conversation.id)

    def delete_conversations(self, *ids: int) -> None:
        """Delete without asking, since it can be undone."""
        self.keep_draft()
        if self.attempt(lambda: self.session.delete(*ids)):
            several = f"{len(ids):,} conversations deleted. /undo brings them back."
            self.notify(several if len(ids) > 1 else "Deleted. /undo brings it back.", markup=False)

    def action_undo_delete(self) -> None:
        """Take back the preset that was applied last, else restore what was deleted last, in an earlier session too; each
        further call restores what was deleted before."""
        if self.take_back_preset():
            return

        def undo() -> list[Update]:
            self.keep_draft()
            updates = self.session.branching.undo()
            if not updates:
                self.notify(
                    "There is no deleted conversation or message. They are kept for 30 days.",
                    markup=False,
                )
            return updates

        self.attempt(undo)

    # --- the model

    def action_model(self) -> None:
        def load(name: str | None) -> None:
            if name:
                self.choose_model(name)

        current = deferred.model_rows.loaded(self.session.model, self.session.info)
        cache_dir = self.services.paths.cache_dir
        picker = deferred.model_picker.ModelPicker(
            self.offered_models(), current, lambda: deferred.machine.this_machine(cache_dir)
        )
        self.app.push_screen(picker, load)

    def offered_models(self) -> Sequence[ModelRow]:
        """The models of this machine, the catalog, and the server."""
        local = deferred.library.list_models(self.services.paths.models_dir, os.environ)
        return deferred.model_rows.offered(local, self.session.info, self.services.config.remote)

    def command_model(self, name: str) -> None:
        """Load another model. The name is checked first, so that a typing error does not unload the current one."""
        fault = self.model_fault(name)
        if fault is None:
            self.show_updates(self.session.load(name))
        else:
            self.show_error(fault)

    def model_fault(self, name: str) -> ErrorInfo | None:
        """Why this cannot be the name of a model; None if it can."""
        try:
            if not name.startswith(deferred.model_rows.REMOTE_PREFIX):  # only the server can check it
                own_name = self.services.config.without_kind(name)
                deferred.local.resolve(own_name, self.services.paths.models_dir, os.environ)
        except ModelError as error:
            return with_served_name(error.info, name, self.session.info)
        return None

    def choices_model(self) -> list[tuple[str, str]]:
        return [
            (row.name, f"at {row.endpoint}" if row.endpoint else "here" if row.is_here else "download")
            for row in self.offered_models()
        ]

    def action_reload_model(self) -> None:
        self.show_updates(self.session.load(self.session.model))

    def action_unload_model(self) -> None:
        self.show_updates(self.session.unload())

    def remember_model(self, name: str) -> None:
        """Store the model for the next start."""
        self.keep_ui_state(last_model=deferred.local.lasting_name(name))

    # --- the view

    def action_focus_transcript(self) -> None:
        self.transcript.focus()

    def action_theme(self) -> None:
        def keep(name: str | None) -> None:
            if name:
                self.keep_ui_state(theme=name)

        if errors := self._read_themes():
            self.notify("\n".join(errors), title="Theme", severity="warning", timeout=10, markup=False)
        self.app.push_screen(deferred.theme_picker.ThemePicker(), keep)

    def _read_themes(self) -> list[str]:
        """Read the themes again: a file may be new, and at the start there may have been no folder of the user's. Returns
        the errors in files that cannot be used."""
        themes, errors = load_themes([self.services.paths.themes_dir])
        for theme in themes:
            self.app.register_theme(theme)
        self.post_message(self.ThemesRead())
        return [str(error) for error in errors]

    def command_theme(self, name: str) -> None:
        errors = self._read_themes()
        if name in deferred.theme_picker.offered(self.app):
            self.app.theme = name
            self.keep_ui_state(theme=name)
        else:
            cure = "\n".join(errors) or f"There are {', '.join(deferred.theme_picker.offered(self.app))}."
            self.show_error(ErrorInfo(kind="usage", message=f"There is no theme {name}.", cure=cure))

    def choices_theme(self) -> list[tuple[str, str]]:
        return [(name, "") for name in deferred.theme_picker.offered(self.app)]

    # --- the app

    def action_show_log(self) -> None:
        paths = self.services.paths
        self.app.push_screen(deferred.log.LogScreen(paths.log_file, paths.engine_log_file))

    def action_palette(self) -> None:
        self.app.action_command_palette()

    async def action_quit(self) -> None:
        """From the palette and as `/quit`; the key's action is the app's."""
        await self.app.action_quit()

    async def action_help(self) -> None:
        """From the palette and as `/help`; the key's action is the app's, which also explains other screens."""
        await self.app.run_action("help")

    # --- messages from the sidebars, handled by name: their classes are imported after this one

    def on_history_panel_conversation_chosen(self, event: HistoryPanel.ConversationChosen) -> None:
        self.open_conversation(event.id)
        self.prompt.focus()

    def on_history_panel_new_requested(self) -> None:
        self.action_new()

    def on_history_panel_filter_closed(self) -> None:
        self.close_overlay()

    def on_history_panel_rename_requested(self, event: HistoryPanel.RenameRequested) -> None:
        self.ask_title(event.id)

    def on_history_panel_delete_requested(self, event: HistoryPanel.DeleteRequested) -> None:
        self.delete_conversations(*event.ids)

    def on_system_prompt_left(self) -> None:
        self.prompt.focus()
