"""The mesh device: its shape, and an order of opening and closing that leaves the card usable."""

from __future__ import annotations

import contextlib
import gc
import logging
import re
from collections.abc import Callable, Sequence
from typing import Any, Final, Protocol

from ttchat_tui.engine.base import EngineError, ModelLoadError

log = logging.getLogger(__name__)

SHAPES: Final[dict[str, tuple[int, int]]] = {
    "N150": (1, 1),
    "P100": (1, 1),
    "P150": (1, 1),
    "N300": (1, 2),
    "P300": (1, 2),
    "P150x2": (1, 2),
    "N150x4": (1, 4),
    "P150x4": (1, 4),
    "P300x2": (1, 4),
    "T3K": (1, 8),
    "P150x8": (1, 8),
    "TG": (8, 4),
    "BHGLX": (8, 4),
    "BH-Galaxy": (8, 4),
}
"""MESH_DEVICE as tt-metal's demos (models/tt_transformers/demo, 2025-05 to 2026-11) and its vLLM plugin read it, in any case.
Where the tables differ, the one of tt_transformers counts: the plugin of 2026-11 opens a Galaxy as 4 x 8."""

GALAXY_CHIPS: Final = 32
_GALAXY: Final = SHAPES["TG"]

_UPPER: Final = {name.upper(): shape for name, shape in SHAPES.items()}
_ROWS_COLUMNS: Final = re.compile(r"(\d+)\s*[xX]\s*(\d+)|\(?\s*(\d+)\s*,\s*(\d+)\s*\)?")
"""`1x2`, or `(1, 2)` as the vLLM plugin has it."""
_TRACE_REGION_MISSED: Final = re.compile(r"Creating trace buffers of size (\d+)\s*B")

_RINGS: Final = frozenset({"T3K", "P300", "P150X4"})
"""Devices whose chips form a ring in the standalone tt_transformers package (its examples/common/runtime.py)."""

DEFAULT_TRACE_REGION: Final = 50_000_000
"""Bytes; the default of tt-metal's demo."""

TRACE_REGIONS: Final[tuple[tuple[str, str, int], ...]] = (
    ("Llama-3.1-8B", "N150", 25_000_000),
    ("Llama-3.1-8B", "N300", 38_000_000),
    ("Llama-3.1-8B", "P150", 64_000_000),
    ("Llama-3.1-8B", "P300", 64_000_000),
    ("Llama-3.3-70B", "P150X4", 96_000_000),
    ("Llama-3.3-70B", "P150X8", 84_000_000),
    ("Llama-3.3-70B", "TG", 80_000_000),
    ("Llama-3.3-70B", "", 90_000_000),
    ("Llama-3.1-70B", "", 90_000_000),
    ("Qwen3-32B", "TG", 200_000_000),
    ("Qwen3-32B", "", 90_000_000),
    ("Qwen2.5-72B", "", 70_000_000),
    ("gemma-3-27b", "", 70_000_000),
    ("Llama-3.2-3B", "N150", 10_000_000),
)
"""Prefix of the model name, device (empty: any), bytes. From tt_transformers/demo/trace_region_config.py of 2026-06; 8B
on P150 and P300 is raised to what upstream's CI needed (60.8 MB, tt-inference-server#4005)."""


class Ttnn(Protocol):
    """The part of the ttnn module that is used here."""

    FabricConfig: Any
    MeshShape: Callable[..., Any]

    def get_device_ids(self) -> Sequence[int]: ...
    def set_fabric_config(self, config: Any) -> None: ...
    def open_mesh_device(self, **settings: Any) -> Any: ...
    def close_mesh_device(self, device: Any) -> None: ...
    def synchronize_device(self, device: Any) -> None: ...


def named_shape(name: str) -> tuple[int, int]:
    """Rows and columns of a MESH_DEVICE (or `1x2`).

    Raises:
        ModelLoadError: the name is unknown.
    """
    name = name.strip()
    if match := _ROWS_COLUMNS.fullmatch(name):
        rows, columns = (int(number) for number in match.groups() if number is not None)
        if rows and columns:
            return rows, columns
    elif shape := _UPPER.get(name.upper()):
        return shape
    raise ModelLoadError(
        f"MESH_DEVICE {name!r} is unknown.",
        f"Use one of {', '.join(SHAPES)}, or rows x columns such as 1x2; unset it to use one card.",
    )


def mesh_shape(name: str, chips: int) -> tuple[int, int]:
    """Rows and columns of a MESH_DEVICE (or `1x2`) on `chips`.

    Raises:
        ModelLoadError: the name is unknown, or needs more chips than there are.
    """
    shape = named_shape(name)
    if shape[0] * shape[1] > chips:
        raise ModelLoadError(
            f"MESH_DEVICE {name} needs {shape[0] * shape[1]} chips, {chips} can be used.",
            "Choose a smaller mesh, or unset MESH_DEVICE; `ttchat-tui doctor` lists the cards.",
        )
    return shape


def default_shape(name: str, chips: int) -> tuple[int, int]:
    """Rows and columns where the user named no mesh.

    Args:
        name: what the driver says the machine is; may be empty.
        chips: as ttnn finds them.
    """
    if name and (shape := named_shape(name))[0] * shape[1] <= chips:
        return shape
    return _GALAXY if chips == GALAXY_CHIPS else (1, 1)


def package_fabric(name: str) -> str:
    """The fabric of several chips in the standalone package: a member of ttnn.FabricConfig."""
    return "FABRIC_1D_RING" if name.upper() in _RINGS else "FABRIC_1D"


def generator_fabric(ttnn: Any, generation: str) -> str:
    """The fabric of several chips in the demos of a checkout (models/tt_transformers/conftest.py): none up to 2025-07, and
    rings on a Galaxy whose chips all have PCIe; on a Blackhole Galaxy in the newest one only."""
    if generation == "S1":
        return ""
    cluster: Any = getattr(ttnn, "cluster", None)
    kind = "" if cluster is None else str(cluster.get_cluster_type()).rpartition(".")[2]
    if kind == "BLACKHOLE_GALAXY" and generation == "S6":
        return "FABRIC_2D_TORUS_XY"
    return "FABRIC_1D_RING" if kind == "GALAXY" else "FABRIC_1D"


def trace_region_bytes(model: str, device: str) -> int:
    """Bytes for traces, as upstream measured them for this model (base name) on this device (as in MESH_DEVICE).

    Raises:
        ModelLoadError: the device is unknown.
    """
    is_galaxy = device != "" and named_shape(device) == _GALAXY
    names = ("", "TG" if is_galaxy else device.upper())
    for prefix, on, size in TRACE_REGIONS:
        if model.lower().startswith(prefix.lower()) and on in names:
            return size
    return DEFAULT_TRACE_REGION


def needed_trace_region(message: str) -> int | None:
    """The size in "Creating trace buffers of size …B" plus a quarter; None for other messages."""
    match = _TRACE_REGION_MISSED.search(message)
    return int(match[1]) * 5 // 4 if match else None


class Mesh:
    """An open mesh device. Always `close` it: a card that is left open may need a reset."""

    def __init__(
        self, ttnn: Ttnn, shape: tuple[int, int], trace_region: int, fabric: str = "FABRIC_1D"
    ) -> None:
        """`fabric` (a member of ttnn.FabricConfig; may be empty) connects several chips; a single chip has none.

        Raises:
            RuntimeError: from ttnn; the fabric is off again then.
        """
        self._ttnn = ttnn
        self.shape = shape
        self.trace_region = trace_region
        self._has_fabric = shape != (1, 1) and fabric != ""
        self.device: Any = None
        if self._has_fabric:
            ttnn.set_fabric_config(getattr(ttnn.FabricConfig, fabric))
        try:
            self.device = ttnn.open_mesh_device(
                mesh_shape=ttnn.MeshShape(*shape), trace_region_size=trace_region, num_command_queues=1
            )
            self.device.enable_program_cache()  # The default since 2025; S1 has it off, and a trace needs it.
        except BaseException:
            if self.device is None:
                self._end_fabric()
            else:
                self.close()
            raise

    def close(self) -> None:
        """Wait for running work, then close submeshes, mesh and fabric, in this order. Idempotent.

        Raises:
            EngineError: the mesh does not close.
        """
        device, self.device = self.device, None
        if device is None:
            return
        gc.collect()  # Tensors in reference cycles would be freed after their device.
        try:
            with _logged("waiting for the card"):
                self._ttnn.synchronize_device(device)
            for submesh in _submeshes(device):
                with _logged("closing a submesh"):
                    self._ttnn.close_mesh_device(submesh)
            self._ttnn.close_mesh_device(device)
            log.info("the card is closed")
        except RuntimeError as error:
            raise EngineError(
                f"The card did not close: {error}", "Run `tt-smi -r` before the next load.", "device_close"
            ) from error
        finally:
            self._end_fabric()

    def _end_fabric(self) -> None:
        if self._has_fabric:
            with _logged("ending the fabric"):
                self._ttnn.set_fabric_config(self._ttnn.FabricConfig.DISABLED)


def _submeshes(device: Any) -> list[Any]:
    get = getattr(device, "get_submeshes", None)
    return [mesh for mesh in get() if mesh is not device] if get is not None else []


@contextlib.contextmanager
def _logged(doing: str) -> Any:
    """Log a failed step of closing and continue: each step frees something."""
    try:
        yield
    except RuntimeError:
        log.exception("%s failed", doing)
