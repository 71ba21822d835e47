"""The messages that wait for their turn, in a list above the prompt: edit, drop, move, and release them."""

from __future__ import annotations

from collections.abc import Sequence, Set
from dataclasses import dataclass
from typing import ClassVar, Literal

from textual.binding import Binding, BindingType
from textual.content import Content
from textual.message import Message
from textual.widgets import OptionList
from textual.widgets.option_list import Option

from ttchat_tui.domain.attachments import without_mentioned_blocks
from ttchat_tui.domain.conversation import QueuedMessage
from ttchat_tui.domain.text import one_line, visible
from ttchat_tui.ui.widgets.cells import cut_to_cells

MOST_READ = 500
"""Characters of a message that are looked at for its one line."""


class QueuePanel(OptionList):
    """The title says what the messages wait for. Below it each has a line, the next one first."""

    help_title = "In the waiting messages"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "release", "send", key_display="enter"),
        Binding("e", "change('edit')", "edit"),
        Binding("d,delete", "change('drop')", "drop", key_display="d"),
        Binding("K,shift+k,shift+up", "move(-1)", "earlier", key_display="K"),
        Binding("J,shift+j,shift+down", "move(1)", "later", key_display="J"),
        Binding("j", "cursor_down", show=False),
        Binding("k", "cursor_up", show=False),
    ]

    class Released(Message):
        """The held messages are to be sent."""

    @dataclass
    class ChangeRequested(Message):
        """The message is to be edited or dropped."""

        message_id: int
        content: str
        change: Literal["edit", "drop"]

    @dataclass
    class MoveRequested(Message):
        """The message is to go one place towards the front (-1) or the end (1)."""

        message_id: int
        step: int

    def __init__(self) -> None:
        super().__init__(markup=False, compact=True)
        self.display = False
        self._messages: Sequence[QueuedMessage] = ()
        self._typed: Sequence[str] = ()
        """The beginnings of their drafts: what was typed, without the text of files."""
        self._conversation_id: int | None = None
        self._marked: Set[int] = frozenset()
        """The held messages, if there are others too."""
        self._clicked: QueuedMessage | None = None
        """The message that was clicked last."""

    def show(
        self, messages: Sequence[QueuedMessage], conversation_id: int | None, state: str, held: Set[int]
    ) -> None:
        """Show `messages`; without any, hide. Of those that are not in the conversation `conversation_id`, the title of
        theirs is shown, and what is held there has a line only with the focus. `state`: what they wait for. `held`: the ids
        of those that are."""
        chosen = self._chosen
        listed = [each for each in messages if each.id not in held or each.conversation_id == conversation_id]
        self._messages, self._conversation_id = messages if self.has_focus else listed, conversation_id
        self._typed = [without_mentioned_blocks(each.content)[:MOST_READ] for each in self._messages]
        self._marked = held if len(held) < len(messages) else frozenset()
        self.display = bool(messages)
        self.border_title = Content(state)
        self.set_class(bool(held), "-held")
        self._draw(chosen)
        if not self.scrollable_content_region.width:  # it has been mounted just now
            self.call_after_refresh(self.on_resize)
        self.refresh_bindings()

    def on_resize(self) -> None:
        self._draw(self._chosen)

    def _draw(self, chosen: QueuedMessage | None) -> None:
        """Draw the lines. The cursor stays on `chosen`; if that has gone, on the nearest one of its conversation, if any."""
        before = self.highlighted or 0
        self.set_options(Option(self._line(number, each)) for number, each in enumerate(self._messages, 1))
        if self._messages:
            self.highlighted = min(
                range(len(self._messages)),
                key=lambda place: (
                    chosen is None or self._messages[place].id != chosen.id,
                    chosen is None or self._messages[place].conversation_id != chosen.conversation_id,
                    place < before,  # what followed it comes first
                    abs(place - before),
                ),
            )

    def _line(self, number: int, message: QueuedMessage) -> Content:
        room = max(1, self.scrollable_content_region.width - 2)
        about = ["held"] if message.id in self._marked else []
        if message.candidates > 1:
            about.append(f"×{message.candidates}")
        if message.conversation_id != self._conversation_id:
            about.append(f"in “{cut_to_cells(visible(message.title) or 'Untitled', room // 3)}”")
        right = f"  {'  '.join(about)}" if about else ""
        words = one_line(self._typed[number - 1])
        left = cut_to_cells(f"{number}  {words}", room - len(right))
        return Content.assemble(left, (right, "$text-muted"))

    @property
    def _chosen(self) -> QueuedMessage | None:
        at = self.highlighted
        return self._messages[at] if at is not None and at < len(self._messages) else None

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Only held messages can be released."""
        return self.has_class("-held") if action == "release" else super().check_action(action, parameters)

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        """A click; enter releases. The second one on a message edits it."""
        event.stop()
        if self._clicked == (chosen := self._chosen):
            self.action_change("edit")
        self._clicked = chosen

    def on_blur(self) -> None:
        self._clicked = None

    def action_release(self) -> None:
        self.post_message(self.Released())

    def action_change(self, change: Literal["edit", "drop"]) -> None:
        if (message := self._chosen) is not None:
            self.post_message(self.ChangeRequested(message.id, message.content, change))

    def action_move(self, step: int) -> None:
        if (message := self._chosen) is not None:
            self.post_message(self.MoveRequested(message.id, step))
