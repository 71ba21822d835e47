"""Text and JSON files of a model folder."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, cast

from ttchat_tui.domain.model_files import LARGEST_TEXT, LFS_POINTER
from ttchat_tui.domain.special_files import open_regular
from ttchat_tui.engine.base import ModelLoadError


def read_json(path: Path) -> dict[str, Any]:
    """The JSON object in a file.

    Raises:
        ModelLoadError: the file is missing or holds no JSON object.
    """
    try:
        value: Any = json.loads(read_text(path))
    except (ValueError, RecursionError) as error:
        raise ModelLoadError(f"{path} cannot be read: {error}.", "Download the model again.") from error
    if not isinstance(value, dict):
        raise ModelLoadError(f"{path} holds no JSON object.", "Download the model again.")
    return cast(dict[str, Any], value)


def read_text(path: Path) -> str:
    """The text of a file.

    Raises:
        ModelLoadError: it cannot be read, is no UTF-8, or is not the file that it should be.
    """
    check_text(path)
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise ModelLoadError(f"{path} cannot be read: {error}.", "Download the model again.") from error


def check_text(path: Path) -> None:
    """
    Raises:
        ModelLoadError: the file cannot be read, is too large for a text, or is the pointer that git leaves in place of a large
            file it did not fetch.
    """
    try:
        size = path.stat().st_size
        with open_regular(path) as file:
            start = file.read(len(LFS_POINTER))
    except OSError as error:
        raise ModelLoadError(f"{path} cannot be read: {error}.", "Download the model again.") from error
    if start == LFS_POINTER:
        raise ModelLoadError(
            f"{path} is a git-lfs pointer, not the file itself.", "Run `git lfs pull` in its folder."
        )
    if size > LARGEST_TEXT:
        raise ModelLoadError(f"{path} has {size:,} bytes: it is damaged.", "Download the model again.")


def read_json_if_there(path: Path) -> dict[str, Any]:
    """As `read_json`; empty if the file does not exist."""
    return read_json(path) if path.exists() else {}
