"""Search over all conversations, as you type."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding
from textual.content import Content
from textual.message import Message
from textual.widgets import Input, OptionList, Static
from textual.widgets.option_list import Option

from ttchat_tui.domain.search import MOST_RANKED, Search, SearchHit, SearchResults
from ttchat_tui.domain.text import visible
from ttchat_tui.ui.screens.dialog import Dialog
from ttchat_tui.ui.screens.help import SEARCH
from ttchat_tui.ui.widgets.cells import cut_to_cells
from ttchat_tui.ui.widgets.line_field import LineField
from ttchat_tui.ui.widgets.transcript.message_format import clock_time

_WHO_CELLS: Final = 8
HIT: Final = "bold $text-accent"
"""The style of hits."""

OPERATORS: Final = (
    'role:user  model:llama  before:2026-11  after:yesterday  tag:work  in:title  in:archive  "exact words"'
)


class SearchDialog(Dialog[SearchHit]):
    """Result: the chosen hit."""

    heading = "Search everything said"
    AUTO_FOCUS = "Input"
    help_lines = (("enter", "Open the conversation at the hit"), *SEARCH)
    BINDINGS = [
        Binding("down", "move(1)", "Choose", show=False),
        Binding("up", "move(-1)", "Choose", show=False),
        Binding("pagedown", "page(1)", "A page of hits", show=False),
        Binding("pageup", "page(-1)", "A page of hits", show=False),
    ]

    @dataclass
    class Answered(Message):
        """The search has an answer; posted from its thread."""

        results: SearchResults

    def __init__(self, search: Search, typed: str = "") -> None:
        super().__init__()
        self._search = search
        self.typed = typed
        """The query."""
        self._results = SearchResults(asked="")
        self._shown: Sequence[SearchHit] = ()
        """The hits in the list."""
        self._is_entered = False
        """Enter was pressed before the answer came: it opens the first hit."""

    def body(self) -> ComposeResult:
        yield LineField(self.typed, placeholder="Words, or a part of one", compact=True)
        yield OptionList(markup=False, compact=True)
        yield Static("", classes="hint", markup=False)

    @property
    def needles(self) -> tuple[str, ...]:
        """What the chosen hit was found by."""
        return self._results.needles

    def on_mount(self) -> None:
        self._ask(self.typed)

    def on_unmount(self) -> None:
        self._search.forget(self._answer)

    @on(Input.Changed)
    def _changed(self, event: Input.Changed) -> None:
        if event.value != self.typed:
            self._ask(event.value)

    def _ask(self, typed: str) -> None:
        self.typed, self._is_entered = typed, False
        self._search.ask(typed, self._answer)

    def _answer(self, results: SearchResults) -> None:
        """Called on the search's thread."""
        with suppress(RuntimeError):  # the app has ended
            self.post_message(self.Answered(results))

    def on_search_dialog_answered(self, event: Answered) -> None:
        if event.results.asked == self.typed:
            is_again = event.results.asked == self._results.asked
            self._results = event.results
            self._show(keep_place=is_again)
            if self._is_entered:
                self._submitted()

    def on_resize(self) -> None:
        self._show(keep_place=True)

    def _show(self, *, keep_place: bool) -> None:
        found, hits = self.query_one(OptionList), self._results.hits
        at = found.highlighted if keep_place else None
        kept = _place_of(self._shown[at]) if at is not None else None
        self._shown = hits
        found.set_options(Option(self._line(hit)) for hit in hits)
        if hits:
            found.highlighted = next((at for at, hit in enumerate(hits) if _place_of(hit) == kept), 0)
        self.query_one(".hint", Static).update(self._hint())

    def _line(self, hit: SearchHit) -> Content:
        """Two lines: where and when; the words."""
        room = max(1, self.query_one(OptionList).scrollable_content_region.width - 2)
        when = clock_time(hit.created_at)
        who = (
            "title"
            if hit.message_id is None
            else "you"
            if hit.role == "user"
            else visible(hit.model) or hit.role
        )
        who = cut_to_cells(who, max(_WHO_CELLS, room // 4))
        archived = "archived · " if hit.is_archived else ""
        about = cut_to_cells(f"{archived}{who} · {when}", room)
        title = visible(hit.title) or "Untitled"
        left = max(1, room - len(about) - 2)
        shown = Content(title)
        if hit.message_id is None:
            for start, end in hit.spans:
                shown = shown.stylize(HIT, start, end)
        shown = shown.truncate(left, ellipsis=True, pad=True)
        first = Content.assemble(shown, "  ", (about, "$text-muted"))
        if hit.message_id is None:
            return first
        snippet = Content(hit.snippet)
        for start, end in hit.spans:
            snippet = snippet.stylize(HIT, start, end)
        return Content("\n").join([first, Content.assemble("  ", snippet.truncate(room - 2, ellipsis=True))])

    def _hint(self) -> Content:
        results = self._results
        if not results.asked.strip():
            return Content(OPERATORS)
        many = f"{results.count:,}{'+' if results.is_cut else ''} found" if results.count else "Nothing found"
        parts = [results.problem, many if results.hits or not results.problem else ""]
        if results.is_cut:
            parts.append(f"the newest {MOST_RANKED:,} are ranked")
        if results.indexed < 1:
            parts.append(f"indexing, {results.indexed:.0%} of the messages so far")
        keys = "   ↑↓ choose   enter open" if results.hits else ""
        return Content(" · ".join(filter(None, parts)) + keys)

    def action_move(self, step: int) -> None:
        """Move in the list while the focus stays in the field."""
        found = self.query_one(OptionList)
        if step > 0:
            found.action_cursor_down()
        else:
            found.action_cursor_up()

    def action_page(self, step: int) -> None:
        found = self.query_one(OptionList)
        if step > 0:
            found.action_page_down()
        else:
            found.action_page_up()

    @on(Input.Submitted)
    def _submitted(self) -> None:
        at = self.query_one(OptionList).highlighted
        self._is_entered = self._results.asked != self.typed
        if at is not None and not self._is_entered:
            self.dismiss(self._results.hits[at])

    @on(OptionList.OptionSelected)
    def _selected(self, event: OptionList.OptionSelected) -> None:
        self.dismiss(self._results.hits[event.option_index])


def _place_of(hit: SearchHit) -> tuple[int, int | None]:
    """What the hit is in: it stays the same when more is found."""
    return hit.conversation_id, hit.message_id
