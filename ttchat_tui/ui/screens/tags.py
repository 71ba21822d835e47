"""The dialog for the tags of a conversation or of several: typed, with the known ones to complete them."""

from __future__ import annotations

from collections.abc import Sequence

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding
from textual.content import Content
from textual.widgets import Input, OptionList, Static
from textual.widgets.option_list import Option

from ttchat_tui.domain.tags import LONGEST_TAG, tags_in
from ttchat_tui.ui.screens.dialog import Dialog
from ttchat_tui.ui.widgets.line_field import LineField

MAX_LENGTH = 100 * LONGEST_TAG
"""Characters, several times what anyone types."""


class TagDialog(Dialog[tuple[str, ...]]):
    """Result: the tags that were typed, none if all were removed."""

    AUTO_FOCUS = "Input"
    help_lines = (("enter", "Save the tags"),)
    BINDINGS = [
        Binding("down", "move(1)", "Choose", show=False),
        Binding("up", "move(-1)", "Choose", show=False),
        Binding("tab", "complete", "Accept the known tag", show=False, priority=True),
    ]

    def __init__(self, tags: Sequence[str], known: Sequence[str], *, count: int) -> None:
        """`tags`: those that all conversations have. `known`: every tag in use, the most frequent first. `count`: how many
        conversations it is about."""
        super().__init__()
        self.heading = "Tags" if count == 1 else f"Tags that {count:,} conversations share"
        self._tags = tags
        self._known = known
        self._offered: list[str] = []

    def body(self) -> ComposeResult:
        # With a blank at the end the next letter begins another tag.
        text = "".join(f"{tag} " for tag in self._tags)
        yield LineField(
            text,
            placeholder="Tags, with blanks or commas between",
            max_length=MAX_LENGTH,
            compact=True,
            select_on_focus=False,
        )
        yield OptionList(markup=False, compact=True)
        yield Static("enter saves   ↑↓ choose   tab accepts a known tag", classes="hint", markup=False)

    def on_mount(self) -> None:
        self._offer()

    @on(Input.Changed)
    def _offer(self) -> None:
        """Offer the known tags that go on from the word at the end, and are not typed yet."""
        *typed, begun = self._words()
        fitting = [tag for tag in self._known if begun in tag and tag not in typed and tag != begun]
        self._offered = sorted(fitting, key=lambda tag: not tag.startswith(begun))
        offered = self.query_one(OptionList)
        offered.set_options(Option(Content(tag)) for tag in self._offered)
        offered.display = bool(self._offered)
        offered.highlighted = 0 if self._offered and begun else None

    def _words(self) -> list[str]:
        """The tags typed so far; the last one is being typed, and may be empty."""
        text = self.query_one(Input).value
        tags = list(tags_in(text))
        return tags if tags and not text[-1:].isspace() else [*tags, ""]

    def action_move(self, step: int) -> None:
        """Move in the list while the focus stays in the field."""
        offered = self.query_one(OptionList)
        if step > 0:
            offered.action_cursor_down()
        else:
            offered.action_cursor_up()

    def action_complete(self) -> None:
        at = self.query_one(OptionList).highlighted
        if self._offered:
            self._take(self._offered[at or 0])

    @on(OptionList.OptionSelected)
    def _selected(self, event: OptionList.OptionSelected) -> None:
        self._take(self._offered[event.option_index])

    def _take(self, tag: str) -> None:
        field = self.query_one(Input)
        field.value = "".join(f"{each} " for each in (*self._words()[:-1], tag))
        field.cursor_position = len(field.value)
        field.focus()

    @on(Input.Submitted)
    def _submitted(self, event: Input.Submitted) -> None:
        self.dismiss(tags_in(event.value))
