"""A dialog to edit a message that waits in the queue."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from textual import on
from textual.app import ComposeResult
from textual.widgets import Static

from ttchat_tui.config.schema import UiSettings
from ttchat_tui.domain.attachments import find_blocks, with_blocks_of, without_mentioned_blocks
from ttchat_tui.ui.keys import canonical_key, key_label
from ttchat_tui.ui.screens.dialog import Dialog
from ttchat_tui.ui.widgets.prompt.prompt import Prompt


class EditQueued(Dialog[str]):
    """Result: the new text, which is not blank. Files that are attached already stay as they were read."""

    heading = "Edit the waiting message"
    keys = ""  # escape is in the hint
    AUTO_FOCUS = "Prompt"

    def __init__(
        self, text: str, settings: UiSettings, attached: Callable[[str], Awaitable[str | None]]
    ) -> None:
        """`attached` reads the files of a draft. None: it has reported why one cannot be attached."""
        super().__init__()
        self._text = text
        self._settings = settings
        self._attached = attached

    def body(self) -> ComposeResult:
        yield Prompt(self._settings)
        keep = key_label(canonical_key(self._settings.submit_keys[0]))
        count = len(find_blocks(self._text)) - len(find_blocks(self._draft))
        files = f"{'the file stays' if count == 1 else f'the {count} files stay'} as read   " if count else ""
        yield Static(f"{keep} keeps it   {files}", classes="hint", markup=False)

    @property
    def _draft(self) -> str:
        """What the user typed."""
        return without_mentioned_blocks(self._text)

    def on_mount(self) -> None:
        self.query_one(Prompt).set_draft(self._draft)

    @on(Prompt.Submitted)
    async def _submitted(self, event: Prompt.Submitted) -> None:
        text = await self._attached(with_blocks_of(self._text, event.text))
        if text is not None and self.is_current:
            self.dismiss(text)
