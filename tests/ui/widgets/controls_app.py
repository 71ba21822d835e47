"""An app that shows some controls as the real one styles them, and keeps the messages they post."""

from __future__ import annotations

from textual import events, on
from textual.app import App, ComposeResult
from textual.message import Message
from textual.widget import Widget

from ttchat_tui.ui import style_sheets
from ttchat_tui.ui.themes import DEFAULT_THEME, load_themes
from ttchat_tui.ui.widgets.sampling.number_field import NumberField
from ttchat_tui.ui.widgets.sampling.panel import SamplingPanel
from ttchat_tui.ui.widgets.sampling.slider import Slider
from ttchat_tui.ui.widgets.sampling.stop_field import StopField


class ControlsApp(App[None]):
    CSS_PATH = [*style_sheets.FIRST, *style_sheets.LATER]

    def __init__(self, *widgets: Widget) -> None:
        super().__init__()
        self._widgets = widgets
        self.heard: list[Message] = []
        for theme in load_themes([])[0]:
            self.register_theme(theme)
        self.theme = DEFAULT_THEME

    def compose(self) -> ComposeResult:
        yield from self._widgets

    @on(Slider.Changed)
    @on(NumberField.Changed)
    @on(StopField.Changed)
    @on(SamplingPanel.ParamsChanged)
    @on(SamplingPanel.PresetChosen)
    @on(SamplingPanel.SystemPromptChanged)
    def keep(self, message: Message) -> None:
        self.heard.append(message)


def row_text(widget: Widget, y: int = 0) -> str:
    """One row of a widget as it is on screen."""
    return "".join(segment.text for segment in widget.render_line(y))


def wheel(kind: type[events.MouseEvent], widget: Widget) -> events.MouseEvent:
    """A turn of the wheel over a widget."""
    return kind(widget, 1, 0, 0, 0, 0, False, False, False)
