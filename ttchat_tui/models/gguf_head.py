"""What a GGUF file is, from the first keys of its header.

Format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md. The engine's reader, which knows all of it, is in a layer
that the list of models does not import.
"""

from __future__ import annotations

import struct
from pathlib import Path
from typing import IO, Final

from ttchat_tui.domain.model_files import gguf_that_is_no_model

_SIZES: Final = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}
"""GGUF value type → bytes."""
_STRING: Final = 8
_ARRAY: Final = 9
_WANTED: Final = ("general.type", "general.architecture")
_LONGEST: Final = 1 << 16
"""Bytes of a string that is read. Longer ones are no names."""


def what_else(path: Path) -> str:
    """What a file is that holds no model to chat with; empty for one that does, and for one that cannot be read: the engine
    says why."""
    try:
        with path.open("rb") as file:
            found = _general(file)
    except (OSError, OverflowError, RecursionError, struct.error, ValueError, KeyError):
        return ""
    return gguf_that_is_no_model(*(found.get(key, "") for key in _WANTED))


def _general(file: IO[bytes]) -> dict[str, str]:
    """The strings among the keys `general.…` that open the header."""
    _, _, _, fields = struct.unpack("<4sIQQ", file.read(24))
    found: dict[str, str] = {}
    for _ in range(fields):
        key = _string(file)
        if not key.startswith("general."):
            break
        (kind,) = struct.unpack("<I", file.read(4))
        if kind == _STRING:
            found[key] = _string(file)
        else:
            _skip(file, kind)
    return found


def _skip(file: IO[bytes], kind: int) -> None:
    if kind == _STRING:
        _string(file)
    elif kind == _ARRAY:
        item, count = struct.unpack("<IQ", file.read(12))
        if item in (_STRING, _ARRAY):
            for _ in range(count):
                _skip(file, item)
        else:
            file.seek(_SIZES[item] * count, 1)
    else:
        file.seek(_SIZES[kind], 1)


def _string(file: IO[bytes]) -> str:
    (length,) = struct.unpack("<Q", file.read(8))
    if length > _LONGEST:
        raise ValueError("this is no name")
    return file.read(length).decode("utf-8", "replace")
