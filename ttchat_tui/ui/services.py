"""Dependencies of the screen, from the composition root. Nothing in `ui` constructs them."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import msgspec

from ttchat_tui.config.paths import Paths
from ttchat_tui.config.schema import Config
from ttchat_tui.config.ui_state import UiState
from ttchat_tui.domain.telemetry import CardReading
from ttchat_tui.session import ChatSession


def nothing() -> None:
    """The default for callbacks."""


class Resume(msgspec.Struct, frozen=True):
    """Settings from command line flags that override those of the resumed conversation."""

    sampling: Mapping[str, object]
    system_prompt: str | None = None


class Services(msgspec.Struct):
    session: ChatSession
    config: Config
    paths: Paths
    ui_state: UiState
    save_ui_state: Callable[[UiState], None]
    """Atomic. Errors are logged and never raised: this state is not worth an interruption."""
    before_terminal_takeover: Callable[[], None] = nothing
    """Called once, right before Textual saves the terminal's line settings and changes them."""
    on_screen_ready: Callable[[], None] = nothing
    """Called once, when the first frame is drawn and the sidebars are mounted. Deferred work starts then."""
    read_cards: Callable[[], tuple[CardReading, ...]] | None = None
    """Reads the telemetry of the Tenstorrent cards; None without cards. Thread-safe; may be slow."""
    offers_models: bool = False
    """The default model is loaded because nothing else was chosen: a first start may offer better ones."""
    resume: Resume | None = None
    """Set to open the latest conversation (`-c`) instead of a new one."""
