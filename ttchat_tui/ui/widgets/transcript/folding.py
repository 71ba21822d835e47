"""Which thoughts are open: the transcript's choice, and the reader's for each thought."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal, TypeAlias

from msgspec.structs import replace
from textual.binding import Binding

from ttchat_tui.domain.generation import ThoughtFigures
from ttchat_tui.domain.thoughts import extract_answer, split_thoughts
from ttchat_tui.ui.widgets.transcript.hits import MessageHits
from ttchat_tui.ui.widgets.transcript.place import Place

if TYPE_CHECKING:
    from ttchat_tui.ui.widgets.transcript.chunk import MessageChunk

ThoughtDisplay: TypeAlias = Literal["fold", "open", "hide"]
"""fold: a line each · open: with their text · hide: a line while they stream, then nothing."""


class Folding:
    """Shared by the messages of a transcript, whose widgets come and go."""

    def __init__(self, display: ThoughtDisplay = "fold") -> None:
        self.display: ThoughtDisplay = display
        self._chosen: dict[tuple[int, int], bool] = {}

    def is_open(self, key: int, index: int) -> bool:
        """Whether thought number `index` of the message `key` is open."""
        return self._chosen.get((key, index), self.display == "open")

    def is_hidden(self, key: int, index: int) -> bool:
        """Whether a complete thought has no line either."""
        return self.display == "hide" and (key, index) not in self._chosen

    def choose(self, key: int, index: int, is_open: bool) -> None:
        self._chosen[key, index] = is_open


class MessageThoughts(MessageHits):
    """A base of `Transcript`, which has the attributes used here: opening and folding thoughts."""

    BINDINGS = [Binding("enter", "toggle_selected_thoughts", show=False)]

    folding: Folding

    def set_thoughts(self, key: int, figures: Sequence[ThoughtFigures]) -> None:
        """Set the figures of a streaming reply's thoughts; the next flush draws them."""
        widget = self._widgets.get(key)
        if widget is not None:
            widget.view = replace(widget.view, thoughts=tuple(figures))

    def shown_source(self, key: int) -> str:
        """The message's source, of a reply without its thoughts while all of them are folded. Raises KeyError: no such
        message."""
        source = self.source_of(key)
        place = self._views.place_of(key)
        if place is None or self._views[place].role != "assistant":
            return source
        thoughts = sum(part.is_thought for part in split_thoughts(source))
        if any(self.folding.is_open(key, number) for number in range(thoughts)):
            return source
        return extract_answer(source) or source

    def source_of(self, key: int) -> str:
        raise NotImplementedError

    def action_toggle_selected_thoughts(self) -> None:
        """Open or fold the thoughts of the selected message; of a long text of the user's, show more."""
        if self.selected is None or self.toggle_thoughts(self.selected):
            return
        widget = self._widgets.get(self.selected)
        if widget is not None and widget.show_more():
            self.stop_following()

    def toggle_thoughts(self, key: int) -> bool:
        """Open all thoughts of a message, or fold them if one is open. Returns False if it has none."""
        place = self._views.place_of(key)
        view = self._views[place] if place is not None else None
        is_reply = view is not None and view.role == "assistant"
        count = (
            sum(part.is_thought for part in split_thoughts(view.text)) if view is not None and is_reply else 0
        )
        is_open = any(self.folding.is_open(key, number) for number in range(count))
        for number in range(count):
            self.folding.choose(key, number, not is_open)
        if count:
            self._refold(key, 0)
        return bool(count)

    def on_message_chunk_thought_clicked(self, event: MessageChunk.ThoughtClicked) -> None:
        event.stop()
        key = next((key for key, widget in self._widgets.items() if widget is event.chunk.parent), None)
        if key is None:  # its message has left the screen since the click
            return
        self.folding.choose(key, event.number, not self.folding.is_open(key, event.number))
        self._refold(key, event.number)

    def _refold(self, key: int, number: int) -> None:
        """Draw a message again. Its line `number` of thoughts stays where it is, or comes to the top of the view."""
        widget = self._widgets.get(key)
        if widget is None:
            return
        place = Place(widget, widget.chunk_of(number) or 0, 0)
        y = widget.virtual_region.y + widget.y_of(place.chunk, 0)
        is_above = y < self.scroll_y
        is_streaming = widget.view.status == "streaming"
        if not is_streaming or not self.is_following:
            self.stop_following()
        widget.refold()
        if is_above and not self.is_following:
            self.hold(place)
        self.refresh(layout=True)

    is_following: bool

    def stop_following(self) -> None:
        """Keep the line at the top of the view in place."""
        raise NotImplementedError
