"""The surface of `ttnn` (0.58 to 0.81.1) that a chat touches, and of loguru, over the scripted card."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, Final

from tests.engine.tenstorrent.fakes.card import EVENTS, FakeMesh

DYNAMIC_TRACES: Final = "FAKE_CARD_DYNAMIC_TRACES"
"""Variable: a trace region of 0 grows by itself, as from 2026-02 on."""

CHIPS: Final = "FAKE_CARD_CHIPS"
"""Variable: chips that the driver shows."""
UNJOINED: Final = "FAKE_CARD_UNJOINED"
"""Variable: no cable joins the cards."""

bfloat8_b: Final = "bfloat8_b"


class FabricConfig:
    FABRIC_1D = "fabric"
    FABRIC_1D_RING = "fabric ring"
    DISABLED = "no fabric"


class MeshShape(tuple[int, ...]):
    """Positional, as the native class: `MeshShape(1, 2)`."""

    def __new__(cls, *shape: int) -> MeshShape:
        return super().__new__(cls, shape)


def get_device_ids() -> list[int]:
    return list(range(int(os.environ.get(CHIPS, "1"))))


def set_fabric_config(config: str) -> None:
    EVENTS.append(config)


def open_mesh_device(
    mesh_shape: MeshShape | None = None,
    l1_small_size: int = 0,
    trace_region_size: int = 0,
    num_command_queues: int = 1,
    dispatch_core_config: Any = None,
    offset: Any = None,
    physical_device_ids: tuple[int, ...] = (),
    worker_l1_size: int = 0,
) -> FakeMesh:
    assert isinstance(mesh_shape, MeshShape)
    if UNJOINED in os.environ and mesh_shape != (1, 1):
        raise RuntimeError(
            "TT_FATAL @ topology_mapper.cpp:527: mapping_result.success\ninfo:\n"
            "Graph specified in MGD could not fit in the discovered physical topology.\nbacktrace:\n --- native"
        )
    return FakeMesh(mesh_shape, trace_region_size, has_dynamic_traces=DYNAMIC_TRACES in os.environ)


def close_mesh_device(mesh_device: FakeMesh) -> None:
    mesh_device.close()


def synchronize_device(device: FakeMesh) -> None:
    assert device.is_open, "the mesh is closed"
    EVENTS.append("synchronize")


def release_trace(mesh_device: FakeMesh, trace_id: int) -> None:
    mesh_device.release(trace_id)


class _Logger:
    """Hands lines to its sinks. A sink that was removed twice raises ValueError, as loguru's."""

    def __init__(self) -> None:
        self._sinks: dict[int, Callable[[str], Any]] = {}
        self._added = 0

    def add(self, sink: Callable[[str], Any], *, level: str = "DEBUG", format: str = "") -> int:
        self._added += 1
        self._sinks[self._added] = sink
        return self._added

    def remove(self, sink: int) -> None:
        if self._sinks.pop(sink, None) is None:
            raise ValueError(f"There is no existing handler with id {sink}")

    def info(self, message: str) -> None:
        for sink in list(self._sinks.values()):
            sink(message + "\n")


logger = _Logger()
