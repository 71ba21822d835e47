"""Choice of a theme with a live preview."""

from __future__ import annotations

from typing import Any

from textual import on
from textual.app import App, ComposeResult
from textual.content import Content
from textual.theme import BUILTIN_THEMES
from textual.widgets import OptionList, Static
from textual.widgets.option_list import Option

from ttchat_tui.ui.screens.dialog import Dialog


class ThemePicker(Dialog[str]):
    """Result: the chosen theme, already applied. None: the previous one is restored."""

    heading = "Theme"
    AUTO_FOCUS = "OptionList"
    help_lines = (("↑ ↓", "Try a theme"), ("enter", "Keep it; esc returns to the one before"))

    def body(self) -> ComposeResult:
        self._before = self.app.theme
        names = offered(self.app)
        with OptionList(*(self._option(name) for name in names), markup=False, compact=True) as themes:
            themes.highlighted = names.index(self._before) if self._before in names else None
        yield Static("↑↓ try   enter keep", classes="hint", markup=False)

    def _option(self, name: str) -> Option:
        theme = self.app.available_themes[name]
        kind = "ansi" if theme.ansi else "dark" if theme.dark else "light"
        return Option(Content.assemble(f"{name:<22}", kind), id=name)

    @on(OptionList.OptionHighlighted)
    def _preview(self, event: OptionList.OptionHighlighted) -> None:
        if event.option_id is not None and event.option_id != self.app.theme:
            self.app.theme = event.option_id

    @on(OptionList.OptionSelected)
    def _keep(self, event: OptionList.OptionSelected) -> None:
        if event.option_id is not None:
            self.app.theme = event.option_id
        self.dismiss(event.option_id)

    def action_cancel(self) -> None:
        self.app.theme = self._before
        self.dismiss(None)


def offered(app: App[Any]) -> list[str]:
    """The names of this program's themes and the user's; Textual's own if there are no others."""
    return sorted(set(app.available_themes) - set(BUILTIN_THEMES)) or sorted(app.available_themes)
