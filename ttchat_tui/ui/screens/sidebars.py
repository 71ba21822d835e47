"""The chat screen's three columns: which sidebars stand beside the chat, and which one floats over it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec
from textual import getters
from textual.events import MouseDown, Resize
from textual.screen import Screen

from ttchat_tui.ui.widgets.prompt.prompt import Prompt

if TYPE_CHECKING:
    from ttchat_tui.domain.model_spec import Capabilities
    from ttchat_tui.ui.services import Services
    from ttchat_tui.ui.widgets.history.panel import HistoryPanel
    from ttchat_tui.ui.widgets.sampling.panel import SamplingPanel

FITS: Final = {"left": 80, "right": 110}
"""SidebarScreen below which a sidebar hides and comes back as an overlay."""

ROOMY: Final = 180
"""SidebarScreen from which a line of text has its full measure, and the right sidebar gets what the chat does not need."""

SPACIOUS: Final = ROOMY + 10
"""SidebarScreen from which the list of conversations gets some of that too: titles are cut off later."""

TOGGLES: Final = {"toggle_conversations": FITS["left"], "toggle_sampling": FITS["right"]}
"""The bottom row names their keys only below these widths: above them one sees what they would show."""

SIDEBARS: Final = {"left": "HistoryPanel", "right": "#side"}

PANELS: Final = {"left": "show_conversations", "right": "show_controls"}
"""Which of `UiState`'s fields remembers each sidebar."""


class SidebarScreen(Screen[None]):
    """Sidebars that fit stand beside the chat. One that does not takes the prompt's place while it is asked for: it has
    the keys, and gives them back when it goes."""

    services: Services
    prompt = getters.query_one(Prompt)
    # The sidebars' panels; None until they stand, which is after the first frame.
    history_panel: HistoryPanel | None = None
    sampling_panel: SamplingPanel | None = None
    overlay: str = ""
    """The side that floats; empty: none."""

    def on_resize(self, event: Resize) -> None:
        self.place_sidebars(event.size.width)

    def place_sidebars(self, width: int) -> None:
        """Show what fits, or floats, at this width."""
        if self.overlay and width >= FITS[self.overlay]:
            self.overlay = ""
        self.set_class(width >= ROOMY, "-roomy")
        self.set_class(width >= SPACIOUS, "-spacious")
        self.set_class(self.services.config.ui.full_width, "-full-width")
        for side, fits in FITS.items():
            self.set_class(width >= fits and self._is_wanted(side), f"-{side}")
            self.set_class(self.overlay == side, f"-{side}-overlay")

    def _is_wanted(self, side: str) -> bool:
        chosen = getattr(self.services.ui_state, PANELS[side])
        return bool(getattr(self.services.config.ui, PANELS[side]) if chosen is None else chosen)

    def show_capabilities(self, capabilities: Capabilities) -> None:
        """What the engine can do, as far as the sliders are concerned."""
        if self.sampling_panel is not None:
            self.sampling_panel.set_capabilities(capabilities)

    def close_overlay(self) -> None:
        """If there is one. The keys go to the prompt in any case."""
        self.overlay = ""
        self.place_sidebars(self.size.width)
        self.prompt.focus()

    def on_mouse_down(self, event: MouseDown) -> None:
        """A click beside the overlay closes it."""
        if self.overlay and event.screen_offset not in self.query_one(SIDEBARS[self.overlay]).region:
            self.close_overlay()

    def action_toggle_conversations(self) -> None:
        self._toggle("left")

    def action_toggle_sampling(self) -> None:
        self._toggle("right")

    def _toggle(self, side: str) -> None:
        if self.size.width < FITS[side]:
            if self.overlay == side:
                self.close_overlay()
            else:
                self._float(side)
        else:
            self.keep_ui_state(**{PANELS[side]: not self.has_class(f"-{side}")})
            if any(sidebar.has_focus_within for sidebar in self.query(SIDEBARS[side])):
                self.prompt.focus()
            self.place_sidebars(self.size.width)

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
