"""Validation of keys and theme without a screen: an error in them is reported as in any other setting."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Final

from ttchat_tui.config.paths import Paths
from ttchat_tui.config.schema import Config, UiSettings

_CHECK: Final = "ttchat_tui.ui.config_check"
"""Imported by name: it brings Textual, 0.15 s that a start without keys or theme saves."""


def check_screen_settings(config: Config, paths: Paths, place_of: Callable[[str], str]) -> None:
    """Raises ConfigError as the screen would. `place_of` names the source of a setting."""
    ui, usual = config.ui, UiSettings()
    prompt_keys = (ui.submit_keys, ui.newline_keys) != (usual.submit_keys, usual.newline_keys)
    if config.keys or ui.theme or prompt_keys:
        importlib.import_module(_CHECK).checked_themes(config, paths, place_of)
