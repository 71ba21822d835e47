"""Keys and theme where there is no screen: a fault in them is reported as in any other setting."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Final

from ttchat_tui.config.paths import Paths
from ttchat_tui.config.schema import Config, UiSettings

_CHECK: Final = "ttchat_tui.ui.config_check"
"""Imported by name: it brings Textual, 0.15 s that a start without keys and theme need not wait for."""


def require_right(config: Config, paths: Paths, place_of: Callable[[str], str]) -> None:
    """Raises ConfigError as the screen would; `place_of` tells where a setting was given."""
    ui, usual = config.ui, UiSettings()
    prompt_keys = (ui.submit_keys, ui.newline_keys) != (usual.submit_keys, usual.newline_keys)
    if config.keys or ui.theme or prompt_keys:
        importlib.import_module(_CHECK).checked_themes(config, paths, place_of)
