"""Reader of the GGUF container: metadata and tensor offsets, without tensor data.

Format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md (versions 2 and 3, little-endian). The gguf package's
reader wraps every string of the vocabulary in numpy views, 2.5 s for SmolLM2's 98,000 strings. This one takes 0.05 s.
"""

from __future__ import annotations

import math
import mmap
import struct
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import msgspec

from ttchat_tui.domain.ggml_types import GGML_TYPES, UNREAD_TYPES
from ttchat_tui.domain.model_files import (
    LONGEST_GGUF_HEADER,
    MOST_GGUF_FIELDS,
    MOST_GGUF_STRINGS,
    MOST_GGUF_TENSORS,
)
from ttchat_tui.domain.shards import shards_of
from ttchat_tui.domain.special_files import open_regular
from ttchat_tui.engine.base import ModelLoadError

_SCALARS: Final = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
"""GGUF value type → struct code."""
_STRING: Final = 8
_ARRAY: Final = 9
_MAX_DIMENSIONS: Final = 8


class TensorEntry(msgspec.Struct, frozen=True):
    """One tensor. `shape` is [out, in], reversed from the file; `offset` is in bytes from the start of the file."""

    name: str
    shape: tuple[int, ...]
    type_id: int
    """GGML type number."""
    offset: int
    shard: mmap.mmap | None = None
    """The memory map of its file, of a model in several; None: the first one."""

    @property
    def elements(self) -> int:
        return math.prod(self.shape)

    @property
    def size(self) -> int:
        """Bytes. Raises KeyError for an unknown type."""
        kind = GGML_TYPES[self.type_id]
        return self.elements // kind.weights * kind.size

    def part(self, first: int, rows: int) -> TensorEntry:
        """A run of its rows, those of three dimensions counted through; all if `rows` is 0.

        Raises:
            ModelLoadError: its type is unknown.
        """
        if not rows:
            return self
        kind = GGML_TYPES.get(self.type_id)
        if kind is None:
            raise ModelLoadError(f"The tensor {self.name!r} has the unknown GGML type {self.type_id}.")
        rest = self.shape[-1:] if len(self.shape) > 1 else ()
        row_bytes = math.prod(rest) // kind.weights * kind.size
        return msgspec.structs.replace(self, shape=(rows, *rest), offset=self.offset + first * row_bytes)


class GgufContainer:
    """An open GGUF file: `metadata` by key, `tensors` by the names in the file, and the memory map `data`.

    Of a model in shards, the metadata are those of the first file, and the tensors are those of all.
    """

    def __init__(self, path: Path, *, is_shard: bool = False) -> None:
        """`is_shard`: read this file only.

        Raises:
            ModelLoadError: a file is missing, unreadable, not GGUF, or truncated.
        """
        path, *others = [path] if is_shard else shards_of(path)
        self._open(path)
        for number, other in enumerate(others, start=1):
            self._add_shard(other, number)
        if not is_shard:
            self._check_shards(path, len(others) + 1)

    def _add_shard(self, path: Path, number: int) -> None:
        shard = GgufContainer(path, is_shard=True)
        if shard.metadata.get("split.no", number) != number or shard.tensors.keys() & self.tensors.keys():
            raise ModelLoadError(
                f"{path} is another part of the model than its name says, or a part of another model.",
                "Download all files of the model, and keep their names.",
            )
        for name, entry in shard.tensors.items():
            self.tensors[name] = msgspec.structs.replace(entry, shard=shard.data)

    def _check_shards(self, path: Path, count: int) -> None:
        """The names of files are the user's: the first file says how many there are, and what they hold."""
        stated = self.metadata.get("split.count", count)
        tensors = self.metadata.get("split.tensors.count", len(self.tensors))
        if stated not in (0, count) or tensors != len(self.tensors):
            raise ModelLoadError(
                f"{path} is one of {stated} files with {tensors} tensors; {count} with {len(self.tensors)} are here.",
                "Download all files of the model, and keep their names.",
            )

    def _open(self, path: Path) -> None:
        try:
            with open_regular(path) as file:
                self.data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        except (OSError, ValueError) as error:
            raise ModelLoadError(f"{path} cannot be read: {error}.", "Check the path.") from error
        self.metadata: dict[str, Any] = {}
        self.tensors: dict[str, TensorEntry] = {}
        try:
            self._parse()
        except ModelLoadError:
            self.data.close()
            raise
        except (struct.error, IndexError, KeyError, OverflowError, RecursionError) as error:
            self.data.close()
            raise ModelLoadError(
                f"{path} is damaged or truncated: its header cannot be read to the end.",
                "Download the file again.",
            ) from error

    def _parse(self) -> None:
        if self.data[:4] != b"GGUF":
            raise ModelLoadError("This is not a GGUF file: it does not start with GGUF.", "Check the path.")
        cursor = _Cursor(self.data, 4)
        version = cursor.scalar("I")
        if version and version & 0xFFFF == 0:
            raise ModelLoadError(
                "The GGUF file is big-endian, for another kind of machine.",
                "Download the little-endian file, which is the usual one.",
            )
        if version not in (2, 3):
            raise ModelLoadError(
                f"GGUF version {version} is not supported; 2 and 3 are.", "Choose a newer file of the model."
            )
        tensor_count, field_count = cursor.scalar("Q"), cursor.scalar("Q")
        if tensor_count > MOST_GGUF_TENSORS or field_count > MOST_GGUF_FIELDS:
            raise _damaged(f"The GGUF file claims {tensor_count:,} tensors and {field_count:,} fields")
        for _ in range(field_count):
            key = cursor.string()
            if key in self.metadata:
                raise _damaged(f"The GGUF file has the key {key!r} twice")
            self.metadata[key] = cursor.value(cursor.scalar("I"))
        found = [self._entry(cursor) for _ in range(tensor_count)]
        alignment = self._alignment()
        start = (cursor.position + alignment - 1) // alignment * alignment
        for entry in found:
            if entry.name in self.tensors:
                raise _damaged(f"The GGUF file has the tensor {entry.name!r} twice")
            if entry.offset % alignment:
                raise _damaged(f"The tensor {entry.name!r} is not at a multiple of {alignment} bytes")
            self.tensors[entry.name] = msgspec.structs.replace(entry, offset=entry.offset + start)
            self._check_place(self.tensors[entry.name])
        self._check_overlaps()

    def _check_place(self, entry: TensorEntry) -> None:
        """Raises ModelLoadError for a tensor of an unknown type, or one that the file does not hold whole."""
        kind = GGML_TYPES.get(entry.type_id)
        if kind is None:
            name = UNREAD_TYPES.get(entry.type_id)
            raise ModelLoadError(
                f"The tensor {entry.name!r} has the GGML type {entry.type_id}{f' ({name})' if name else ''}, which is not supported.",
                "Choose another quantisation of the model.",
            )
        if entry.elements and entry.shape and entry.shape[-1] % kind.weights:
            raise _damaged(
                f"The tensor {entry.name!r} has rows of {entry.shape[-1]:,} weights, but {kind.name} has blocks of {kind.weights}"
            )
        if entry.offset + entry.size > len(self.data):
            raise ModelLoadError(
                f"The GGUF file is truncated: it ends before the end of the tensor {entry.name!r}.",
                "Download the file again.",
            )

    def _check_overlaps(self) -> None:
        """Raises ModelLoadError if two tensors share bytes: one of them would be read as numbers that it has not."""
        placed = sorted(self.tensors.values(), key=lambda entry: entry.offset)
        for before, after in pairwise(placed):
            if before.offset + before.size > after.offset:
                raise _damaged(f"The tensors {before.name!r} and {after.name!r} are at the same place")

    def _alignment(self) -> int:
        """Bytes; a power of two, as `gguf_init_from_reader` of ggml's gguf.cpp asks for."""
        value = self.metadata.get("general.alignment", 32)
        if type(value) is not int or value < 1 or value & (value - 1):
            raise ModelLoadError(
                f"The GGUF file has general.alignment = {value!r}, which is no power of two: the file is damaged.",
                "Download the file again, or choose another GGUF file of the model.",
            )
        return value

    @staticmethod
    def _entry(cursor: _Cursor) -> TensorEntry:
        name = cursor.string()
        dimensions = cursor.scalar("I")
        if dimensions > _MAX_DIMENSIONS:
            raise ModelLoadError(
                f"The tensor {name!r} has {dimensions} dimensions: the file is damaged.",
                "Download the file again.",
            )
        shape = tuple(cursor.scalar("Q") for _ in range(dimensions))
        return TensorEntry(name, shape[::-1], cursor.scalar("I"), cursor.scalar("Q"))


def _damaged(fault: str) -> ModelLoadError:
    return ModelLoadError(
        f"{fault}: the file is damaged.", "Download the file again, or choose another GGUF file of the model."
    )


class _Cursor:
    """Reads consecutive values."""

    def __init__(self, data: mmap.mmap, position: int) -> None:
        self._data = data
        self._end = min(len(data), LONGEST_GGUF_HEADER)
        self.position = position

    def scalar(self, code: str) -> Any:
        (value,) = struct.unpack_from("<" + code, self._data, self.position)
        self._skip(struct.calcsize("<" + code))
        return value

    def _skip(self, size: int) -> int:
        """Go on by so many bytes; the position before. Raises IndexError beyond the end of the longest header."""
        before = self.position
        self.position += size
        if self.position > self._end:
            raise IndexError("the header has no end")
        return before

    def string(self) -> str:
        (length,) = struct.unpack_from("<Q", self._data, self._skip(8))
        start = self._skip(length)
        # Vocabularies of old files contain invalid UTF-8, which must not prevent a load.
        return self._data[start : self.position].decode("utf-8", "replace")

    def value(self, type_id: int) -> Any:
        if type_id == _STRING:
            return self.string()
        if type_id != _ARRAY:
            return self.scalar(_SCALARS[type_id])
        item_type, count = self.scalar("I"), self.scalar("Q")
        if item_type == _STRING:
            if count > MOST_GGUF_STRINGS:
                raise IndexError("too many strings")
            return [self.string() for _ in range(count)]
        layout = f"<{count}{_SCALARS[item_type]}"  # Arrays in arrays: ggml has none either.
        start = self._skip(struct.calcsize(layout))
        return list(struct.unpack_from(layout, self._data, start))
