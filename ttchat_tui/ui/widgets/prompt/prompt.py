"""The prompt: a multi-line editor for the draft, with history. Typing is never blocked."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from textual import events, on
from textual.message import Message
from textual.timer import Timer
from textual.widgets import TextArea

from ttchat_tui.config.schema import UiSettings
from ttchat_tui.domain.attachments import LONGEST_PATH
from ttchat_tui.domain.conversation import joined
from ttchat_tui.ui.commands import BY_NAME, binding
from ttchat_tui.ui.external_editor import EditorError, edit_on_terminal, editor_command
from ttchat_tui.ui.keys import canonical_key
from ttchat_tui.ui.slash import PlainText, parse_submission
from ttchat_tui.ui.textual_patches.privates import add_bindings
from ttchat_tui.ui.widgets.prompt.hinted_area import HintedArea
from ttchat_tui.ui.widgets.prompt.history import PromptHistory
from ttchat_tui.ui.widgets.prompt.pasted_text import as_draft
from ttchat_tui.ui.widgets.prompt.typed import Typed, typed_before

if TYPE_CHECKING:
    from ttchat_tui.ui.widgets.prompt.completion_list import CompletionList

MIN_ROWS = 2
MAX_ROWS = 8
"""The prompt grows with its text between these. Only a change of height needs a layout of the screen."""

ROWS_SHARE = 3
"""The prompt takes at most this fraction (1/3) of the screen's rows."""

DRAFT_PAUSE_S = 0.4
"""Pause in typing, in seconds, after which `DraftChanged` is posted."""

DEFAULTS = UiSettings()

PLACEHOLDER = "Write a message"
_BREAK = "\n\n"
"""Between paragraphs of a draft, as in `joined`."""


class Prompt(HintedArea):
    """The draft. The handler of `Submitted` calls `clear_draft` if it accepts the text."""

    DEFAULT_CSS = """
    Prompt {
        height: 4;
        scrollbar-size-vertical: 1;
    }
    """

    @dataclass
    class Submitted(Message):
        """The user sends this text, which is never blank."""

        prompt: Prompt
        text: str

    @dataclass
    class DraftChanged(Message):
        """The draft has changed and typing has paused: time to store it and count its tokens."""

        prompt: Prompt
        text: str

    class BeginningChanged(Message):
        """`is_at_beginning` has changed."""

    class BlankSubmitted(Message):
        """A key that sends was pressed, and there is nothing to send: it is for the selected message."""

    @dataclass
    class Completable(Message):
        """The user has edited the draft, or left what could be completed; None: nothing can be."""

        prompt: Prompt
        typed: Typed | None

    @dataclass
    class PathPasted(Message):
        """What was pasted may be a path; `typed.text` is the whole paste."""

        prompt: Prompt
        typed: Typed

    @dataclass
    class ScrollRequested(Message):
        """Page up (-1) or page down (1) was pressed, and the whole draft is visible: scroll the transcript."""

        prompt: Prompt
        pages: int

    def __init__(
        self, settings: UiSettings = DEFAULTS, *, id: str | None = None, classes: str | None = None
    ) -> None:
        super().__init__(
            settings.editing, id=id, classes=classes, placeholder=PLACEHOLDER, highlight_cursor_line=False
        )
        # An idle app does not repaint; finding a bracket's partner in a long draft delays keys.
        self.cursor_blink = False
        self.match_cursor_bracket = False
        self._submit_keys = [canonical_key(key) for key in settings.submit_keys]
        self._newline_keys = [canonical_key(key) for key in settings.newline_keys]
        self._recall = PromptHistory()
        self._reported = ""
        self._pause: Timer | None = None
        self._returned = self._refused = ""
        """The texts that came back and that end with a refused command, above what is typed next. Empty: there is none."""
        self.completions: CompletionList | None = None
        """The open list takes a few keys. The screen mounts and fills it."""
        self._is_loaded = False
        """The text was replaced as a whole, which offers no completion."""
        self._pasted: Typed | None = None
        self.first_keys: frozenset[str] = frozenset()
        """Keys that the screen takes where they would type the first character of a draft."""
        self._was_at_beginning = True
        # For the footer, while the prompt has the focus. `on_key` handles these keys first.
        for name, keys in (("send", self._submit_keys), ("newline", self._newline_keys)):
            if keys:
                add_bindings(self, [binding(BY_NAME[name], keys)])

    # --- what the screen uses

    def set_draft(self, text: str, *, returned: str = "") -> None:
        """Replace the draft and move the cursor to its end. Posts no `DraftChanged`. `returned`: the part of it that came
        back; what is typed next is a paragraph below it, and may be a command."""
        self._reported, self._returned, self._refused = as_draft(text), as_draft(returned), ""
        self._recall.leave()
        self._load(self._reported)
        self.begin_writing()

    @property
    def draft(self) -> str:
        """What is not sent: on the way through earlier prompts not the one that is shown, unless it was changed."""
        unsent = self._recall.unsent(self.text)
        return unsent[0] if len(unsent) == 1 else joined(*unsent)

    def give_back(self, text: str) -> None:
        """Put a text that was sent before what was typed since, also on the way through earlier prompts."""
        since = joined(*(each.strip() for each in self._recall.unsent(self.text)))
        self.set_draft(joined(text, since), returned=text)

    def mark_refused(self) -> None:
        """The draft ends with a refused command, which typing corrects. A newline at its end begins a paragraph, which is sent
        or run without it."""
        self._refused = self.text

    def parted(self, text: str) -> tuple[str, str]:
        """The part of `text` that came back, which may be empty, and what was typed below it and below a refused command."""
        heads = (f"{each}{_BREAK}" for each in (self._refused, self._returned) if each)
        head = next((each for each in heads if text.startswith(each)), "")
        return (self._returned if head else "", text[len(head) :])

    def _begin_below(self, above: str) -> bool:
        """Begin a new paragraph, if `above` came back and was not touched. Returns whether it was so."""
        is_at_end = self.selection.is_empty and self.cursor_location == self.document.end
        if is_untouched := is_at_end and above != "" and self.text == above:
            self.replace(_BREAK, self.document.end, self.document.end, maintain_selection_offset=False)
        return is_untouched

    def write(self, text: str) -> None:
        """Insert `text` at the cursor, or in place of the selection, as one edit."""
        self.begin_writing()
        self._begin_below(self._returned)
        start, end = self.selection
        result = self.replace(as_draft(text), start, end, maintain_selection_offset=False)
        self.move_cursor(result.end_location)

    def paste(self, text: str) -> None:
        """`write`, and report a paste of one line, which may be a path."""
        text = as_draft(text)
        _, start = min(self.selection)
        if 1 < len(text) <= LONGEST_PATH and "\n" not in text.strip():
            self._pasted = Typed("pasted path", text, start)
        self.write(self._pastes.label(text))

    def complete(self, typed: Typed, value: str) -> None:
        """Replace what is typed, which ends at the cursor."""
        row, column = self.cursor_location
        start = (row - typed.text.count("\n"), typed.start)
        result = self.replace(value, start, (row, column), maintain_selection_offset=False)
        self.move_cursor(result.end_location)

    def replace_draft(self, text: str) -> None:
        """Put `text` in the place of the draft, as one edit that can be undone."""
        self._recall.leave()
        self.select_all()
        self.write(text)

    def clear_draft(self) -> None:
        """Empty the prompt after the draft was sent."""
        self.set_draft("")
        self.set_token_hint("")
        self.set_attachments("")

    def set_history(self, prompts: Sequence[str]) -> None:
        """Set the prompts that up and down browse, oldest first. The draft stays."""
        self._recall.replace(prompts)

    def remember(self, prompt: str) -> None:
        """Add a prompt to those that up and down browse, as the last one."""
        self._recall.add(prompt)

    def remember_change(self, prompt: str, changed: str) -> None:
        """Of a prompt that waited, what is sent is another text."""
        self._recall.change(prompt, changed)

    @property
    def is_busy(self) -> bool:
        """It shows that a reply is running."""
        return self.has_class("-busy")

    def set_busy(self, is_busy: bool) -> None:
        """Show that a reply is running. Typing and sending still work; the screen decides what sending does."""
        self.set_class(is_busy, "-busy")

    @property
    def is_at_beginning(self) -> bool:
        """The next character that is typed is the first one of a draft."""
        return not self.document.text and self.is_writing

    def report_draft(self) -> None:
        """Post `DraftChanged` now, if the draft has changed since it was last reported or set."""
        if self.text != self._reported:
            self._reported = self.text
            self.post_message(self.DraftChanged(self, self._reported))

    # --- actions

    def action_send(self) -> None:
        """Post `Submitted`, or `BlankSubmitted` if the draft is blank."""
        text = self.text
        if not text.strip():
            self.post_message(self.BlankSubmitted())
            return
        kept, typed = self.parted(text)
        is_message = isinstance(parse_submission(typed), PlainText)
        self._recall.add(f"{kept}{_BREAK}{typed}" if kept and is_message else typed)
        self.post_message(self.Submitted(self, text))

    def action_newline(self) -> None:
        if self._begin_below(self._refused):
            return
        start, end = self.selection
        self.replace("\n", start, end, maintain_selection_offset=False)

    async def edit_externally(self) -> None:
        """Edit the draft in `$VISUAL` or `$EDITOR`. An error is shown, and the draft stays."""
        try:
            edited = await edit_on_terminal(self.app, self.text, editor_command(os.environ))
        except EditorError as error:
            self.notify(str(error), title="Editor", severity="error", markup=False)
            return
        self._recall.leave()
        self._load(as_draft(edited))
        self.focus()

    def action_cursor_up(self, select: bool = False) -> None:
        is_at_edge = self.navigator.is_first_wrapped_line(self.cursor_location)
        recalled = self._recall.older(self.text) if is_at_edge and not select else None
        if recalled is None:
            super().action_cursor_up(select)
        else:
            self._show_recalled(recalled, is_going_up=True)

    def action_cursor_down(self, select: bool = False) -> None:
        is_at_edge = self.navigator.is_last_wrapped_line(self.cursor_location)
        recalled = self._recall.newer(self.text) if is_at_edge and not select else None
        if recalled is None:
            super().action_cursor_down(select)
        else:
            self._show_recalled(recalled, is_going_up=False)

    def action_cursor_page_up(self) -> None:
        if self._fits:
            self.post_message(self.ScrollRequested(self, -1))
        else:
            super().action_cursor_page_up()

    def action_cursor_page_down(self) -> None:
        if self._fits:
            self.post_message(self.ScrollRequested(self, 1))
        else:
            super().action_cursor_page_down()

    # --- events

    async def on_key(self, event: events.Key) -> None:
        # With xterm's modifyOtherKeys Textual names shift+enter "shift+\r".
        key = canonical_key(event.key.replace("\r", "enter"))
        pressed = "enter" if key in self._submit_keys else key
        if event.is_printable and self.is_writing:
            self._begin_below(self._returned)
        if self.completions is not None and await self.completions.press(pressed, event.time):
            pass
        elif key in self.first_keys and self.is_at_beginning:
            event.prevent_default()
            return  # for the screen
        elif key in self._submit_keys and not self.takes_enter:
            self.action_send()
        elif key in self._newline_keys:
            self.action_newline()
        elif key == "tab" and (self.unfold(self.cursor_location, from_behind=True) or self._typed):
            pass  # what nothing completes keeps the focus: the next words must not go to a panel
        elif not self.edit_by_key(pressed, event.character):
            return
        self._report_beginning()
        event.stop()
        event.prevent_default()

    async def on_paste(self, event: events.Paste) -> None:
        """Insert a paste as one edit. Newlines in it do not send."""
        event.prevent_default()
        event.stop()
        self.paste(event.text)
        self.focus()

    @on(TextArea.Changed)
    def _draft_edited(self, event: TextArea.Changed) -> None:
        event.stop()
        self._fit_height()
        self._report_beginning()
        if not self.document.text:
            self._attachments = self._missing = ""
        self._show_hints()
        if self._pause is not None:
            self._pause.stop()
        self._pause = self.set_timer(DRAFT_PAUSE_S, self.report_draft)
        pasted, self._pasted = self._pasted, None
        if pasted is not None:
            self.post_message(self.PathPasted(self, pasted))
        else:
            self._report_typed()

    @on(TextArea.SelectionChanged)
    def _cursor_moved(self, event: TextArea.SelectionChanged) -> None:
        event.stop()
        if self.cursor_location != self.document.end:  # what came back is being edited
            kept = ("" if self.text == each else each for each in (self._returned, self._refused))
            self._returned, self._refused = kept
        if self.completions is not None and self.completions.is_open:
            self._report_typed()

    def _report_beginning(self) -> None:
        if self.is_at_beginning != self._was_at_beginning:
            self._was_at_beginning = self.is_at_beginning
            self.post_message(self.BeginningChanged())

    def on_blur(self) -> None:
        self.post_message(self.Completable(self, None))

    def _report_typed(self) -> None:
        loaded, self._is_loaded = self._is_loaded, False
        self.post_message(self.Completable(self, None if loaded else self._typed))

    @property
    def _typed(self) -> Typed | None:
        """What could be completed at the cursor."""
        if not self.is_writing or not self.selection.is_empty:
            return None
        row, column = self.cursor_location
        is_last, (_, typed) = row == self.document.line_count - 1, self.parted(self.text)
        return typed_before(self.document[row], column, is_only_line=is_last and "\n" not in typed)

    def on_resize(self) -> None:
        # The text is wrapped again in this layout; the height follows it.
        self.call_after_refresh(self._fit_height)
        self._show_hints()

    # --- inside

    def load_text(self, text: str) -> None:
        self._is_loaded, self._pasted = True, None
        super().load_text(text)

    @property
    def _fits(self) -> bool:
        return self.wrapped_document.height <= self.content_size.height

    def _load(self, text: str) -> None:
        self.load_text(text)
        self.move_cursor(self.document.end)

    def _show_recalled(self, text: str, *, is_going_up: bool) -> None:
        self.load_text(text)
        first_line_end = (0, len(self.document[0]))
        self.move_cursor(first_line_end if is_going_up else self.document.end)

    def _fit_height(self) -> None:
        most = max(MIN_ROWS, min(MAX_ROWS, self.app.size.height // ROWS_SHARE))
        rows = max(MIN_ROWS, min(most, self.wrapped_document.height))
        height = rows + self.gutter.height
        if self.styles.height is None or self.styles.height.cells != height:
            self.styles.height = height
