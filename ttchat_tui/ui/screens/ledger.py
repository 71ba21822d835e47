"""The context ledger: a row for each message with its tokens, what is sent, and what is not."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from msgspec import structs
from textual import events, getters, on
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Horizontal
from textual.content import Content
from textual.widgets import Button, Static, TextArea

from ttchat_tui.domain.conversation import ContextMark
from ttchat_tui.domain.ledger import Ledger
from ttchat_tui.domain.text import counted
from ttchat_tui.domain.updates import Update
from ttchat_tui.session import Context, Summary
from ttchat_tui.storage.errors import StorageError
from ttchat_tui.ui.screens.dialog import Dialog
from ttchat_tui.ui.screens.message_keys import MessageChoice, chat_bindings
from ttchat_tui.ui.textual_patches.privates import add_bindings
from ttchat_tui.ui.widgets.ledger_rows import LedgerRows
from ttchat_tui.ui.widgets.metrics.figures import bar_text, count_text, share
from ttchat_tui.ui.widgets.transcript.message_format import will_not_be_sent
from ttchat_tui.ui.widgets.visible_area import VisibleArea

KEYS: Final = "↑↓ choose   enter go there   k keep   x leave out   s summarise"
UNASKED: Final = "↑↓ look at it   any letter goes to the prompt   esc closes"
_METER_CELLS: Final = 20


IN_THE_LEDGER: Final = {
    "context": "cancel",
    "keep_message": "mark('kept')",
    "leave_out": "mark('left out')",
    "select_previous": "move(-1)",
    "select_next": "move(1)",
}
"""What the keys of these actions of the chat do here; those of others are obeyed by the chat."""


class LedgerDialog(Dialog[MessageChoice | str]):
    """Result: the message to go to or to act on, or what was typed for the prompt.

    A ledger that has opened by itself takes no letters: what is being typed goes to the prompt.
    """

    heading = "Context"
    _rows = getters.query_one(LedgerRows)
    AUTO_FOCUS = "LedgerRows"
    help_lines = (
        ("↑ ↓", "Choose a message"),
        ("enter", "Go to it in the chat; on a summary, read and edit it"),
    )
    BINDINGS = [
        Binding(
            "k",
            "mark('kept')",
            "Keep the message: it is sent when older ones fall out; again: no longer",
            show=False,
        ),
        Binding("x", "mark('left out')", "Leave it out: it is not sent; again: it is", show=False),
        Binding(
            "s",
            "summarise",
            "Let the model write a summary that is sent in place of what falls out, or of all up to here",
            show=False,
        ),
        Binding("delete", "take_back", "Take the summary back", show=False),
    ]

    def __init__(
        self,
        context: Context,
        decide: Callable[[list[Update]], None],
        keys: Mapping[str, str],
        *,
        is_asked: bool = True,
    ) -> None:
        """`decide` draws what a decision here has changed. `keys`: config's."""
        super().__init__()
        add_bindings(self, chat_bindings(keys, IN_THE_LEDGER))
        self._chat_context = context
        self._decide = decide
        self._is_asked = is_asked

    def body(self) -> ComposeResult:
        yield Static("", id="sums", markup=False)
        yield LedgerRows()
        yield Static("", classes="hint", markup=False)

    def on_mount(self) -> None:
        self.show_rows()

    def show_rows(self) -> None:
        """Show the newest counts. The cursor stays."""
        for rows in self.query(LedgerRows):  # there are none before it is composed
            ledger = self._chat_context.ledger()
            rows.show(ledger)
            self.query_one("#sums", Static).update(_sums(ledger))
            self._show_hint()

    def _show_hint(self) -> None:
        row = self._rows.chosen
        hint = KEYS if self._is_asked else UNASKED
        if self._chat_context.is_summarising:
            hint = "the model writes the summary …"
        elif self._is_asked and self._chat_context.proposal is not None:
            hint = "s shows the summary that is written   " + hint.removesuffix("   s summarise")
        elif self._is_asked and row is not None and row.kind == "summary":
            hint = "enter read and edit the summary   delete take it back"
        elif self._is_asked:
            hint = f"{hint} {'what falls out' if self._chat_context.has_fallen else 'to here'}"
        self.query_one(".hint", Static).update(hint)

    # --- keys

    def on_key(self, event: events.Key) -> None:
        """While nobody has looked at it, letters go to the prompt, also those that are keys here."""
        if not self._is_asked and event.is_printable and event.character is not None:
            event.stop().prevent_default()
            self.dismiss(event.character)
        elif event.key in ("up", "down", "pageup", "pagedown", "home", "end", "tab"):
            self._accept()

    def on_mouse_down(self) -> None:
        self._accept()

    def _accept(self) -> None:
        """The user looks at the ledger: from now on its letters work."""
        if not self._is_asked:
            self._is_asked = True
            self._show_hint()

    def action_move(self, step: int) -> None:
        self._rows.action_move(step)

    def action_leave(self, action: str) -> None:
        """Let the chat do what this key is for."""
        row = self._rows.chosen
        self.dismiss(MessageChoice(row.message_id if row is not None else 0, action))

    def action_mark(self, mark: ContextMark) -> None:
        row = self._rows.chosen
        if row is None or row.kind != "message":
            self.app.bell()
            return
        self._attempt(lambda: self._chat_context.mark([row.message_id], mark))

    def action_summarise(self) -> None:
        if self._chat_context.proposal is not None:
            self.show_proposal()
            return
        row = self._rows.chosen
        self._attempt(lambda: self._chat_context.summarise(row.message_id if row is not None else 0))

    def action_take_back(self) -> None:
        row = self._rows.chosen
        if row is not None and row.kind == "summary":
            self._attempt(lambda: self._chat_context.set_summary(row.message_id, ""))
        else:
            self.app.bell()

    def show_proposal(self) -> None:
        """Show the summary that the model has written, to be edited and accepted."""
        proposal = self._chat_context.proposal
        if proposal is not None and self.app.screen is self:
            self._edit_summary(proposal, is_new=True)

    def _edit_summary(self, summary: Summary, *, is_new: bool) -> None:
        def end(text: str | None) -> None:
            if text is None or (text == summary.text and not is_new):
                return
            if is_new and not text:
                self._chat_context.discard_proposal()
                self.show_rows()
            elif not self._attempt(lambda: self._chat_context.set_summary(summary.message_id, text)) and text:
                self._edit_summary(
                    structs.replace(summary, text=text), is_new=is_new
                )  # it cannot be stored now

        self.app.push_screen(SummaryDialog(summary, is_new=is_new), end)

    def _attempt(self, action: Callable[[], list[Update]]) -> bool:
        """Returns whether it succeeded; otherwise a toast says why not."""
        try:
            self._decide(action())
        except StorageError as error:
            self.notify(error.info.lines, severity="error", markup=False)
            return False
        return True

    @on(LedgerRows.Moved)
    def _highlighted(self) -> None:
        self._show_hint()

    @on(LedgerRows.Chosen)
    def _selected(self) -> None:
        row = self._rows.chosen
        summary = self._chat_context.summary
        if row is not None and row.kind == "summary" and summary is not None:
            self._edit_summary(summary, is_new=False)
        else:
            self.dismiss(MessageChoice(row.message_id) if row is not None and row.message_id else None)


class SummaryDialog(Dialog[str]):
    """Result: the summary to send; empty: none."""

    AUTO_FOCUS = "TextArea"
    BINDINGS = [Binding("ctrl+s", "send", "Send it", show=False)]

    def __init__(self, summary: Summary, *, is_new: bool) -> None:
        """`is_new`: it was just written, and is not sent yet."""
        super().__init__()
        self.heading = "Summary by the model" if is_new else "Summary"
        self._summary = summary
        self._is_new = is_new

    def body(self) -> ComposeResult:
        summary = self._summary
        size = f" ({summary.tokens:,} tok)" if summary.tokens is not None else ""
        yield Static(
            f"Sent with the system prompt, in the place of {counted(summary.messages, 'message')}{size}. They stay in the "
            "conversation, and kept ones are sent as they are."
            f"{' It was cut off at the limit of tokens.' * summary.is_cut}",
            classes="about",
            markup=False,
        )
        yield VisibleArea(
            summary.text, soft_wrap=True, compact=True, tab_behavior="focus", show_line_numbers=False
        )
        yield Static("ctrl+s sends it from now on   esc decides later", classes="hint", markup=False)
        with Horizontal(classes="buttons"):
            yield Button("Discard" if self._is_new else "Take it back", id="none", compact=True)
            yield Button("Send it", id="send", variant="primary", compact=True)

    @on(Button.Pressed, "#send")
    def action_send(self) -> None:
        text = self.query_one(TextArea).text.strip()
        if text:
            self.dismiss(text)
        else:
            self.app.bell()

    @on(Button.Pressed, "#none")
    def _none(self) -> None:
        self.dismiss("")


def _sums(ledger: Ledger) -> Content:
    if ledger.prompt_tokens is None:
        return Content("Not counted: no model is loaded, or a reply runs.")
    about = "~" if ledger.is_estimate else ""
    used, length = ledger.prompt_tokens, ledger.context_length
    whole = f" / {length:,}" if length else ""
    full, rest = bar_text(share(used, length), _METER_CELLS) if length else ("", "")
    parts = [f"template {count_text(ledger.template_tokens)}"]
    if ledger.fallen:
        parts.append(f"{will_not_be_sent(ledger.fallen)} ({ledger.fallen_tokens:,})")
    left = f"left for the reply {count_text(ledger.left_for_reply)} of max {ledger.max_tokens:,}"
    when = "sent" if ledger.is_current else "at the last count"
    first = Content.assemble(
        (full, "$primary"), (rest, "$text-muted"), "  " * bool(length), f"{about}{used:,}{whole} tok {when}"
    )
    return Content("\n").join([first, Content.styled(" · ".join([*parts, left]), "$text-muted")])
