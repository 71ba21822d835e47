"""What the screen is given by the composition root: nothing in `ui` builds these."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import msgspec

from ttchat_tui.config.paths import Paths
from ttchat_tui.config.schema import Config
from ttchat_tui.config.ui_state import UiState
from ttchat_tui.domain.telemetry import CardReading
from ttchat_tui.session import ChatSession


def nothing() -> None:
    """For those who do not wait for the screen."""


class Resume(msgspec.Struct, frozen=True):
    """What this start's flags set over the settings of the continued conversation."""

    sampling: Mapping[str, object]
    system_prompt: str | None = None


class Services(msgspec.Struct):
    session: ChatSession
    config: Config
    paths: Paths
    ui_state: UiState
    save_ui_state: Callable[[UiState], None]
    """Atomic; errors are logged, never raised: panels that come back closed are no reason to stop."""
    before_terminal_takeover: Callable[[], None] = nothing
    """Called once, right before Textual saves the terminal's line settings and sets its own."""
    on_screen_ready: Callable[[], None] = nothing
    """Called once, when the first frame is out and the sidebars stand: what can wait begins now."""
    read_cards: Callable[[], tuple[CardReading, ...]] | None = None
    """What the driver tells of the Tenstorrent cards, where there are any. Thread-safe; may take its time."""
    resume: Resume | None = None
    """Open the latest conversation (`-c`) instead of a new one."""
