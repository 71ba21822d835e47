"""Names of settings: the flags that set them, and a setting in a message by the name under which the user gave it."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, Final, Literal, NamedTuple, cast, get_args

from ttchat_tui.config.schema import config_type
from ttchat_tui.domain.constraint import ConstraintKind
from ttchat_tui.engine.factory import ENGINES

FLAGS: Final[dict[str, str]] = {
    "model.name": "--model",
    "model.engine": "--engine",
    "model.context_length": "--context-length",
    "model.isolation": "--isolation",
    "engine.record": "--record",
    "system_prompt": "--system",
    "ui.theme": "--theme",
    "sampling.thinking": "--think",
    **{
        f"sampling.{name}": f"--{name.replace('_', '-')}"
        for name in (
            "max_tokens", "temperature", "top_p", "top_k", "min_p", "repetition_penalty", "seed", "stop",
            "logit_bias",
        )
    },
}  # fmt: skip
"""Setting → its flag. The engines declare more, and a constraint has a flag for each of its kinds."""

_MENTION: Final = re.compile(
    r"""(?<![\w/\\.-])\[(\w+)\] (\w+)(?: = ("[^"]*"|'[^']*'|[\w:/-]+(?:\.\w+)*))?(?![\w/\\-]|\.\w)"""
)
"""How an engine writes a setting, with a value or without: `[cpu] kv_cache = "q8"`. Not inside a path."""


class SettingSource(NamedTuple):
    """Where the value of a setting comes from."""

    way: Literal["file", "variable", "flag"]
    name: str
    """The file's path; the variable; the flag, or `command line` where no flag has the setting's value as it is."""
    written: str
    """The setting as it is named there: `cpu.threads`, or its old name. For a flag and a variable it says nothing more."""


def flag_of(setting: str, value: Any = None) -> str:
    """The flag that sets `setting` (to `value`); empty: there is none."""
    if setting == "sampling.constraint" and isinstance(value, Mapping):
        kind = cast("Mapping[str, Any]", value).get("kind")
        return f"--{kind}" if kind in get_args(ConstraintKind) else ""
    section, _, name = setting.partition(".")
    if section in ENGINES and any(flag.option == name for flag in ENGINES[section].flags):
        return f"--{name.replace('_', '-')}"
    return FLAGS.get(setting, "")


def named_as_given(text: str, given: Callable[[str], SettingSource | None]) -> str:
    """`text`, where an engine wrote settings as in config.toml, with each as the user gave it: `--kv-cache q8`,
    `TTCHAT_CPU__KV_CACHE=q8`. One that nobody gave has its flag's name, if it has a flag.

    `given`: where a setting (`cpu.kv_cache`) comes from; None: it has its default.
    """

    def name(mention: re.Match[str]) -> str:
        section, key, value = mention.groups()
        setting = f"{section}.{key}"
        if not _is_setting(section, key):
            return mention[0]
        found = given(setting)
        bare = (value or "").strip("\"'")
        if found is not None and found.way == "variable":
            return f"{found.name}={bare}" if value else found.name
        if found is not None and found.way == "file":
            section, _, key = found.written.partition(".")
            return f"[{section}] {key} = {value}" if value else f"[{section}] {key}"
        flag = flag_of(setting)
        return mention[0] if not flag else f"{flag} {bare}" if value else flag

    return _MENTION.sub(name, text)


def _is_setting(section: str, key: str) -> bool:
    options = getattr(config_type()(), section, None)
    return key in getattr(options, "__struct_fields__", ())
