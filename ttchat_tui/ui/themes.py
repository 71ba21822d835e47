"""Colour themes from TOML files: the shipped ones, and the user's own, which override them by name."""

from __future__ import annotations

import functools
import re
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

import msgspec
from textual.color import Color, ColorParseError
from textual.theme import Theme

from ttchat_tui.config.describe import error_path
from ttchat_tui.config.errors import about
from ttchat_tui.config.paths import shipped
from ttchat_tui.domain.decoding import decodable
from ttchat_tui.domain.special_files import special_file

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib  # pyright: ignore[reportMissingImports]

DEFAULT_THEME: Final = "tenstorrent-dark"


ANSI_GAPS: Final[dict[str, str]] = {
    "ansi-background": "ansi_default",
    "ansi-foreground": "ansi_default",
    "foreground-disabled": "ansi_default",
    "surface-active": "ansi_default",
}
"""Variables that Textual 8.2.8 leaves undefined in themes of ANSI colours, although its own style sheets use them."""


class Colors(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The colours of one theme: `#rrggbb`, a CSS name, or `ansi_blue` etc. for the terminal's own colours."""

    primary: str
    foreground: str
    background: str
    secondary: str | None = None
    accent: str | None = None
    surface: str | None = None
    panel: str | None = None
    success: str | None = None
    warning: str | None = None
    error: str | None = None


class ThemeFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The schema of a theme file."""

    name: str
    """Lower case, digits and hyphens."""
    colors: Colors
    dark: bool = True
    ansi: bool = False
    """Use the terminal's 16 colours instead of converting them to RGB."""
    variables: dict[str, str] = {}
    """Textual's theme variables to override: `text-muted`, `border`, `footer-background` …"""


class ThemeError(Exception):
    """A theme file that cannot be used. `str()` names the file, the key and a cure in one line."""

    def __init__(self, file: Path, problem: str) -> None:
        super().__init__(about(str(file), problem))


def load_themes(folders: Iterable[Path]) -> tuple[list[Theme], list[ThemeError]]:
    """The themes in the shipped folder and then in `folders` (missing ones are skipped), sorted by name.

    A later theme replaces an earlier one of the same name. A file that cannot be used is reported as an error; the others
    load.
    """
    themes: dict[str, Theme] = {}
    errors: list[ThemeError] = []
    for folder in (shipped("themes"), *folders):
        for file in sorted(folder.glob("*.toml")) if folder.is_dir() else []:
            try:
                theme = read_theme(file)
            except ThemeError as error:
                errors.append(error)
            else:
                themes[theme.name] = theme
    return [themes[name] for name in sorted(themes)], errors


def theme_of_16_colors(theme: Theme) -> str:
    """The theme to use in place of `theme` on a terminal with 16 colours. Text in 24-bit colours, rounded to 16, would be
    unreadable."""
    if theme.ansi:
        return theme.name
    return "ansi-16" if theme.dark else "ansi-16-light"


def read_theme(file: Path) -> Theme:
    """The theme in `file`.

    Raises:
        ThemeError: it is unreadable or not TOML, a key is unknown or missing, or a value is not a colour.
    """
    if what := special_file(file):
        raise ThemeError(file, f"is {what}, not a file")
    try:
        parsed = msgspec.convert(tomllib.loads(file.read_text(encoding="utf-8")), decodable(ThemeFile))
    except OSError as error:
        raise ThemeError(file, f"cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ThemeError(file, "is not UTF-8 text; save it as UTF-8") from error
    except tomllib.TOMLDecodeError as error:
        raise ThemeError(file, f"is not TOML: {error}") from error
    except msgspec.ValidationError as error:
        example = shipped("themes") / f"{DEFAULT_THEME}.toml"
        what, path = error_path(error)
        place = path.removeprefix("$").removeprefix(".")
        problem = about(place, what) if place else what
        raise ThemeError(file, f"{problem}; {example} shows every key") from error
    return _checked(parsed, file)


def _checked(parsed: ThemeFile, file: Path) -> Theme:
    if not parsed.name.replace("-", "").isalnum() or parsed.name != parsed.name.lower():
        raise ThemeError(file, f"name: '{parsed.name}' must be lower-case letters, digits and hyphens")
    colors: dict[str, str] = {
        key: value for key, value in msgspec.to_builtins(parsed.colors).items() if value is not None
    }
    for key, value in colors.items():
        try:
            Color.parse(value)
        except ColorParseError as error:
            cure = "write #rrggbb, a CSS colour name, or ansi_blue"
            raise ThemeError(file, f"colors.{key}: '{value}' is not a colour; {cure}") from error
    variables = {**(ANSI_GAPS if parsed.ansi else {}), **parsed.variables}
    theme = Theme(name=parsed.name, dark=parsed.dark, ansi=parsed.ansi, variables=variables, **_typed(colors))
    _check_variables(theme, file)
    return theme


def _check_variables(theme: Theme, file: Path) -> None:
    """Unknown variables are errors: otherwise a typing error would have no effect and no message."""
    for key in theme.variables:
        if key not in _variable_names():
            raise ThemeError(file, f"variables.{key}: there is no such variable; remove it")
    for key, value in theme.variables.items():
        if not key.endswith("-style") and not _is_color(value):
            raise ThemeError(file, f"variables.{key}: '{value}' is not a colour; write #rrggbb or auto 60%")


@functools.cache
def _variable_names() -> frozenset[str]:
    """The variables that Textual generates for every theme."""
    return frozenset(Theme(name="any", primary="white").to_color_system().generate())


def _is_color(value: str) -> bool:
    """Whether a style sheet accepts `value` as a colour: a colour or `auto`, optionally with an opacity."""
    name, _, opacity = value.partition(" ")
    if opacity and not re.fullmatch(r"\d+(\.\d+)?%", opacity):
        return False
    try:
        Color.parse(name if name != "auto" else "black")
    except ColorParseError:
        return False
    return True


def _typed(colors: dict[str, str]) -> dict[str, Any]:
    """For type checkers: `Theme` takes strings and flags; these are all strings."""
    return dict(colors)
