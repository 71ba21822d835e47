"""Reader of one safetensors file through a memory map. The package's own reader needs torch for bfloat16.

Format: https://github.com/huggingface/safetensors#format: the header's length, a JSON header, the tensors' bytes.
"""

# numpy's stubs give results of arithmetic, `reshape` and `view` no type at Python 3.10.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

from __future__ import annotations

import math
import mmap
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from ttchat_tui.domain.decoding import decodable
from ttchat_tui.domain.model_files import LONGEST_SAFETENSORS_HEADER
from ttchat_tui.domain.special_files import open_regular
from ttchat_tui.engine.base import ModelLoadError
from ttchat_tui.engine.cpu.checkpoints.checkpoint import RawTensor
from ttchat_tui.engine.cpu.checkpoints.float_types import FLOAT_TYPES
from ttchat_tui.engine.cpu.checkpoints.mapped_bytes import bytes_at, drop_pages
from ttchat_tui.engine.cpu.checkpoints.parts import TensorPart

_LENGTH: Final = 8
"""Bytes of the header's length."""
_METADATA: Final = "__metadata__"


class _Entry(msgspec.Struct, frozen=True):
    dtype: str
    shape: tuple[int, ...]
    data_offsets: tuple[int, int]
    """From the end of the header."""


class SafetensorsContainer:
    """An open file, until no tensor of it is in use."""

    def __init__(self, path: Path) -> None:
        """
        Raises:
            ModelLoadError: the file is unreadable, damaged or truncated.
        """
        self._path = path
        try:
            with open_regular(path) as file:
                self._data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
            length = int.from_bytes(self._data[:_LENGTH], "little")
            if length > LONGEST_SAFETENSORS_HEADER:
                raise ValueError(f"it claims a header of {length:,} bytes")
            header = bytes_at(self._data, _LENGTH, length).tobytes()
            entries = msgspec.json.decode(header, type=decodable(dict[str, msgspec.Raw]))
            self._entries = {
                name: msgspec.json.decode(entry, type=decodable(_Entry))
                for name, entry in entries.items()
                if name != _METADATA
            }
            self._start = _LENGTH + length
            bytes_at(
                self._data, self._start, max((e.data_offsets[1] for e in self._entries.values()), default=0)
            )
        except (OSError, ValueError) as error:  # msgspec's errors are ValueErrors.
            raise self._unreadable(error) from error

    @property
    def names(self) -> Collection[str]:
        return self._entries.keys()

    @property
    def kinds(self) -> Mapping[str, str]:
        """safetensors' names of the types, by tensor."""
        return {name: entry.dtype for name, entry in self._entries.items()}

    def shape(self, name: str) -> tuple[int, ...]:
        """Outputs first.

        Raises:
            ModelLoadError: it is not in the file.
        """
        if name not in self._entries:
            raise self._unreadable(f"it has no tensor {name!r}")
        return self._entries[name].shape

    def raw(self, part: TensorPart) -> RawTensor:
        """Its own bytes.

        Raises:
            ModelLoadError: it is not in the file, or the file is truncated.
        """
        shape = self.shape(part.tensor)
        entry = self._entries[part.tensor]
        first, end = entry.data_offsets
        try:
            data = bytes_at(self._data, self._start + first, end - first)
        except ValueError as error:
            raise self._unreadable(error) from error
        kind = FLOAT_TYPES.get(entry.dtype)
        if kind is not None and math.prod(shape) * kind.size != len(data):
            raise self._unreadable(f"{part.tensor!r} has not the size of its shape")
        if not part.rows:
            return RawTensor(entry.dtype, entry.shape, data)
        rest = entry.shape[-1:] if len(entry.shape) > 1 else ()
        rows = data.reshape(math.prod(entry.shape) // math.prod(rest), -1)[
            part.first : part.first + part.rows
        ]
        return RawTensor(entry.dtype, (part.rows, *rest), rows.reshape(-1))

    def float32(self, part: TensorPart) -> NDArray[np.float32]:
        """A copy.

        Raises:
            ModelLoadError: as `raw`, or its type is not supported.
        """
        name, raw = part.tensor, self.raw(part)
        kind = FLOAT_TYPES.get(raw.kind)
        if kind is None:
            raise ModelLoadError(
                f"The tensor {name!r} in {self._path} is of type {raw.kind}, which is not supported.",
                "Choose a model with 16-bit or 32-bit weights.",
            )
        return kind.to_float32(raw.data).reshape(raw.shape)

    def release(self, name: str) -> None:
        """Take the tensor's pages out of this process."""
        first, end = self._entries[name].data_offsets
        drop_pages(self._data, self._start + first, end - first)

    def _unreadable(self, error: Any) -> ModelLoadError:
        return ModelLoadError(f"{self._path} cannot be read: {error}.", "Download the model again.")
