"""Key names: their spelling in config, their labels on screen, and the keys that cannot be bound."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Final

from textual.widgets import TextArea

_ALIASES: Final[dict[str, str]] = {
    "esc": "escape", "return": "enter", "del": "delete", "ins": "insert", "pgup": "pageup", "pgdn": "pagedown",
    "page_up": "pageup", "page_down": "pagedown", "control": "ctrl", "option": "alt", "meta": "alt", "cmd": "super",
    "?": "question_mark", "/": "slash", ".": "full_stop", "-": "minus",
}  # fmt: skip

_LABELS: Final[dict[str, str]] = {
    "escape": "esc", "question_mark": "?", "slash": "/", "full_stop": ".", "minus": "-", "pageup": "pgup",
    "pagedown": "pgdn", "up": "↑", "down": "↓", "left": "←", "right": "→", "plus": "+", "less_than_sign": "<",
    "greater_than_sign": ">",
}  # fmt: skip

_MODIFIERS: Final = ("ctrl", "alt", "shift", "super")

_NAMED: Final = {
    "escape", "enter", "tab", "backspace", "delete", "insert", "home", "end", "pageup", "pagedown", "up", "down", "left",
    "right", "space", *(f"f{number}" for number in range(1, 25)),
}  # fmt: skip

_PUNCTUATION: Final = {
    "question_mark", "slash", "full_stop", "minus", "comma", "colon", "semicolon", "plus", "equals_sign", "underscore",
    "backslash", "at", "tilde", "left_square_bracket", "right_square_bracket", "quotation_mark", "apostrophe",
    "grave_accent", "number_sign", "asterisk",
}  # fmt: skip

INDISTINCT: Final[dict[str, str]] = {
    "ctrl+i": "tab", "ctrl+m": "enter", "ctrl+h": "backspace", "ctrl+left_square_bracket": "escape",
    "ctrl+backspace": "backspace",
}  # fmt: skip
"""Keys that most terminals cannot distinguish from another one → that one."""

EDITING_KEYS: Final[dict[str, str]] = {
    "alt+b": "ctrl+left", "alt+left": "ctrl+left", "alt+f": "ctrl+right", "alt+right": "ctrl+right",
    "alt+backspace": "ctrl+w", "ctrl+backspace": "ctrl+w", "alt+d": "alt+delete", "ctrl+delete": "alt+delete",
    "shift+backspace": "backspace",
}  # fmt: skip
"""readline's word keys, and keys typed with shift still held → the editing keys that they act as, unless config binds
them."""

SHADOWED: Final[dict[str, str]] = {
    "ctrl+c": "copies the selection, stops the reply, and twice quits",
    "tab": "moves the focus",
    "shift+tab": "moves the focus",
}
"""Keys that Textual handles before the chat → what they do."""


FREED_KEYS: Final = frozenset({"f6"})
"""Editing keys of `TextArea` that actions of the chat take: it selects a line, as home and shift+end do."""


def split_keys(keys: str) -> list[str]:
    """Split `ctrl+j, shift+enter` into its keys."""
    return [key.strip() for key in keys.split(",") if key.strip()]


def canonical_key(key: str) -> str:
    """Textual's spelling of one key: modifiers alt, ctrl, shift, super in that (alphabetical) order, `esc` →
    `escape`, `Ctrl-N` → `ctrl+n`, `?` → `question_mark`. An unknown name is returned in lower case."""
    parts = re.split(r"[+]|(?<=\w)-(?=\w)", key.strip().lower())
    *modifiers, name = [_ALIASES.get(part, part) for part in parts]
    return "+".join([*sorted(set(modifiers)), name])


def key_label(key: str) -> str:
    """A key's label in footer and help: `ctrl+n`, `esc`, `F1`, `alt+↓`."""
    *modifiers, name = key.split("+")
    label = _LABELS.get(name, name)
    if re.fullmatch(r"f\d+", label):
        label = label.upper()
    return "+".join([*modifiers, label])


def is_known(key: str) -> bool:
    """Whether a canonical `key` is valid: known modifiers, then one character or a key name."""
    *modifiers, name = key.split("+")
    return all(modifier in _MODIFIERS for modifier in modifiers) and (
        name in _NAMED or name in _PUNCTUATION or (len(name) == 1 and name.isalnum())
    )


def is_typed(key: str) -> bool:
    """Whether `key` types a character into the prompt."""
    *modifiers, name = key.split("+")
    return set(modifiers) <= {"shift"} and (len(name) == 1 or name in _PUNCTUATION or name == "space")


def editing_keys() -> frozenset[str]:
    """The editing keys of `TextArea`, which cannot be bound: the prompt nearly always has the focus."""
    keys: set[str] = set()
    for binding in TextArea.BINDINGS:
        spelled = binding[0] if isinstance(binding, tuple) else binding.key
        keys.update(canonical_key(key) for key in split_keys(spelled))
    return frozenset(keys) - FREED_KEYS


def unbound_editing_keys(overrides: Mapping[str, str], prompt_keys: Iterable[str]) -> dict[str, str]:
    """`EDITING_KEYS` without the keys that config binds, in `overrides` (action name → keys) or as `prompt_keys`."""
    bound = {canonical_key(key) for keys in overrides.values() for key in split_keys(keys)}
    bound.update(map(canonical_key, prompt_keys))
    return {key: meant for key, meant in EDITING_KEYS.items() if key not in bound}
