"""How messages name a setting: as the user gave it.

Whoever writes a message writes the setting's name with `setting`. No text is searched for names, so that the words of a
server, a template or a file stay as they are.
"""

from __future__ import annotations

from collections.abc import Mapping

_names: dict[str, str] = {}


def set_names(names: Mapping[str, str]) -> None:
    """For the rest of this process; called at its start.

    Args:
        names: setting (`cpu.kv_cache`) → its flag, its variable, or `[section] key`, which a table has with
            the file: `[sampling] logit_bias in ~/config.toml`. Others have their place in config.toml.
    """
    _names.clear()
    _names.update(names)


def names() -> Mapping[str, str]:
    """The names that `set_names` took: what another process needs to name settings alike."""
    return _names


def in_file(setting: str) -> str:
    """The place of a setting in config.toml: `[cpu] kv_cache`."""
    section, _, key = setting.rpartition(".")
    return f"[{section}] {key}" if section else key


def setting(path: str, value: str = "") -> str:
    """A setting in a message: `--kv-cache q8`, `TTCHAT_CPU__KV_CACHE=q8` or `[cpu] kv_cache = "q8"`.

    Args:
        path: section and key, such as `cpu.kv_cache`.
        value: as in config.toml, `"q8"` with its quotes; empty: the message speaks of the setting and not of a value.
    """
    name = _names.get(path) or in_file(path)
    if not value:
        return name
    if name.startswith("["):
        return f"{name} = {value}"
    bare = value.strip('"')
    return f"{name} {bare}" if name.startswith("-") else f"{name}={bare}"
