"""The text of a reply by tokens, with a cursor. Only the rows in view are drawn, so that 20,000 tokens stay fluid."""

from __future__ import annotations

from typing import ClassVar

from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.binding import Binding, BindingType
from textual.geometry import Region, Size
from textual.message import Message
from textual.reactive import var
from textual.strip import Strip

from ttchat_tui.domain.recording import Recording
from ttchat_tui.ui.widgets.inspector.doubt import Doubt, Tint
from ttchat_tui.ui.widgets.inspector.layout import TokenLayout
from ttchat_tui.ui.widgets.whole_rows import WholeRows


class TokenText(WholeRows, can_focus=True):
    """Shows the tokens of a recording, which may grow."""

    ALLOW_SELECT = False
    help_title = "In the text"
    help_lines = (
        ("␣ ⏎ ⇥", "A space, a newline, a tab, where one may be overlooked"),
        (
            "⟨⟨🦊",
            "A character of several tokens: shown with its last one; ⟨ is a token with some of its bytes",
        ),
        ("⟨E2 80⟩", "Bytes that are no character, in hexadecimal"),
        ("·", "A token whose text was not recorded"),
    )
    COMPONENT_CLASSES: ClassVar[set[str]] = {
        "tokens--plain",
        "tokens--unsure",
        "tokens--doubtful",
        "tokens--unknown",
        "tokens--cursor",
    }
    DEFAULT_CSS = "TokenText { overflow-x: hidden; overflow-y: scroll; }"

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("left", "move(-1)", "Move by token or row", show=False),
        Binding("right", "move(1)", "Move by token or row", show=False),
        Binding("up", "move_row(-1)", "Move by token or row", show=False),
        Binding("down", "move_row(1)", "Move by token or row", show=False),
        Binding("pageup", "page(-1)", "A page up or down", show=False),
        Binding("pagedown", "page(1)", "A page up or down", show=False),
        Binding("home", "go_to(0)", "First or last token", show=False),
        Binding("end", "go_to(1_000_000_000)", "First or last token", show=False),
        Binding("enter", "choose", "To the alternatives of this token", show=False),
        Binding("n", "doubtful(1)", "Next or previous doubtful token: below the limit", show=False),
        Binding("N,p", "doubtful(-1)", "Next or previous doubtful token: below the limit", show=False),
    ]

    class Chosen(Message):
        """Enter on the token under the cursor."""

    cursor: var[int] = var(0, init=False, always_update=True)
    """The token under the cursor. Watched by the screen: what it says about the token is drawn with the same frame."""

    def __init__(self, doubt: Doubt) -> None:
        super().__init__()
        self._recording = Recording()
        self._layout = TokenLayout(1)
        self._column = 0
        """Where the cursor moves to in other rows."""
        self._styles: dict[str, Style] = {}
        """Of the component classes, as long as the theme stays."""
        self._is_following = False
        self.doubt = doubt
        self.is_tinted = False

    @property
    def shown(self) -> int:
        """Number of tokens that are shown."""
        return self._layout.tokens

    def show(self, recording: Recording, cursor: int | None) -> None:
        """Show another recording. `cursor`: a token; None: the last one, also when more follow."""
        self._recording = recording
        self._layout = TokenLayout(self._text_width)
        self._lay_out()
        self.refresh()
        self._is_following = cursor is None
        self.call_after_refresh(self._move_to, self._layout.tokens - 1 if cursor is None else cursor)

    def grow(self, recording: Recording, *, is_held: bool = False) -> None:
        """The same recording has more tokens. `is_held`: the cursor stays where it is for now, also if it follows the end."""
        self._recording = recording
        before = self._layout.rows
        self._lay_out()
        self.refresh_lines(before - 1, self._layout.rows - before + 1)
        if self._is_following and not is_held:
            self._move_to(self._layout.tokens - 1)
        elif before == 1:
            self._move_to(self.cursor)

    @property
    def _text_width(self) -> int:
        return self.scrollable_content_region.width - 1  # a space may hang over

    def _lay_out(self) -> None:
        """Add the tokens that are not laid out yet."""
        tokens, pieces = self._recording.tokens, self._recording.pieces
        self._layout.extend(
            pieces.get(tokens[index].token_id, b"") for index in range(self._layout.tokens, len(tokens))
        )
        self.virtual_size = Size(0, self._layout.rows)

    def on_resize(self) -> None:
        if self._layout.width != TokenLayout(self._text_width).width:
            self._layout = TokenLayout(self._text_width)
            self._lay_out()
            self.refresh()
            self.call_after_refresh(self._bring_into_view)

    # --- drawing

    def render_line(self, y: int) -> Strip:
        row, width = round(self.scroll_y) + y, self.scrollable_content_region.width
        plain = self._style("plain")
        if row >= self._layout.rows:
            return Strip.blank(width, plain)
        segments: list[Segment] = []
        run, style = "", plain
        for token, _, text in self._layout.row(row):
            own = self._style("cursor" if token == self.cursor else self._tint_of(token))
            if own is not style or not text.isascii():  # others may take fewer cells together than apart
                segments.append(Segment(run, style))
                run, style = "", own
            run += text
        segments.append(Segment(run, style))
        return Strip(segments).adjust_cell_length(width, plain)

    def _style(self, name: str) -> Style:
        if name not in self._styles:
            self._styles[name] = self.get_visual_style(f"tokens--{name}").rich_style
        return self._styles[name]

    def notify_style_update(self) -> None:
        self._styles = {}
        super().notify_style_update()

    def _tint_of(self, token: int) -> Tint:
        return self.doubt.tint_of(self._recording.tokens[token]) if self.is_tinted else "plain"

    def tint(self, doubt: Doubt, *, is_tinted: bool) -> None:
        """Tint by another measure, or not at all."""
        self.doubt, self.is_tinted = doubt, is_tinted
        self.refresh()

    # --- the cursor

    def _move_to(self, token: int, *, keeps_column: bool = False) -> None:
        if not self._layout.tokens:
            return
        token = min(max(token, 0), self._layout.tokens - 1)
        for moved in (self.cursor, token):
            if moved < self._layout.tokens:
                rows = self._layout.rows_of(moved)
                self.refresh_lines(rows.start, len(rows))
        if not keeps_column:
            self._column = self._layout.place_of(token)[1]
        self.cursor = token
        self._bring_into_view()

    def _bring_into_view(self) -> None:
        if self._layout.tokens:
            rows = self._layout.rows_of(self.cursor)
            self.scroll_to_region(
                Region(0, rows.start, 1, len(rows)), animate=False, force=True, immediate=True
            )

    def _go_to(self, token: int, *, keeps_column: bool = False) -> None:
        """The user moves the cursor: on the last token it follows a reply that runs."""
        self._is_following = token >= self._layout.tokens - 1
        self._move_to(token, keeps_column=keeps_column)

    def action_move(self, step: int) -> None:
        self._go_to(self.cursor + step)

    def action_go_to(self, token: int) -> None:
        self._go_to(token)

    def action_move_row(self, step: int) -> None:
        if not self._layout.tokens:
            return
        row = self._layout.place_of(self.cursor)[0]
        if step > 0:
            row = self._layout.rows_of(self.cursor)[-1]
        row = min(max(row + step, 0), self._layout.rows - 1)
        token = self._layout.token_at(row, self._column)
        if token is None:  # the empty row after a last newline
            token = self._layout.tokens - 1
        self._go_to(token, keeps_column=True)

    def action_page(self, step: int) -> None:
        self.action_move_row(step * max(1, self.size.height - 1))

    def action_choose(self) -> None:
        self.post_message(self.Chosen())

    def action_doubtful(self, step: int) -> None:
        """Go to the next (1) or previous (-1) doubtful token."""
        tokens = self._recording.tokens
        places = range(self.cursor + 1, len(tokens)) if step > 0 else range(self.cursor - 1, -1, -1)
        for place in places:
            if self.doubt.tint_of(tokens[place]) == "doubtful":
                self._go_to(place)
                return
        self.app.bell()

    def on_click(self, event: events.Click) -> None:
        token = self._layout.token_at(round(self.scroll_y) + event.y, event.x)
        if token is not None:
            self._go_to(token)
            if event.chain == 2:
                self.action_choose()
