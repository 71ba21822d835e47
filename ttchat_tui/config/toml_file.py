"""Files that a user writes by hand: their text, and the TOML in it, with errors that name the place."""

from __future__ import annotations

import codecs
import os
import re
from pathlib import Path
from typing import Any, Final

import msgspec

from ttchat_tui.config.errors import ConfigError
from ttchat_tui.domain.decoding import decodable
from ttchat_tui.domain.special_files import special_file
from ttchat_tui.domain.user_paths import is_there

_TOML_PLACE: Final = re.compile(r"(.*?) \(at (line \d+, column \d+|end of document)\)$", re.DOTALL)


def read_toml(file: Path) -> dict[str, Any]:
    """The contents of a TOML file.

    Raises:
        ConfigError: missing, a folder, unreadable, not UTF-8, or broken TOML (with line and column).
    """
    return parsed_toml(read_text(file), str(file))


def read_text(file: Path) -> str:
    """The text of a file.

    Raises:
        ConfigError: missing, a folder, unreadable, or not UTF-8.
    """
    where = str(file)
    if str(file) != os.devnull and not where.startswith("/dev/fd/") and (what := special_file(file)):
        # A shell's `--config <(…)` is a pipe, and /dev/null the usual way to say "none": both are allowed.
        raise ConfigError(where, f"is {what}", cure="name a file")
    try:
        # Editors on Windows begin a text with a byte order mark, which TOML does not allow.
        return file.read_bytes().removeprefix(codecs.BOM_UTF8).decode()
    except FileNotFoundError as error:
        raise _missing(where) from error
    except IsADirectoryError as error:
        raise ConfigError(where, "is a folder", cure="name the file in it") from error
    except OSError as error:
        cure = "make it readable for you"
        raise ConfigError(where, f"cannot be read ({error.strerror})", cure=cure) from error
    except UnicodeDecodeError as error:
        what = f"is not UTF-8 text (byte {error.object[error.start]:#04x} at offset {error.start})"
        raise ConfigError(where, what, cure="save it as UTF-8") from error


def require_file(file: Path) -> None:
    """For a command that does not read it. Raises ConfigError: there is no such file."""
    if not is_there(str(file)):
        raise _missing(str(file))


def _missing(where: str) -> ConfigError:
    return ConfigError(where, "there is no such file", cure="correct the path, or leave it out")


def parsed_toml(text: str, where: str) -> dict[str, Any]:
    """The values in `text`.

    Raises:
        ConfigError: broken TOML, with its line.
    """
    try:
        return msgspec.toml.decode(text, type=decodable(dict[str, Any]))
    except RecursionError as error:
        raise ConfigError(
            where, "is nested too deeply", cure="no setting is more than a table in a table"
        ) from error
    except msgspec.DecodeError as error:
        place = _TOML_PLACE.match(str(error))
        what, at = place.groups() if place else (str(error), "TOML")
        if at == "end of document":
            at = f"line {len(text.rstrip().splitlines())}, the last one"
        raise ConfigError(where, f"{at}: {what}", cure="correct the TOML there") from error
