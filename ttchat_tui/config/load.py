"""One `Config` from all sources; later ones override earlier ones: defaults, config.toml, TTCHAT_* variables, flags."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final, Literal, cast

import msgspec

from ttchat_tui.config.describe import expectation, names_in, problem, value_kind
from ttchat_tui.config.errors import ConfigError
from ttchat_tui.config.old_places import at_new_places, new_path
from ttchat_tui.config.paths import Paths
from ttchat_tui.config.schema import Config, config_type, engine_choices
from ttchat_tui.config.setting_names import FLAGS, flag_of
from ttchat_tui.config.toml_file import read_toml
from ttchat_tui.domain.decoding import decodable
from ttchat_tui.domain.given_settings import in_file
from ttchat_tui.domain.sampling import SamplingParams
from ttchat_tui.domain.text import decoded
from ttchat_tui.domain.user_paths import expanded, shortened

PREFIX: Final = "TTCHAT_"

SHORT_VARIABLES: Final[dict[str, str]] = {
    "TTCHAT_MODEL": "model.name",
    "TTCHAT_ENGINE": "model.engine",
    "TTCHAT_ISOLATION": "model.isolation",
    "TTCHAT_SYSTEM_PROMPT": "system_prompt",
    "TTCHAT_THEME": "ui.theme",
    "TTCHAT_LOG_LEVEL": "log.level",
    "OPENAI_BASE_URL": "remote.base_url",
}
"""Every setting has a variable TTCHAT_SECTION__NAME (TTCHAT_SAMPLING__TOP_K=20). The usual ones have a short form, and one
has a name that other programs use too."""


_COMMAND_LINE: Final = "command line"
"""The place of a value from flags that no single flag has."""


class _Layer(msgspec.Struct, frozen=True):
    way: Literal["file", "variable", "flag"]
    where: str
    """The file, variable or flag, for errors."""
    values: dict[str, Any]
    """Each setting in its present section."""
    written: dict[str, str] = {}
    """Settings that came from an old section: present name → the name as it was written."""


class _SamplingSection(msgspec.Struct):
    """The part of a configuration whose ranges are in `SamplingParams`, not in `SamplingDefaults`."""

    sampling: SamplingParams = SamplingParams()


def load_config(
    paths: Paths,
    *,
    environ: Mapping[str, str],
    file: Path | None = None,
    flags: Mapping[str, Any] | None = None,
) -> Config:
    """Read and check all settings.

    Args:
        file: replaces the usual config.toml, and must exist; the usual one may be missing.
        flags: by dotted path (`{"model.name": "x", "sampling.temperature": 0.2}`); None: not given.

    Raises:
        ConfigError: one line with the file or variable, the setting, what is wrong, and the cure.
    """
    return config_and_names(paths, environ=environ, file=file, flags=flags)[0]


def config_and_names(
    paths: Paths,
    *,
    environ: Mapping[str, str],
    file: Path | None = None,
    flags: Mapping[str, Any] | None = None,
) -> tuple[Config, dict[str, str]]:
    """As `load_config`, and how messages name each setting: by the flag, the variable or the place in the file that gives
    its value; for a table, with the file. One that nothing gives has its flag's name, if it has a flag. All sources are read
    once, since a file may be a pipe.
    """
    values: dict[str, Any] = {}
    config, names = config_type()(), dict(FLAGS)
    for layer in _layers(paths, environ, file, flags or {}):
        try:
            values = _merged(values, layer.values)
            config = _checked(values, layer)
        except RecursionError as error:
            raise ConfigError(layer.where, "is nested too deeply", cure="take it out") from error
        for setting, value in _given(layer.values):
            if layer.way == "file":
                of_file = f" in {shortened(layer.where)}" if isinstance(value, dict) else ""
                names[setting] = in_file(layer.written.get(setting, setting)) + of_file
            elif layer.where != _COMMAND_LINE:
                names[setting] = layer.where
    return config, names


def place_of(
    setting: str,
    paths: Paths,
    *,
    environ: Mapping[str, str],
    file: Path | None = None,
    flags: Mapping[str, Any] | None = None,
) -> str:
    """The source of the value of `setting` (`ui.theme`, or a section): the file, the variable or the flag. The file if none
    gives it."""
    for layer in reversed(list(_layers(paths, environ, file, flags or {}))):
        if any(setting == given for given, _ in _given(layer.values)):
            return layer.where
    return str(file or paths.config_file)


def _given(values: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    """Every section and setting in `values`, its dotted path and its value."""
    for name, value in values.items():
        path = f"{above}{name}"
        yield path, value
        if isinstance(value, dict):
            yield from _given(cast("dict[str, Any]", value), f"{path}.")


def _layers(
    paths: Paths, environ: Mapping[str, str], file: Path | None, flags: Mapping[str, Any]
) -> Iterator[_Layer]:
    if file is not None or os.path.lexists(paths.config_file):
        chosen = expanded(file) if file is not None else paths.config_file
        yield _layer("file", str(chosen), read_toml(chosen))
    for variable, setting in SHORT_VARIABLES.items():
        if text := environ.get(variable):
            yield _variable_layer(variable, setting.split("."), text)
    for variable in sorted(environ):
        if variable.startswith(PREFIX) and "__" in variable:
            path = variable.removeprefix(PREFIX).lower().split("__")
            _require_one_place(variable, path, environ)
            yield _variable_layer(variable, path, environ[variable])
    for setting, value in flags.items():
        if value is not None:
            where = flag_of(setting, value) or _COMMAND_LINE
            yield _layer("flag", where, _nested(setting.split("."), value))


def _require_one_place(variable: str, path: list[str], environ: Mapping[str, str]) -> None:
    """Raises ConfigError if a setting that has moved is in the variables of both places: neither is the later one."""
    present = f"{PREFIX}{'__'.join(new_path(path))}".upper()
    if new_path(path) != path and present in environ:
        what = f"is the same setting as {present}, and both are given"
        raise ConfigError(variable, what, cure=f"keep {present}")


def _layer(way: Literal["file", "variable", "flag"], where: str, values: dict[str, Any]) -> _Layer:
    return _Layer(way, where, *at_new_places(values, where))


def _variable_layer(variable: str, path: list[str], text: str) -> _Layer:
    """One environment variable, its text converted to the setting's type. A text that does not fit stays a text, and the
    check of the types then reports what was expected."""
    text = decoded(text)
    value: Any = text
    match value_kind(new_path(path)):
        case "list":
            value = [part.strip() for part in text.split(",") if part.strip()]
        case "bool":
            value = _converted(text, bool)
        case "int":
            value = _converted(text, int)
        case "float":
            value = _converted(text, float)
        case "text" | "section" | None:
            pass
    return _layer("variable", variable, _nested(path, value))


def _converted(text: str, kind: type[bool | int | float]) -> Any:
    try:
        return msgspec.convert(text.strip(), decodable(kind), strict=False)
    except msgspec.ValidationError:
        return text


def _nested(path: list[str], value: Any) -> dict[str, Any]:
    for name in reversed(path):
        value = {name: value}
    return cast("dict[str, Any]", value)


def _merged(below: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    """`below` with the values of `above`, merged section by section; a list replaces a list."""
    merged = dict(below)
    for name, value in above.items():
        under = merged.get(name)
        if isinstance(under, dict) and isinstance(value, dict):
            value = _merged(cast("dict[str, Any]", under), cast("dict[str, Any]", value))
        merged[name] = value
    return merged


def _checked(values: dict[str, Any], layer: _Layer) -> Config:
    """`values` as a `Config`. An error is of `layer`, since all layers before it were right."""
    where = layer.where
    try:
        config = msgspec.convert(values, decodable(config_type()))
        msgspec.convert(values, decodable(_SamplingSection))
    except msgspec.ValidationError as error:
        raise _config_error(error, layer) from error
    if config.model.engine not in engine_choices():
        what = f"is {config.model.engine!r}, which is not among the choices"
        raise ConfigError(where, what, setting="$.model.engine", cure=expectation(["model", "engine"]))
    both = sorted(set(config.ui.submit_keys) & set(config.ui.newline_keys))
    if both:
        raise ConfigError(
            where,
            f"`{both[0]}` cannot both send the message and begin a new line",
            setting="$.ui",
            cure="take it out of submit_keys or newline_keys",
        )
    return config


def _config_error(error: msgspec.ValidationError, layer: _Layer) -> ConfigError:
    what, path, cure = problem(error)
    setting = layer.written.get(".".join(names_in(path)[:2]), path)
    if layer.way == "flag" and names_in(path)[-1:] == ["stop"]:
        cure = "give at most 16 texts, each of 1 to 256 characters"  # several flags, not a list
    return ConfigError(layer.where, what, setting=setting, cure=cure)
