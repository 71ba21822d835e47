"""A card: programs that it compiled, traces that it recorded, tensors that end with it."""

from __future__ import annotations

import enum
import itertools
from collections.abc import Callable, Hashable, Sequence
from typing import Any, Final, TypeAlias

import torch

from tests.tt.torch_ttnn.emulation.settings import Arch, CoreCoord, MeshShape
from tests.tt.torch_ttnn.emulation.tensor import Box

Work: TypeAlias = Callable[[], Any]


class Trace:
    """Recorded work, in order. A replay reads and writes the boxes that the recording did."""

    def __init__(self) -> None:
        self.work: list[Work] = []
        self.results: list[Box] = []
        self.programs = 0
        """Programs that the card had compiled when the recording ended."""


class MeshDevice:
    """One chip of a Wormhole N150."""

    shares_scratch = False
    """A replay overwrites the programs that were compiled after its trace, as upstream warns it may. Their results are no
    numbers from then on."""

    def __init__(self, shape: MeshShape) -> None:
        self.shape = shape
        self.is_open = True
        self._programs: dict[Hashable, int] = {}
        """Program → how many were compiled before it."""
        self._overwritten_from: int | None = None
        """Number of the first program that a replay overwrote."""
        self.traces: dict[int, Trace] = {}
        self._ids = itertools.count()
        self._capture: Trace | None = None

    def get_num_devices(self) -> int:
        return self.shape[0] * self.shape[1]

    def get_device_ids(self) -> list[int]:
        return list(range(self.get_num_devices()))

    def arch(self) -> Arch:
        return Arch.WORMHOLE_B0

    def dram_grid_size(self) -> CoreCoord:
        return CoreCoord(12, 1)

    def compute_with_storage_grid_size(self) -> CoreCoord:
        return CoreCoord(8, 8)

    def get_submeshes(self) -> list[MeshDevice]:
        return []

    def num_program_cache_entries(self) -> int:
        return len(self._programs)

    def enable_program_cache(self) -> None:
        """It always is."""

    def require_open(self) -> None:
        """
        Raises:
            RuntimeError: the card is closed.
        """
        if not self.is_open:
            raise RuntimeError("TT_FATAL: the device is closed")

    def refuse_in_capture(self, what: str) -> None:
        """
        Raises:
            RuntimeError: a trace is being recorded.
        """
        self.require_open()
        if self._capture is not None:
            raise RuntimeError(f"TT_FATAL: {what} during trace capture")

    def run(self, program: Hashable, compute: Callable[[], Any]) -> Any:
        """What `compute` gives; its first run compiles `program`."""
        self.require_open()
        number = self._programs.setdefault(program, len(self._programs))
        results = compute()
        if self._overwritten_from is None or number < self._overwritten_from or results is None:
            return results
        return [_garbage(each) for each in (results if isinstance(results, tuple) else (results,))]

    @property
    def is_recording(self) -> bool:
        return self._capture is not None

    def record(self, program: Hashable, work: Work, results: Sequence[Box]) -> None:
        """Add `work`, which runs `program` and fills `results`, to the trace."""
        assert self._capture is not None
        self._programs.setdefault(program, len(self._programs))
        self._capture.work.append(work)
        self._capture.results += results

    def begin_trace(self) -> int:
        self.refuse_in_capture("a second capture")
        self._capture = Trace()
        return next(self._ids)

    def end_trace(self, trace_id: int) -> None:
        """None of the recorded work has run yet: until the first replay its results are no numbers."""
        trace, self._capture = self._capture, None
        assert trace is not None, "no trace is being recorded"
        trace.programs = len(self._programs)
        for box in trace.results:
            box.value = _garbage(box.value)
        self.traces[trace_id] = trace

    def execute_trace(self, trace_id: int) -> None:
        self.refuse_in_capture("a replay")
        trace = self.traces[trace_id]
        for work in trace.work:
            work()
        if self.shares_scratch and trace.programs < len(self._programs):
            self._overwritten_from = min(trace.programs, self._overwritten_from or trace.programs)

    def release_trace(self, trace_id: int) -> None:
        self.require_open()
        del self.traces[trace_id]

    def close(self) -> None:
        self.is_open = False


def _garbage(value: torch.Tensor) -> torch.Tensor:
    return torch.full_like(value, float("nan") if value.is_floating_point() else 0)


FabricConfig = enum.Enum("FabricConfig", "DISABLED FABRIC_1D FABRIC_1D_RING")


def get_device_ids() -> list[int]:
    return [0]


def get_num_devices() -> int:
    return 1


def get_arch_name() -> str:
    return Arch.WORMHOLE_B0.value


def set_fabric_config(config: FabricConfig, *_: Any) -> None:
    """A single chip has no fabric."""


def open_mesh_device(mesh_shape: MeshShape, **_: Any) -> MeshDevice:
    OPENED.append(MeshDevice(mesh_shape))
    return OPENED[-1]


OPENED: Final[list[MeshDevice]] = []
"""Cards since the import, for tests that look at their programs and traces."""


def close_mesh_device(device: MeshDevice) -> None:
    device.close()


def synchronize_device(device: MeshDevice, *_: Any) -> None:
    device.refuse_in_capture("waiting")


def begin_trace_capture(device: MeshDevice, *, cq_id: int = 0) -> int:
    return device.begin_trace()


def end_trace_capture(device: MeshDevice, trace_id: int, *, cq_id: int = 0) -> None:
    device.end_trace(trace_id)


def execute_trace(device: MeshDevice, trace_id: int, *, cq_id: int = 0, blocking: bool = True) -> None:
    device.execute_trace(trace_id)


def release_trace(device: MeshDevice, trace_id: int) -> None:
    device.release_trace(trace_id)


def create_global_semaphore(*_: Any) -> object:
    return object()
