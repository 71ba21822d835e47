"""Reading a damaged SQLite file past SQLite: each page for itself, each record that is whole in it.

A walk from the root ends at the first broken page, and takes all that lies below it along. Pages say what they are,
though, so that leaves can be read without the way that led to them (https://www.sqlite.org/fileformat2.html, section
1.6 for pages, 2.1 for records). Pages that were freed hold nothing: every connection of ours overwrites them.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Final, NamedTuple, Protocol, TypeAlias

Field: TypeAlias = str | int | float | bytes | None

FILE_HEADER: Final = 100
"""Bytes of the first page that come before what other pages begin with."""

_TABLE_LEAF: Final = 0x0D
_INDEX_LEAF: Final = 0x0A
_INDEX_INTERIOR: Final = 0x02
_INTEGER_SIZES: Final = {1: 1, 2: 2, 3: 3, 4: 4, 5: 6, 6: 8}
"""Bytes by serial type."""


class Record(NamedTuple):
    rowid: int | None
    """None in an index."""
    fields: tuple[Field, ...]


class Data(Protocol):
    """Bytes, or a file mapped to memory."""

    def __len__(self) -> int: ...

    def __getitem__(self, part: slice, /) -> bytes: ...


class _DamagedError(Exception):
    """This record cannot be read."""


def records(data: Data, page_size: int, reserved: int) -> Iterator[Record]:
    """Every record of a table's leaf or an index that is whole, in the order of the file.

    `reserved`: bytes at the end of each page that SQLite leaves alone.
    """
    for number in range(1, len(data) // page_size + 1):
        page = data[(number - 1) * page_size : number * page_size]
        start = FILE_HEADER if number == 1 else 0
        kind = page[start]
        if kind not in (_TABLE_LEAF, _INDEX_LEAF, _INDEX_INTERIOR):
            continue
        first_pointer = start + (12 if kind == _INDEX_INTERIOR else 8)
        count = int.from_bytes(page[start + 3 : start + 5], "big")
        for at in range(first_pointer, min(first_pointer + 2 * count, page_size - 1), 2):
            offset = int.from_bytes(page[at : at + 2], "big")
            try:
                yield _record(data, page, offset, kind, page_size - reserved)
            except (_DamagedError, IndexError, struct.error):
                continue


def _record(data: Data, page: bytes, offset: int, kind: int, usable: int) -> Record:
    """The cell at `offset`. Raises `_DamagedError` or IndexError."""
    if kind == _INDEX_INTERIOR:
        offset += 4  # the page below
    length, offset = _varint(page, offset)
    rowid = None
    if kind == _TABLE_LEAF:
        rowid, offset = _varint(page, offset)
        rowid -= (rowid >> 63) << 64
    if length > len(data):
        raise _DamagedError
    local = _local_length(length, kind, usable)
    payload = page[offset : offset + local]
    if offset + local > usable:
        raise _DamagedError
    if local < length:
        further = int.from_bytes(page[offset + local : offset + local + 4], "big")
        payload += _overflow(data, further, length - local, len(page), usable)
    return Record(rowid, _fields(payload))


def _local_length(length: int, kind: int, usable: int) -> int:
    """How much of a payload stays in the page (section 1.6, "the payload spill")."""
    most = usable - 35 if kind == _TABLE_LEAF else (usable - 12) * 64 // 255 - 23
    if length <= most:
        return length
    least = (usable - 12) * 32 // 255 - 23
    fitting = least + (length - least) % (usable - 4)
    return fitting if fitting <= most else least


def _overflow(data: Data, number: int, length: int, page_size: int, usable: int) -> bytes:
    """`length` bytes from the chain of pages that begins with `number`."""
    parts: list[bytes] = []
    while length > 0:
        if not 1 < number <= len(data) // page_size:
            raise _DamagedError
        page = data[(number - 1) * page_size : (number - 1) * page_size + usable]
        parts.append(page[4 : 4 + length])
        length -= usable - 4
        number = int.from_bytes(page[:4], "big")
    if number != 0:
        raise _DamagedError
    return b"".join(parts)


def _fields(payload: bytes) -> tuple[Field, ...]:
    end, at = _varint(payload, 0)
    types: list[int] = []
    while at < end:
        serial, at = _varint(payload, at)
        types.append(serial)
    if at != end:
        raise _DamagedError
    fields: list[Field] = []
    for serial in types:
        field, at = _field(payload, at, serial)
        fields.append(field)
    if at != len(payload):
        raise _DamagedError
    return tuple(fields)


def _field(payload: bytes, at: int, serial: int) -> tuple[Field, int]:
    if serial in _INTEGER_SIZES:
        end = at + _INTEGER_SIZES[serial]
        return int.from_bytes(payload[at:end], "big", signed=True), end
    if serial == 7:
        return struct.unpack_from(">d", payload, at)[0], at + 8
    if serial in (0, 8, 9):
        return (None if serial == 0 else serial - 8), at
    if serial < 12:
        raise _DamagedError
    end = at + (serial - 12) // 2
    if end > len(payload):
        raise _DamagedError
    content = payload[at:end]
    return (content.decode("utf-8", "replace") if serial % 2 else content), end


def _varint(page: bytes, at: int) -> tuple[int, int]:
    """Big-endian, seven bits a byte, eight in a ninth; and where it ends."""
    value = 0
    for place in range(at, at + 8):
        value = value << 7 | page[place] & 0x7F
        if page[place] < 0x80:
            return value, place + 1
    return value << 8 | page[at + 8], at + 9
