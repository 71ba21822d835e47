"""The chat screen's columns: which sidebars are beside the chat, and which one floats over it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import msgspec
from textual import getters
from textual.containers import Vertical
from textual.events import MouseDown, Resize
from textual.screen import Screen

from ttchat_tui.ui import deferred, style_sheets
from ttchat_tui.ui.widgets.prompt.prompt import Prompt

if TYPE_CHECKING:
    from ttchat_tui.domain.model_spec import Capabilities
    from ttchat_tui.session import ChatSession
    from ttchat_tui.ui.services import Services
    from ttchat_tui.ui.widgets.history.panel import HistoryPanel
    from ttchat_tui.ui.widgets.metrics.panel import MetricsPanel
    from ttchat_tui.ui.widgets.sampling.panel import SamplingPanel


@dataclass(frozen=True)
class Sidebar:
    """One of the columns beside the chat."""

    selector: str
    """Of its widget."""
    fits_from: int
    """Screen width in columns; on a narrower screen it is hidden, and comes back as an overlay."""
    toggle: str
    """The action that shows and hides it. The key line names its key only where the sidebar does not fit."""
    setting: str
    """The field of config's `ui` and of `UiState` that says whether it is shown."""


SIDEBARS: Final = {
    "left": Sidebar("HistoryPanel", 80, "toggle_conversations", "show_conversations"),
    "right": Sidebar("#side", 110, "toggle_sampling", "show_controls"),
}

TIGHT: Final = 100
"""Screen width below which the list of conversations is narrower."""

ROOMY: Final = 180
"""Screen width from which the text has its full measure; the right sidebar gets the rest."""

SPACIOUS: Final = ROOMY + 10
"""Screen width from which the list of conversations is wider too."""


class SidebarScreen(Screen[None]):
    """Sidebars that fit are beside the chat. Another one opens as an overlay, which takes the focus and hides the prompt
    until it closes."""

    services: Services
    session: ChatSession
    prompt = getters.query_one(Prompt)
    # None until they are mounted, after the first frame.
    history_panel: HistoryPanel | None = None
    sampling_panel: SamplingPanel | None = None
    metrics_panel: MetricsPanel | None = None
    overlay: str = ""
    """The side that is open as an overlay; empty: none."""

    async def mount_sidebars(self) -> None:
        """Import and mount the sidebars. The chat keeps their room free until then: no layout comes in between."""
        style_sheets.read_later_ones(self.app)
        columns, chat = self.query_one("#columns"), self.query_one("#chat")
        history = deferred.history_panel.HistoryPanel(self.session.marks.of)
        chat.remove_class("-no-left")
        await columns.mount(history, before=chat)
        sampling = deferred.sampling_panel.SamplingPanel()
        metrics = deferred.metrics_panel.MetricsPanel(self.services.read_cards)
        chat.remove_class("-no-right")
        await columns.mount(Vertical(sampling, metrics, id="side"), after=chat)
        self.history_panel, self.sampling_panel, self.metrics_panel = history, sampling, metrics

    def on_resize(self, event: Resize) -> None:
        self.place_sidebars(event.size.width)

    def place_sidebars(self, width: int) -> None:
        """Show the sidebars that fit at this width, and the overlay."""
        if self.overlay and width >= SIDEBARS[self.overlay].fits_from:
            self.overlay = ""
        for (
            side,
            sidebar,
        ) in SIDEBARS.items():  # keys for a sidebar that no longer fits must not go to the prompt
            if self.has_class(f"-{side}") and width < sidebar.fits_from and self._has_focus_in(side):
                self.overlay = side
        self.set_class(width < TIGHT, "-tight")
        self.set_class(width >= ROOMY, "-roomy")
        self.set_class(width >= SPACIOUS, "-spacious")
        self.set_class(self.services.config.ui.full_width, "-full-width")
        for side, sidebar in SIDEBARS.items():
            self.set_class(width >= sidebar.fits_from and self._is_chosen(sidebar), f"-{side}")
            self.set_class(self.overlay == side, f"-{side}-overlay")

    def _is_chosen(self, sidebar: Sidebar) -> bool:
        chosen = getattr(self.services.ui_state, sidebar.setting)
        return bool(getattr(self.services.config.ui, sidebar.setting) if chosen is None else chosen)

    def show_capabilities(self, capabilities: Capabilities) -> None:
        """Disable the parameters that the engine does not support."""
        if self.sampling_panel is not None:
            self.sampling_panel.set_capabilities(capabilities)

    def close_overlay(self) -> None:
        """Close the overlay, if there is one, and focus the prompt."""
        self.overlay = ""
        self.place_sidebars(self.size.width)
        self.prompt.focus()

    def on_mouse_down(self, event: MouseDown) -> None:
        """A click beside the overlay closes it."""
        if self.overlay and event.screen_offset not in self.query_one(SIDEBARS[self.overlay].selector).region:
            self.close_overlay()

    def action_toggle_conversations(self) -> None:
        self._toggle("left")

    def action_toggle_sampling(self) -> None:
        self._toggle("right")

    def _toggle(self, side: str) -> None:
        sidebar = SIDEBARS[side]
        if self.size.width < sidebar.fits_from:
            if self.overlay == side:
                self.close_overlay()
            else:
                self._float(side)
        else:
            self.keep_ui_state(**{sidebar.setting: not self.has_class(f"-{side}")})
            if self._has_focus_in(side):
                self.prompt.focus()
            self.place_sidebars(self.size.width)

    def _has_focus_in(self, side: str) -> bool:
        return any(widget.has_focus_within for widget in self.query(SIDEBARS[side].selector))

    def _float(self, side: str) -> None:
        self.overlay = side
        self.place_sidebars(self.size.width)
        self._focus_first(side)

    def _focus_first(self, side: str) -> None:
        if side == "left" and self.history_panel is not None:
            self.history_panel.focus_filter()
        elif side == "right" and self.sampling_panel is not None:
            self.sampling_panel.focus_first()

    def _reveal(self, side: str) -> None:
        if not self.has_class(f"-{side}") and self.overlay != side:
            self._toggle(side)
        self._focus_first(side)

    def action_focus_prompt(self) -> None:
        self.close_overlay()

    def action_focus_history(self) -> None:
        self._reveal("left")

    def action_focus_sampling(self) -> None:
        self._reveal("right")

    def keep_ui_state(self, **changes: object) -> None:
        """Remember these fields of `UiState` for the next start."""
        self.services.ui_state = msgspec.structs.replace(self.services.ui_state, **changes)
        self.services.save_ui_state(self.services.ui_state)
