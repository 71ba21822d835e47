"""The inspector: a reply token by token, with what the model might have written in the place of each."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final

from textual import getters, on
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Container, Vertical
from textual.content import Content
from textual.widgets import Static

from ttchat_tui.domain.conversation import Message
from ttchat_tui.domain.recording import NOT_RECORDED, Recording, alternatives_of
from ttchat_tui.ui.screens.dialog import Dialog
from ttchat_tui.ui.widgets.inspector.about_token import ReplyFigures, lines_about
from ttchat_tui.ui.widgets.inspector.alternatives import AlternativeList, Choice
from ttchat_tui.ui.widgets.inspector.doubt import BY_ENTROPY, BY_PROBABILITY
from ttchat_tui.ui.widgets.inspector.token_text import TokenText

FOLLOW_S: Final = 0.1
"""How often a running reply is looked at, in seconds."""

KEYS: Final = "←→↑↓ token   enter alternatives   e edit   t tint   n N doubtful   < > limit"
LIST_KEYS: Final = "↑↓ choose   enter fork here   ← back to the text"


class InspectorScreen(Dialog[None]):
    """Over the chat, which goes on below it."""

    heading = "Inspector"
    AUTO_FOCUS = "TokenText"
    HORIZONTAL_BREAKPOINTS = [(0, "-narrow"), (100, "-wide")]
    BINDINGS = [
        Binding("t", "tint", "Tint", show=False),
        Binding("less_than_sign,minus", "limit(-1)", "Lower limit", show=False),
        Binding("greater_than_sign,plus", "limit(1)", "Higher limit", show=False),
    ]
    _text = getters.query_one(TokenText)
    _list = getters.query_one(AlternativeList)

    def __init__(
        self,
        message: Message,
        read: Callable[[int], Awaitable[Recording]],
        so_far: Callable[[int], Recording | None],
    ) -> None:
        """`read` reads a recording, away from the screen's thread: StorageError. `so_far` is that of a reply while it runs."""
        super().__init__()
        self._message = message
        self._read = read
        self._so_far = so_far
        self._recording = Recording()
        self._figures = ReplyFigures()

    def body(self) -> ComposeResult:
        with Container(id="inspected"):
            yield TokenText(BY_PROBABILITY)
            with Vertical(id="token"):
                yield Static("", id="about", markup=False)
                yield AlternativeList()
        yield Static("", id="figures", markup=False)
        yield Static(KEYS, classes="hint", markup=False)

    def on_mount(self) -> None:
        self.set_interval(FOLLOW_S, self._follow)
        self.run_worker(self._open(0), group="read", exclusive=True)

    async def _open(self, cursor: int) -> None:
        """Read the recording and show it."""
        self._recording = await self._read(self._message.id)
        self._figures = ReplyFigures()
        self._text.show(self._recording, cursor)
        self._show_figures()
        if not self._recording.tokens:
            self._about("Nothing was recorded of this reply." + " [engine] record is off." * False)

    def _follow(self) -> None:
        """Show what a running reply has more."""
        recording = self._so_far(self._message.id)
        if recording is None or len(recording.tokens) == len(self._text.tokens):
            return
        self._recording = recording
        self._text.grow(recording)
        self._show_figures()

    # --- what is shown

    @on(TokenText.Moved)
    def _show_token(self) -> None:
        if not self._recording.tokens:
            return
        index = self._text.cursor
        token = self._recording.tokens[index]
        own = self._message.reply.sampling if self._message.reply else None
        self._about("\n".join(lines_about(self._recording, index, own)))
        choices = [
            Choice(each, self._recording.piece_of(each.token_id), each.token_id == token.token_id)
            for each in alternatives_of(token)
        ]
        self._list.show(choices, is_dimmed=token.token_id == NOT_RECORDED)

    def _about(self, text: str) -> None:
        self.query_one("#about", Static).update(text)

    def _show_figures(self) -> None:
        self._figures.take(self._recording.tokens)
        self.query_one("#figures", Static).update(self._figures_and_legend())

    def _figures_and_legend(self) -> Content:
        doubt = self._text.doubt
        if not self._text.is_tinted:
            return Content(self._figures.words)
        return Content.assemble(
            f"{self._figures.words}   {doubt.measure}: ",
            Content.styled(doubt.unsure_words, "$text-warning"),
            "  ",
            Content.styled(doubt.words, "$text-error underline"),
        )

    # --- keys

    def action_tint(self) -> None:
        """By probability, by entropy, or not at all."""
        text = self._text
        if not text.is_tinted:
            text.tint(BY_PROBABILITY, is_tinted=True)
        elif text.doubt.measure == "probability":
            text.tint(BY_ENTROPY, is_tinted=True)
        else:
            text.tint(BY_PROBABILITY, is_tinted=False)
        self._show_figures()

    def action_limit(self, steps: int) -> None:
        self._text.tint(self._text.doubt.moved(steps), is_tinted=self._text.is_tinted)
        self._show_figures()

    @on(TokenText.Chosen)
    def _choose_alternative(self) -> None:
        self._list.focus()
        self.query_one(".hint", Static).update(LIST_KEYS)

    @on(AlternativeList.Left)
    def _back_to_text(self) -> None:
        self._text.focus()
        self.query_one(".hint", Static).update(KEYS)

    def action_cancel(self) -> None:
        """Esc: from the alternatives back to the text, then out."""
        if self.focused is self._list:
            self._back_to_text()
        else:
            super().action_cancel()
