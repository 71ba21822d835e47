"""The ways of editing the prompt, by config's `ui.editing`, and the actions that give up their keys to them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from ttchat_tui.config.schema import EditingStyle
from ttchat_tui.ui.widgets.prompt.editing import EMACS_KEYS, VI_KEYS, Clipboard, Editing, Emacs, Vi

STYLES: Final[Mapping[EditingStyle, Callable[[Clipboard], Editing] | None]] = {
    "default": None,
    "emacs": lambda clipboard: Emacs(),
    "vi": Vi,
}

TAKEN: Final[Mapping[EditingStyle, frozenset[str]]] = {
    "default": frozenset(),
    "emacs": EMACS_KEYS,
    "vi": VI_KEYS,
}
"""Keys that edit the prompt, beside `TextArea`'s."""

MOVED: Final[Mapping[EditingStyle, Mapping[str, str]]] = {
    "default": {},
    "emacs": {"new": "alt+n", "palette": "alt+x", "focus_history": "alt+i", "focus_transcript": "alt+y"},
    "vi": {"regenerate": "alt+a"},
}
"""Action → its keys instead of those that are taken."""


def with_moved_keys(keys: Mapping[str, str], style: EditingStyle) -> dict[str, str]:
    """Config's `[keys]`, with other keys for the actions that it does not name and whose keys are taken."""
    return {**MOVED[style], **keys}
