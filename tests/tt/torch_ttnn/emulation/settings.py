"""Values that tell ttnn where and how to compute. Here they change no numbers, and are compared only: in the tests with a
mock card the real ttnn checks them."""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING, Any, Final


class Settings:
    """A bag of arguments, equal to another with the same ones."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        self._arguments = arguments
        self.__dict__.update(named)

    if TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any: ...

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and repr(self) == repr(other)

    def __hash__(self) -> int:
        return hash(repr(self))

    def __repr__(self) -> str:
        named = sorted((name, value) for name, value in self.__dict__.items() if name != "_arguments")
        return f"{type(self).__name__}{self._arguments}{named}"


class CoreCoord(Settings):
    def __init__(self, x: int, y: int) -> None:
        super().__init__(x=x, y=y)


class CoreGrid(Settings):
    def __init__(self, *, x: int, y: int) -> None:
        super().__init__(x=x, y=y)

    @property
    def num_cores(self) -> int:
        return self.x * self.y


class CoreRange(Settings):
    def __init__(self, start: CoreCoord, end: CoreCoord) -> None:
        super().__init__(start=start, end=end)

    def num_cores(self) -> int:
        return (self.end.x - self.start.x + 1) * (self.end.y - self.start.y + 1)


class CoreRangeSet(Settings):
    def __init__(self, ranges: Any) -> None:
        super().__init__(held=sorted(ranges, key=repr))

    def ranges(self) -> list[CoreRange]:
        return self.held

    def num_cores(self) -> int:
        return sum(each.num_cores() for each in self.held)


class MeshShape(tuple[int, ...]):
    """Positional: `MeshShape(1, 2)`."""

    def __new__(cls, *shape: int) -> MeshShape:
        return super().__new__(cls, shape)


class BufferType(enum.Enum):
    DRAM = 0
    L1 = 1


class TensorMemoryLayout(enum.Enum):
    INTERLEAVED = 0
    HEIGHT_SHARDED = 2
    WIDTH_SHARDED = 3


class ShardStrategy(enum.Enum):
    HEIGHT = 1
    WIDTH = 2


class ShardOrientation(enum.Enum):
    ROW_MAJOR = 0


class MemoryConfig(Settings):
    def __init__(
        self,
        memory_layout: TensorMemoryLayout = TensorMemoryLayout.INTERLEAVED,
        buffer_type: BufferType = BufferType.DRAM,
        shard_spec: Any = None,
    ) -> None:
        super().__init__(memory_layout=memory_layout, buffer_type=buffer_type, shard_spec=shard_spec)

    def is_sharded(self) -> bool:
        return self.memory_layout is not TensorMemoryLayout.INTERLEAVED


DRAM_MEMORY_CONFIG: Final = MemoryConfig()
L1_MEMORY_CONFIG: Final = MemoryConfig(buffer_type=BufferType.L1)
L1_HEIGHT_SHARDED_MEMORY_CONFIG: Final = MemoryConfig(TensorMemoryLayout.HEIGHT_SHARDED, BufferType.L1)
L1_WIDTH_SHARDED_MEMORY_CONFIG: Final = MemoryConfig(TensorMemoryLayout.WIDTH_SHARDED, BufferType.L1)


def create_sharded_memory_config(
    shape: Any, core_grid: Any, strategy: ShardStrategy, orientation: Any = None, *more: Any, **named: Any
) -> MemoryConfig:
    layout = TensorMemoryLayout[f"{strategy.name}_SHARDED"]
    return MemoryConfig(layout, BufferType.L1, Settings(list(shape), core_grid, orientation, *more, **named))


def num_cores_to_corerangeset(count: int, grid: Any, row_wise: bool = False, **_: Any) -> CoreRangeSet:
    """The first `count` cores of a grid, each as a range of its own."""
    places = [(n % grid.x, n // grid.x) if row_wise else (n // grid.y, n % grid.y) for n in range(count)]
    return CoreRangeSet({CoreRange(CoreCoord(*place), CoreCoord(*place)) for place in places})


class UnaryWithParam(Settings):
    def __init__(self, op_type: UnaryOpType, param: float | None = None) -> None:
        super().__init__(op_type=op_type, param=param)


class UnaryOpType(enum.Enum):
    GELU = "gelu"
    RELU = "relu"
    SILU = "silu"


class MathFidelity(enum.Enum):
    LoFi = 0
    HiFi2 = 2
    HiFi4 = 4


class Topology(enum.Enum):
    Ring = 1
    Linear = 2


class Arch(enum.Enum):
    WORMHOLE_B0 = "wormhole_b0"
    BLACKHOLE = "blackhole"


ClusterType = enum.Enum(
    "ClusterType", "N150 N300 T3K GALAXY TG P100 P150 P150_X2 P150_X4 P150_X8 P300 P300_X2 BLACKHOLE_GALAXY"
)
