"""The smallest app around one part of the screen. It records the messages that reach it."""

from __future__ import annotations

from typing import Any, TypeVar

from textual.app import App, ComposeResult
from textual.message import Message
from textual.widget import Widget

from ttchat_tui.ui import style_sheets
from ttchat_tui.ui.themes import DEFAULT_THEME, load_themes

M = TypeVar("M", bound=Message)


class ShellApp(App[None]):
    """Shows `widgets`; `heard` holds the messages of the part's own kinds, in order."""

    CSS_PATH = [*style_sheets.FIRST, *style_sheets.LATER]

    def __init__(self, *widgets: Widget) -> None:
        super().__init__()
        self.widgets = widgets
        self.heard: list[Message] = []
        for theme in load_themes([])[0]:
            self.register_theme(theme)
        self.theme = DEFAULT_THEME

    def compose(self) -> ComposeResult:
        yield from self.widgets

    async def _on_message(self, message: Message) -> None:
        if type(message).__module__.startswith("ttchat_tui.ui"):
            self.heard.append(message)
        await super()._on_message(message)

    def of(self, kind: type[M]) -> list[M]:
        """The received messages of one kind."""
        return [message for message in self.heard if isinstance(message, kind)]


def screen_text(app: App[Any]) -> list[str]:
    """The screen's text, one string per row, without trailing blanks."""
    width, height = app.size
    strips = app.screen._compositor.render_strips()
    return ["".join(segment.text for segment in strip)[:width].rstrip() for strip in strips[:height]]
