"""Between host and card, and the file cache of weights. A mesh here is one chip, so every mapper copies."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from tests.tt.torch_ttnn.emulation.device import MeshDevice
from tests.tt.torch_ttnn.emulation.settings import MemoryConfig
from tests.tt.torch_ttnn.emulation.tensor import DataType, Layout, Tensor

_DEFAULTS = {torch.int64: DataType.UINT32, torch.bfloat16: DataType.BFLOAT16}


def from_torch(
    tensor: torch.Tensor,
    dtype: DataType | None = None,
    *,
    layout: Layout | None = None,
    device: MeshDevice | None = None,
    memory_config: MemoryConfig | None = None,
    **_: Any,
) -> Tensor:
    if device is not None:
        device.refuse_in_capture("a write")
    kind = dtype or _DEFAULTS.get(tensor.dtype) or DataType[str(tensor.dtype).rpartition(".")[2].upper()]
    is_block = kind in (DataType.BFLOAT8_B, DataType.BFLOAT4_B)
    return Tensor(
        tensor.detach(),
        kind,
        layout or (Layout.TILE if is_block else Layout.ROW_MAJOR),
        device,
        memory_config,
    )


def to_torch(tensor: Tensor, *_: Any, **__: Any) -> torch.Tensor:
    return tensor.to_torch()


def as_tensor(
    tensor: torch.Tensor,
    dtype: DataType | None = None,
    *,
    layout: Layout | None = None,
    device: MeshDevice | None = None,
    memory_config: MemoryConfig | None = None,
    cache_file_name: str | Path | None = None,
    **named: Any,
) -> Tensor:
    """As ttnn's: a file of this name, format and layout is loaded, whatever is in it."""
    if cache_file_name is None:
        return from_torch(tensor, dtype, layout=layout, device=device, memory_config=memory_config, **named)
    named_dtype, named_layout = (each.name if each else "None" for each in (dtype, layout))
    file = Path(f"{cache_file_name}_dtype_{named_dtype}_layout_{named_layout}.tensorbin")
    if file.is_file():
        held: torch.Tensor = torch.load(file)
    else:
        held = from_torch(tensor, dtype, layout=layout).box.value
        file.parent.mkdir(parents=True, exist_ok=True)
        torch.save(held, file)
    return from_torch(held, dtype, layout=layout, device=device, memory_config=memory_config)


def to_device(
    tensor: Tensor, device: MeshDevice, memory_config: MemoryConfig | None = None, **_: Any
) -> Tensor:
    if tensor.device() is device:
        return tensor
    device.refuse_in_capture("a write")
    return Tensor(tensor.live_box().value, tensor.dtype, tensor.layout, device, memory_config)


def from_device(tensor: Tensor, *_: Any, **__: Any) -> Tensor:
    return tensor.cpu()


def copy_host_to_device_tensor(host: Tensor, device: Tensor, *_: Any, **__: Any) -> None:
    """
    Raises:
        RuntimeError: the tensors do not fit each other, or a trace is being recorded.
    """
    card = device.device()
    assert card is not None
    card.refuse_in_capture("a write")
    if host.shape != device.shape or host.dtype is not device.dtype:
        raise RuntimeError(f"TT_FATAL: {host} cannot be written to {device}")
    device.live_box().fill(host.live_box().value, device.dtype)


def replicate_tensor_to_mesh_mapper(device: MeshDevice) -> None:
    """A mesh of one chip needs no mapper."""


def get_device_tensors(tensor: Tensor) -> list[Tensor]:
    return [tensor]


def deallocate(tensor: Tensor, force: bool = True) -> None:
    tensor.deallocate(force)
