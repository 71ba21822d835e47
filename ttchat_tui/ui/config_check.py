"""Validation of the settings that only the screen knows: keys and theme. Errors are one line, as `load_config`'s."""

from __future__ import annotations

import logging
from collections.abc import Callable

from textual.theme import Theme

from ttchat_tui.config.errors import ConfigError
from ttchat_tui.config.paths import Paths
from ttchat_tui.config.schema import Config
from ttchat_tui.ui.editing_keys import TAKEN, with_moved_keys
from ttchat_tui.ui.key_check import check_keys
from ttchat_tui.ui.themes import ThemeError, load_themes

log = logging.getLogger(__name__)


def checked_themes(
    config: Config, paths: Paths, place_of: Callable[[str], str]
) -> tuple[list[Theme], list[ThemeError]]:
    """Check the keys and the theme of `config`; return all themes, and the errors of files that cannot be used.

    `place_of` returns where a setting (`ui.theme`) was given. An unknown theme is accepted if a broken file may define it.

    Raises:
        ConfigError: keys in conflict, an unknown action, or an unknown theme.
    """
    ui = config.ui
    keys = with_moved_keys(config.keys, ui.editing)
    prompt_keys = {"ui.submit_keys": ui.submit_keys, "ui.newline_keys": ui.newline_keys}
    problems = check_keys(keys, prompt_keys, TAKEN[ui.editing])
    if problems:
        setting = problems[0].partition(":")[0]
        setting = setting if config.keys or setting != "keys" else "ui"  # then it is about the prompt's keys
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
