"""Construction of the app from a session, the config and the theme files."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from pathlib import Path

import msgspec

from ttchat_tui.config.paths import Paths
from ttchat_tui.config.schema import Config
from ttchat_tui.config.ui_state import UiState, save_ui_state
from ttchat_tui.domain.telemetry import CardReading
from ttchat_tui.session import ChatSession
from ttchat_tui.ui.app import TtchatApp
from ttchat_tui.ui.config_check import checked_themes
from ttchat_tui.ui.editing_keys import with_moved_keys
from ttchat_tui.ui.keys import unbound_editing_keys
from ttchat_tui.ui.services import Resume, Services, nothing
from ttchat_tui.ui.textual_patches import paste_parser, terminal_parser

log = logging.getLogger(__name__)


def build(
    session: ChatSession,
    config: Config,
    paths: Paths,
    state: UiState,
    *,
    before_terminal_takeover: Callable[[], None] = nothing,
    on_screen_ready: Callable[[], None] = nothing,
    read_cards: Callable[[], tuple[CardReading, ...]] | None = None,
    resume: tuple[Mapping[str, object], str | None] | None = None,
    place_of: Callable[[str], str] | None = None,
    offers_models: bool = False,
) -> TtchatApp:
    """Build the app.

    Args:
        before_terminal_takeover: see `Services`.
        on_screen_ready: see `Services`.
        resume: open the latest conversation; sampling parameters and a system prompt that override its own.
        place_of: where a setting was given, for errors.
        offers_models: see `Services`.
    Raises:
        ConfigError: a key is bound twice, or an action or theme is unknown.
    """
    config = msgspec.structs.replace(config, keys=with_moved_keys(config.keys, config.ui.editing))
    themes, errors = checked_themes(config, paths, place_of or (lambda setting: str(paths.config_file)))
    services = Services(
        session=session,
        config=config,
        paths=paths,
        ui_state=state,
        save_ui_state=lambda changed: _keep(paths.ui_state_file, changed),
        before_terminal_takeover=before_terminal_takeover,
        on_screen_ready=on_screen_ready,
        read_cards=read_cards,
        offers_models=offers_models,
        resume=Resume(*resume) if resume else None,
    )
    prompt_keys = (*config.ui.submit_keys, *config.ui.newline_keys)
    paste_parser.install(unbound_editing_keys(config.keys, prompt_keys))
    terminal_parser.install()
    return TtchatApp(services, themes, errors)


def _keep(file: Path, state: UiState) -> None:
    try:
        save_ui_state(file, state)
    except OSError as error:
        log.warning("the state of the app could not be saved: %s", error)
