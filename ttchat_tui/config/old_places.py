"""Settings that have moved to another section. Their old places still work."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, cast

from ttchat_tui.config.errors import ConfigError

NEW_PLACES: Final[dict[tuple[str, str], tuple[str, str]]] = {
    ("model", "precision"): ("cpu", "precision"),
    ("model", "prefill_copy"): ("cpu", "prefill_copy"),
    ("model", "threads"): ("cpu", "threads"),
    ("engine", "kernel"): ("cpu", "kernel"),
    ("engine", "speculation"): ("cpu", "speculation"),
}
"""Old section and name → present section and name."""


def new_path(path: list[str]) -> list[str]:
    """The present path of a setting; `path` itself unless that is an old place."""
    place = NEW_PLACES.get((path[0], path[1])) if len(path) > 1 else None
    return [*place, *path[2:]] if place else path


def old_names(section: str) -> list[str]:
    """The settings that have moved out of `section`."""
    return [name for where, name in NEW_PLACES if where == section]


def at_new_places(values: Mapping[str, Any], where: str) -> tuple[dict[str, Any], dict[str, str]]:
    """`values` of one file or variable with each setting in its present section; and, for the settings that were in an
    old one, present name → name as written (`cpu.threads` → `model.threads`), for errors.

    Raises:
        ConfigError: a setting is in both places.
    """
    moved = dict(values)
    written: dict[str, str] = {}
    for (old_section, old), (section, name) in NEW_PLACES.items():
        was, now = _table(moved.get(old_section)), _table(moved.get(section, {}))
        if was is None or old not in was or now is None:
            continue
        if name in now:
            raise ConfigError(
                where,
                f"is the same setting as {section}.{name}, and both are given",
                setting=f"{old_section}.{old}",
                cure=f"keep {section}.{name}",
            )
        moved[old_section] = {key: value for key, value in was.items() if key != old}
        moved[section] = {**now, name: was[old]}
        written[f"{section}.{name}"] = f"{old_section}.{old}"
    return moved, written


def _table(value: Any) -> dict[str, Any] | None:
    return cast("dict[str, Any]", value) if isinstance(value, dict) else None
