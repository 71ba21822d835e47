"""A list above the prompt of what the user has sent before, which filters as you type."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.message import Message
from textual.widgets import Input, OptionList
from textual.widgets.option_list import Option

from ttchat_tui.domain.search import SearchHit, SearchResults
from ttchat_tui.domain.text import one_line
from ttchat_tui.session import PastPrompts
from ttchat_tui.ui.widgets.line_field import LineField

HIT = "bold $text-accent"
"""The style of hits."""

MOST_READ = 500
"""Characters of a prompt that are looked at for its one line."""


MOST_SHOWN = 100
"""Hits; more words find the rest."""


class PromptSearch(Vertical):
    """The field has the focus. Without words, the list has the last prompts; the newest is at the bottom, by the field."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up,ctrl+p", "move(-1)", "Previous", show=False),
        Binding("down,ctrl+n", "move(1)", "Next", show=False),
        Binding("escape", "close", "close", key_display="esc"),
    ]

    @dataclass
    class Answered(Message):
        """The search has an answer; posted from its thread."""

        results: SearchResults

    @dataclass
    class Chosen(Message):
        """A prompt is to be used again: its whole text, or the id of the message that has it."""

        prompt: str | int

    @dataclass
    class Closed(Message):
        """Escape, or the focus has gone elsewhere."""

        is_left: bool = False
        """The focus is elsewhere, and stays there."""

    def __init__(self, prompts: PastPrompts) -> None:
        super().__init__()
        self._prompts = prompts
        self._recent: list[str] = []
        self._choices: list[tuple[str | int, Content]] = []
        self._list = OptionList(markup=False, compact=True)
        self._list.can_focus = False
        self._field = LineField(placeholder="Words of an earlier prompt", compact=True)

    def compose(self) -> ComposeResult:
        yield self._list
        yield self._field

    def open(self, words: str, recent: list[str]) -> None:
        """Show it with `words` to find. `recent`: the last prompts, oldest first."""
        self.display, self._recent = True, recent
        with self.prevent(Input.Changed):
            self._field.value = words
        self._field.focus()
        self._find(words)

    def close(self) -> None:
        self._prompts.forget(self._answer)
        self.display = False

    @on(Input.Changed)
    def _changed(self, event: Input.Changed) -> None:
        event.stop()
        self._find(event.value)

    def _find(self, words: str) -> None:
        if not words.strip() or not self._prompts.find(words, self._answer):
            wanted = words.casefold().split()
            found = [each for each in self._recent if all(word in each.casefold() for word in wanted)]
            self._show((each, Content(_line(each))) for each in found)

    def _answer(self, results: SearchResults) -> None:
        """Called on the search's thread."""
        with suppress(RuntimeError):  # the app has ended
            self.post_message(self.Answered(results))

    def on_prompt_search_answered(self, event: Answered) -> None:
        if self.display and event.results.asked.endswith(self._field.value) and self._field.value.strip():
            worst_first = {hit.snippet: hit for hit in reversed(event.results.hits[:MOST_SHOWN])}
            self._show((hit.message_id, _snippet(hit)) for hit in worst_first.values() if hit.message_id)

    def _show(self, lines: Iterable[tuple[str | int | None, Content]]) -> None:
        self._choices = [(choice, line) for choice, line in lines if choice is not None]
        self._draw(len(self._choices) - 1)
        many = f"{len(self._choices):,} prompt{'s' * (len(self._choices) != 1)}"
        keys = "↑↓ choose · enter accepts"
        self.border_title = Content(f"{many} · {keys}" if self._choices else "No prompt has these words")

    def on_resize(self) -> None:
        self._draw(self._list.highlighted or 0)

    def _draw(self, highlighted: int) -> None:
        room = max(1, self.scrollable_content_region.width - 4)
        self._list.set_options(Option(line.truncate(room, ellipsis=True)) for _, line in self._choices)
        self._list.highlighted = highlighted if self._choices else None

    def action_move(self, step: int) -> None:
        if step < 0:
            self._list.action_cursor_up()
        else:
            self._list.action_cursor_down()

    def on_descendant_blur(self) -> None:
        # Not when the terminal loses the focus. A dialog leaves it in place.
        if self.display and self.app.app_focus:
            self.post_message(self.Closed(is_left=True))

    def action_close(self) -> None:
        self.post_message(self.Closed())

    @on(Input.Submitted)
    def _submitted(self, event: Input.Submitted) -> None:
        event.stop()
        self._choose(self._list.highlighted)

    @on(OptionList.OptionSelected)
    def _clicked(self, event: OptionList.OptionSelected) -> None:
        event.stop()
        self._choose(event.option_index)

    def _choose(self, at: int | None) -> None:
        if at is not None:
            self.post_message(self.Chosen(self._choices[at][0]))


def _line(text: str) -> str:
    return one_line(text[:MOST_READ])


def _snippet(hit: SearchHit) -> Content:
    shown = Content(hit.snippet)
    for start, end in hit.spans:
        shown = shown.stylize(HIT, start, end)
    return shown
