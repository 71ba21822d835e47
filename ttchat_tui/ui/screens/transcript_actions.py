"""Actions on the transcript: select and copy messages, show versions."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from msgspec import structs

from ttchat_tui.domain.attachments import find_blocks
from ttchat_tui.domain.conversation import Message
from ttchat_tui.ui import deferred
from ttchat_tui.ui.commands import BY_NAME, keys_label
from ttchat_tui.ui.screens.chat_actions import ChatActions

if TYPE_CHECKING:
    from ttchat_tui.ui.widgets.transcript.message import MessageWidget


class TranscriptActions(ChatActions):
    """One method for each action; `command_<name>` takes what follows a slash command."""

    _turned: tuple[int, int] | None = None
    """The message whose version was changed last, and the end of the path since then."""

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
        blocks = deferred.fenced_code.fenced_code(self.transcript.source_of(key)) if key is not None else []
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
        keys = self.transcript.selected_keys
        if not keys:
            self.action_copy_reply()
        elif len(keys) == 1:
            self.copy(self.selected_messages(self.transcript.shown_source)[0].content)
        else:
            self.copy(deferred.export.excerpt(self.selected_messages(self.transcript.shown_source)))

    def selected_messages(self, text_of: Callable[[int], str] | None = None) -> list[Message]:
        """The selected messages with their `text_of`, by default the whole source that the transcript has."""
        text_of = text_of or self.transcript.source_of
        return [
            structs.replace(self.session.message(key), content=text_of(key))
            for key in self.transcript.selected_keys
        ]

    def action_toggle_thoughts(self) -> None:
        last = self.session.last_reply
        key = self.transcript.selected or (last.id if last else None)
        if key is None or not self.transcript.toggle_thoughts(key):
            which = "selected message" if self.transcript.selected else "last reply"
            self.notify(f"The {which} has no thoughts.", markup=False)

    def on_prompt_blank_submitted(self) -> None:
        """Enter in the empty prompt."""
        self.transcript.action_toggle_selected_thoughts()

    def action_select_previous(self) -> None:
        self.transcript.select_neighbour(-1)

    def action_select_next(self) -> None:
        self.transcript.select_neighbour(1)

    def action_extend_up(self) -> None:
        self.transcript.extend_selection(-1)

    def action_extend_down(self) -> None:
        self.transcript.extend_selection(1)

    def action_select_text(self) -> None:
        self.close_overlay()
        if self.transcript.start_caret():
            self.notify("Arrows or vi's keys move, v or shift selects, y copies, esc leaves.", markup=False)
        else:
            self.notify("There is no text to select yet.", markup=False)

    def escape_does(self) -> str:
        return "leave" if self.transcript.has_caret else super().escape_does()

    def on_text_selection_caret_left(self) -> None:
        self.prompt.focus()

    def action_older_version(self) -> None:
        self.attempt(lambda: self._show_version(-1))

    def action_newer_version(self) -> None:
        self.attempt(lambda: self._show_version(1))

    def on_message_widget_version_requested(self, event: MessageWidget.VersionRequested) -> None:
        self._show_version(event.step, event.key)

    def _show_version(self, step: int, key: int | None = None) -> None:
        """Show another version of the message `key`, the selected one, the one that was turned last, or the last one that has
        versions: after an edit that is the user's message. It stays in view, and selected."""
        selected, last = self.transcript.selected, self.session.last_reply
        wanted = key or selected or self._turned_before()
        wanted = wanted or self.session.branching.turned() or (last.id if last else None)
        at = self.session.path.place_of(wanted)
        if wanted is None or at is None:
            self.notify("There is no reply yet.", markup=False)
            return
        if self.session.path[at].sibling_count < 2:
            none = "This message has no other version" if selected else "No message here has another version"
            self.notify(f"{none}. /retry or an edit makes one.", markup=False)
            return
        self.keep_draft()
        after = len(self.session.path) - at - 1
        if not self.attempt(lambda: self.session.branching.turn_version(wanted, step)):
            return
        path = self.session.path
        self._turned = (path.ids[at], path.ids[-1])
        if path.ids[at] == wanted:
            return  # refused, which a notice says
        if after:
            self._report_hidden(after, back="newer_version" if step < 0 else "older_version")
        if selected == wanted:
            self.transcript.select(path[at].id)
        self.transcript.bring_into_view(path[at].id)

    def _turned_before(self) -> int | None:
        """The message whose version was changed last, until something else is selected or said."""
        if self._turned is None or self.session.path.ids[-1:] != [self._turned[1]]:
            return None
        return self._turned[0]

    def on_message_selection_selection_changed(self) -> None:
        if self._turned is not None and self.transcript.selected not in (None, self._turned[0]):
            self._turned = None

    def _report_hidden(self, count: int, back: str) -> None:
        """Report that `count` messages follow the version that was left. The action `back` returns to it."""
        action = BY_NAME[back]
        how = keys_label(action, self.services.config.keys) or action.slash
        what, them = ("1 message follows", "it") if count == 1 else (f"{count:,} messages follow", "them")
        self.notify(f"{what} the other version; {how} shows {them} again.", markup=False)

    def action_show_files(self) -> None:
        selected = self.transcript.selected
        messages = [self.session.message(selected)] if selected is not None else self.session.path
        with_files = next((each for each in reversed(messages) if find_blocks(each.content)), None)
        if with_files is None:
            which = "The selected message has" if selected else "This conversation has"
            self.notify(f"{which} no attached files.", markup=False)
        else:
            self.transcript.toggle_files(with_files.id)

    def action_follow_end(self) -> None:
        self.transcript.follow()
