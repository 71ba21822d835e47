"""What a GGUF file is, and whether it is whole, from its header.

Format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md. The engine's reader, which knows all of it, is in a layer
that the list of models does not import.
"""

from __future__ import annotations

import math
import mmap
import struct
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from itertools import takewhile
from pathlib import Path
from typing import Final

from ttchat_tui.domain.ggml_types import GGML_TYPES
from ttchat_tui.domain.model_files import (
    LONGEST_GGUF_HEADER,
    MOST_GGUF_FIELDS,
    MOST_GGUF_STRINGS,
    MOST_GGUF_TENSORS,
    gguf_that_is_no_model,
)
from ttchat_tui.domain.special_files import open_regular

_SIZES: Final = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}
"""GGUF value type → bytes."""
_UINT32: Final = 4
_STRING: Final = 8
_ARRAY: Final = 9
_WANTED: Final = (b"general.type", b"general.architecture")
_LONGEST: Final = 1 << 16
"""Bytes of a string that is read. Longer ones are no names."""
_HEADER: Final = struct.Struct("<4sIQQ")
"""Magic, version, numbers of tensors and of fields."""
_UNREADABLE: Final = (OSError, OverflowError, RecursionError, ValueError, KeyError)


def what_else(path: Path) -> str:
    """What a file is that holds no model to chat with; empty for one that does, and for one that cannot be read: the engine
    says why."""
    try:
        with _mapped(path) as data:
            head = takewhile(lambda field: field[0].startswith(b"general."), _fields(data))
            found = {
                key: _text(data, at)[0].decode()
                for key, kind, at, _ in head
                if kind == _STRING and key in _WANTED
            }
    except (*_UNREADABLE, struct.error):
        return ""
    return gguf_that_is_no_model(*(found.get(key, "") for key in _WANTED))


def is_truncated(path: Path) -> bool:
    """Whether a file ends before the tensors that its header declares do, or inside the header: a download that was broken
    off. No tensor is read. False for one that is damaged otherwise: the engine says how."""
    try:
        with _mapped(path) as data:
            return _declared_end(data) > len(data)
    except struct.error:  # a value beyond the end
        return True
    except _UNREADABLE:
        return False


@contextmanager
def _mapped(path: Path) -> Generator[mmap.mmap]:
    with open_regular(path) as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        yield data


def _fields(data: mmap.mmap) -> Iterator[tuple[bytes, int, int, int]]:
    """Key, type, and where the value begins and ends, of each field."""
    *_, tensors, count = _HEADER.unpack_from(data)
    if tensors > MOST_GGUF_TENSORS or count > MOST_GGUF_FIELDS:
        raise ValueError(f"{tensors} tensors and {count} fields")
    at = _HEADER.size
    for _ in range(count):
        key, at = _text(data, at)
        (kind,) = struct.unpack_from("<I", data, at)
        end = _end_of(data, at + 4, kind)
        yield key, kind, at + 4, end
        at = end


def _declared_end(data: mmap.mmap) -> int:
    """Where the last tensor ends."""
    _, _, tensors, _ = _HEADER.unpack_from(data)
    at, alignment, end = _HEADER.size, 32, 0
    for key, kind, value, after in _fields(data):
        at = after
        if key == b"general.alignment" and kind == _UINT32:
            (alignment,) = struct.unpack_from("<I", data, value)
    for _ in range(tensors):
        _, at = _text(data, at)
        (dimensions,) = struct.unpack_from("<I", data, at)
        *shape, kind, offset = struct.unpack_from(f"<{dimensions}QIQ", data, at + 4)
        at += 4 + 8 * dimensions + 12
        block = GGML_TYPES[kind]
        end = max(end, offset + math.prod(shape) // block.weights * block.size)
    return math.ceil(at / alignment) * alignment + end


def _end_of(data: mmap.mmap, at: int, kind: int) -> int:
    if kind == _STRING:
        (length,) = struct.unpack_from("<Q", data, at)
        return at + 8 + int(length)
    if kind != _ARRAY:
        return at + _SIZES[kind]
    item, count = struct.unpack_from("<IQ", data, at)
    at += 12
    if item != _STRING:
        return at + _SIZES[item] * int(count)
    if count > MOST_GGUF_STRINGS or at > LONGEST_GGUF_HEADER:
        raise ValueError(f"{count} strings at {at}")
    for _ in range(count):
        at = _end_of(data, at, item)
    return at


def _text(data: mmap.mmap, at: int) -> tuple[bytes, int]:
    """A string, and where it ends. Raises ValueError if it is too long to be a name."""
    (length,) = struct.unpack_from("<Q", data, at)
    if length > _LONGEST:
        raise ValueError(f"a string of {length} bytes")
    return data[at + 8 : at + 8 + length], at + 8 + int(length)
