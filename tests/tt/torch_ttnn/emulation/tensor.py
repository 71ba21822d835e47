"""`ttnn.Tensor` over a torch tensor: format, layout, place and life."""

from __future__ import annotations

import enum
import itertools
from typing import TYPE_CHECKING, Any, Final

import torch

from tests.tt.torch_ttnn.emulation.settings import DRAM_MEMORY_CONFIG, MemoryConfig
from tests.tt.torch_ttnn.rounding import rounded

if TYPE_CHECKING:
    from tests.tt.torch_ttnn.emulation.device import MeshDevice

__all__ = ["TILE_SIZE", "DataType", "Layout", "Shape", "StorageType", "Tensor"]

TILE_SIZE: Final = 32


class DataType(enum.Enum):
    UINT8 = "uint8"
    UINT16 = "uint16"
    UINT32 = "uint32"
    INT32 = "int32"
    FLOAT32 = "float32"
    BFLOAT16 = "bfloat16"
    BFLOAT8_B = "bfloat8_b"
    BFLOAT4_B = "bfloat4_b"

    @property
    def torch(self) -> torch.dtype:
        """What `to_torch` gives; the block formats come as float32."""
        return torch.float32 if self.value.endswith("_b") else getattr(torch, self.value)


_FLOATS: Final = frozenset(DataType) - {DataType.UINT8, DataType.UINT16, DataType.UINT32, DataType.INT32}


class Layout(enum.Enum):
    ROW_MAJOR = 0
    TILE = 1


class StorageType(enum.Enum):
    HOST = 0
    DEVICE = 1


class Shape(tuple[int, ...]):
    """A dimension in front of the first is 1, as in ttnn: `Shape([96])[-2] == 1`."""

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, int) and index < -len(self):
            return 1
        return super().__getitem__(index)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, (tuple, list)) and tuple(self) == tuple(other)

    def __hash__(self) -> int:
        return hash(tuple(self))


class Box:
    """The memory of a tensor. A trace reads and writes boxes, as the card's reads and writes addresses.

    Floats are float32 with values of the tensor's format.
    """

    rounds = True
    """Otherwise each float format holds every value of float32, and results can be compared exactly."""

    def __init__(self, value: torch.Tensor, kind: DataType) -> None:
        self.fill(value, kind)

    def fill(self, value: torch.Tensor, kind: DataType) -> None:
        is_exact = not self.rounds and kind in _FLOATS
        self.value = rounded(value, DataType.FLOAT32.value if is_exact else kind.value).clone()


_ADDRESSES = itertools.count(1 << 20, 1 << 12)


class Tensor:
    def __init__(
        self,
        value: torch.Tensor,
        dtype: DataType,
        layout: Layout,
        device: MeshDevice | None = None,
        memory_config: MemoryConfig | None = None,
    ) -> None:
        self.box = Box(value, dtype)
        self.dtype = dtype
        self.layout = layout
        self._device = device
        self._memory_config = memory_config or DRAM_MEMORY_CONFIG
        self._address = next(_ADDRESSES)
        self._is_allocated = True

    def live_box(self) -> Box:
        """
        Raises:
            RuntimeError: the tensor was deallocated, or its card is closed.
        """
        if not self._is_allocated:
            raise RuntimeError(f"TT_FATAL: {self} is not allocated")
        if self._device is not None:
            self._device.require_open()
        return self.box

    @property
    def shape(self) -> Shape:
        return Shape(self.box.value.shape)

    @property
    def padded_shape(self) -> Shape:
        shape = list(self.box.value.shape)
        if self.layout is Layout.TILE:
            shape = [1] * (2 - len(shape)) + shape
            shape[-2:] = [-(-size // TILE_SIZE) * TILE_SIZE for size in shape[-2:]]
        return Shape(shape)

    def device(self) -> MeshDevice | None:
        return self._device

    def storage_type(self) -> StorageType:
        return StorageType.HOST if self._device is None else StorageType.DEVICE

    def memory_config(self) -> MemoryConfig:
        return self._memory_config

    def is_sharded(self) -> bool:
        return self._memory_config.is_sharded()

    def volume(self) -> int:
        return self.box.value.numel()

    def buffer_address(self) -> int:
        return self._address

    def deallocate(self, force: bool = True) -> None:
        self._is_allocated = False

    def cpu(self, *_: Any, **__: Any) -> Tensor:
        return Tensor(self._read(), self.dtype, self.layout)

    def to_torch(self) -> torch.Tensor:
        return self._read().to(self.dtype.torch, copy=True)

    def _read(self) -> torch.Tensor:
        if self._device is not None:
            self._device.refuse_in_capture("a read")
        return self.live_box().value

    def __getitem__(self, index: slice | tuple[slice, ...]) -> Tensor:
        parts = index if isinstance(index, tuple) else (index,)
        parts = (*parts, *[slice(None)] * (len(self.shape) - len(parts)))
        bounds = [part.indices(size) for part, size in zip(parts, self.shape, strict=True)]
        return _call("slice", self, [start for start, _, _ in bounds], [end for _, end, _ in bounds])

    def reshape(self, *shape: Any) -> Tensor:
        return _call("reshape", self, shape[0] if isinstance(shape[0], (tuple, list)) else shape)

    def __add__(self, other: Any) -> Tensor:
        return _call("add", self, other)

    def __repr__(self) -> str:
        return f"Tensor({list(self.box.value.shape)}, {self.dtype.value}, {self.layout.name})"


def _call(name: str, *arguments: Any) -> Tensor:
    from tests.tt.torch_ttnn.emulation.calls import Operation  # It needs this module.

    return Operation(name)(*arguments)
