"""What of the configuration only the screen can judge: keys and theme. One line, as `load_config` tells what it finds."""

from __future__ import annotations

import logging
from collections.abc import Callable

from textual.theme import Theme

from ttchat_tui.config.errors import ConfigError
from ttchat_tui.config.paths import Paths
from ttchat_tui.config.schema import Config
from ttchat_tui.ui.key_check import check_keys
from ttchat_tui.ui.themes import ThemeError, load_themes

log = logging.getLogger(__name__)


def checked_themes(
    config: Config, paths: Paths, place_of: Callable[[str], str]
) -> tuple[list[Theme], list[ThemeError]]:
    """All themes, and what is wrong with files that are none, once keys and theme of `config` are known to be right.
    `place_of` tells where a setting (`ui.theme`) was given. A name that a broken file may have meant is no fault of it.

    Raises:
        ConfigError: keys in conflict, an unknown action, or an unknown theme.
    """
    problems = check_keys(config.keys, [*config.ui.submit_keys, *config.ui.newline_keys])
    if problems:
        setting = problems[0].partition(":")[0] if config.keys else "ui"  # whose prompt keys they are then
        raise ConfigError(place_of(setting), problems[0])
    themes, errors = load_themes([paths.themes_dir])
    for error in errors:
        log.warning("%s", error)
    names = [theme.name for theme in themes]
    if config.ui.theme and config.ui.theme not in names and not errors:
        raise ConfigError(
            place_of("ui.theme"),
            f"there is no theme {config.ui.theme!r}",
            setting="$.ui.theme",
            cure=f"choose one of {', '.join(names)}",
        )
    return themes, errors
