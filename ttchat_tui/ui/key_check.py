"""Validation of a config's `[keys]` before the app starts."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Final

from ttchat_tui.ui.commands import BY_NAME, TABLE, keys_of
from ttchat_tui.ui.keys import (
    INDISTINCT,
    SHADOWED,
    canonical_key,
    editing_keys,
    is_known,
    is_typed,
    key_label,
)

_NEAR: Final = 0.75
"""difflib ratio from which a word counts as a typing error."""

_PROMPT_SETTINGS: Final = {"send": "ui.submit_keys", "newline": "ui.newline_keys"}


def check_keys(
    overrides: Mapping[str, str],
    prompt_keys: Mapping[str, Sequence[str]] = MappingProxyType({}),
    taken: frozenset[str] = frozenset(),
) -> list[str]:
    """The errors in `overrides` (action name → keys) and `prompt_keys` (setting → keys), one line each.

    Errors are unknown actions and keys, keys that type a character, edit the prompt or are not reported by terminals, and
    keys that are bound twice. Without `prompt_keys` the prompt has its defaults. `taken`: keys of the way of editing
    (`ui.editing`).
    """
    editing = editing_keys() | taken
    faults: list[str] = []
    for setting, keys in prompt_keys.items():
        faults += _faults_of_keys(setting, map(canonical_key, keys), editing)
    for name in overrides:
        if name in _PROMPT_SETTINGS:
            faults.append(
                f"keys.{name}: the prompt has its own setting for this; write {_PROMPT_SETTINGS[name]}"
            )
        elif name in BY_NAME:
            faults += _faults_of_keys(f"keys.{name}", keys_of(BY_NAME[name], overrides), editing)
        else:
            faults.append(f"keys.{name}: unknown action; {_meant(name)}")
    return faults + _conflicts(overrides, [key for keys in prompt_keys.values() for key in keys])


def _meant(name: str) -> str:
    """A suggestion for an unknown `name`, from the actions' names and titles (`new_conversation`); all names if none is
    close."""
    known = {action.title.lower().replace(" ", "_"): action.name for action in TABLE} | {
        name: name for name in BY_NAME
    }
    close = difflib.get_close_matches(name.lower().replace("-", "_"), known, n=1, cutoff=_NEAR)
    return f"did you mean '{known[close[0]]}'?" if close else f"known actions: {', '.join(BY_NAME)}"


def _faults_of_keys(setting: str, keys: Iterable[str], editing: frozenset[str]) -> list[str]:
    faults: list[str] = []
    for key in keys:
        where = f"{setting}: {key_label(key)}"
        if not is_known(key):
            faults.append(f"{where} is not a key; write for example ctrl+n, alt+up or f5")
        elif key in INDISTINCT:
            faults.append(f"{where} is the same as {INDISTINCT[key]} in most terminals; choose another")
        elif is_typed(key):
            faults.append(f"{where} would be typed into the prompt; add ctrl or alt")
        elif key in SHADOWED:
            faults.append(f"{where} {SHADOWED[key]}; choose another")
        elif key in editing:
            faults.append(f"{where} edits the prompt's text; choose another")
    return faults


def _conflicts(overrides: Mapping[str, str], prompt_keys: Sequence[str]) -> list[str]:
    holders: dict[str, list[str]] = {}
    for key in dict.fromkeys(map(canonical_key, prompt_keys)):
        holders[key] = ["the prompt"]
    for action in TABLE:
        if prompt_keys and action.scope == "prompt":
            continue
        for key in keys_of(action, overrides):
            holders.setdefault(key, []).append(action.name)
    return [
        f"keys: {key_label(key)} is bound to {' and '.join(names)}; change one of them"
        for key, names in holders.items()
        if len(names) > 1
    ]
