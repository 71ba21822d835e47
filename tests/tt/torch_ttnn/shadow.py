"""The real ttnn on a mock card, with the values of each device tensor carried beside it in torch.

ttnn checks every call as it does without this: shapes, layouts, memory and program configurations. A mock card computes
nothing, so `operations.py` does. Tensors on the host are ttnn's own and hold real values anyway.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import torch
import ttnn

from tests.tt.torch_ttnn.operations import IN_PLACE, compute
from tests.tt.torch_ttnn.rounding import rounded

_PREFIX = "ttnn."


class ShadowTensor(ttnn.Tensor):
    """A tensor on the device, and its values."""

    values: torch.Tensor

    def cpu(self, *_arguments: Any, **_keywords: Any) -> Any:
        return _to_host(self)

    def to(self, *arguments: Any, **keywords: Any) -> Any:
        raise NotImplementedError(f"Tensor.to of a device tensor: {arguments} {keywords}")


def install() -> None:
    """Have every operation of ttnn carry values. For the whole process, once."""
    operation = type(ttnn.linear)
    operation.__call__ = _carrying(operation.__call__)
    ttnn.Tensor.to = _uploading(ttnn.Tensor.to)
    natives = ttnn._ttnn.tensor
    natives.load_tensor_flatbuffer = _loading(natives.load_tensor_flatbuffer)
    ttnn.get_device_tensors = _of_one_device(ttnn.get_device_tensors)


def _carrying(call: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(call)
    def carried(self: Any, *arguments: Any, **keywords: Any) -> Any:
        name = self.python_fully_qualified_name.removeprefix(_PREFIX)
        special = _TRANSFERS.get(name)
        if special is not None:
            return special(functools.partial(call, self), *arguments, **keywords)
        if (not self.is_cpp_operation and name not in _NATIVE) or not _has_shadow((arguments, keywords)):
            return call(self, *arguments, **keywords)
        result = call(self, *arguments, **keywords)
        return _shadowed(name, result, arguments, keywords)

    return carried


_NATIVE = frozenset({"unsqueeze_to_4D"})
"""Registered as Python's although they are native."""


def _shadowed(name: str, result: Any, arguments: Any, keywords: Any) -> Any:
    """The result of an operation with its values."""
    unwrapped, named = _unwrapped(arguments), _unwrapped(keywords)
    if name in IN_PLACE:
        written = next(each for each in arguments if isinstance(each, ShadowTensor))
        unwrapped, named = (_stored(each, written) for each in (unwrapped, named))
        compute(name, unwrapped, named)
        return result
    values = compute(name, unwrapped, named)
    if isinstance(result, (list, tuple)):
        return type(result)(_with_values(name, *pair) for pair in zip(result, values, strict=True))
    return _with_values(name, result, values)


def _stored(arguments: Any, written: ShadowTensor) -> Any:
    """Floats in the format of the tensor that they are written to."""

    def store(value: Any) -> Any:
        is_input = (
            isinstance(value, torch.Tensor) and value.is_floating_point() and value is not written.values
        )
        return rounded(value, _format(written)) if is_input and value.shape[0] == 1 else value

    return _each(store, arguments)


def _with_values(name: str, real: Any, values: torch.Tensor) -> ShadowTensor:
    if tuple(real.shape) != tuple(values.shape):
        raise AssertionError(f"ttnn.{name} gives {tuple(real.shape)}, the table {tuple(values.shape)}")
    tensor = ShadowTensor(real)
    tensor.values = rounded(values, _format(real))
    return tensor


def _format(tensor: Any) -> str:
    """ttnn's name of the tensor's number format, in lower case."""
    return tensor.dtype.name.lower()


def _each(change: Callable[[Any], Any], value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _each(change, item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(_each(change, item) for item in value)
    return change(value)


def _unwrapped(arguments: Any) -> Any:
    def unwrap(value: Any) -> Any:
        if isinstance(value, ShadowTensor):
            return value.values
        if isinstance(value, ttnn.Tensor):
            if value.storage_type() == ttnn.StorageType.DEVICE:
                raise AssertionError(f"a device tensor of shape {tuple(value.shape)} has no values")
            return _host_values(value)
        return value

    return _each(unwrap, arguments)


def _has_shadow(value: Any) -> bool:
    found: list[bool] = []
    _each(lambda item: found.append(isinstance(item, ShadowTensor)), value)
    return any(found)


def _host_values(tensor: Any) -> torch.Tensor:
    return rounded(tensor.to_torch(), _format(tensor))


def _to_host(tensor: ShadowTensor) -> Any:
    return ttnn.Tensor(tensor=tensor.values, data_type=tensor.dtype, layout=tensor.layout)


def _beside(real: Any, host: Any) -> ShadowTensor:
    tensor = ShadowTensor(real)
    tensor.values = _host_values(host).clone()
    return tensor


def _uploading(move: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(move)
    def to(self: Any, *arguments: Any, **keywords: Any) -> Any:
        moved = move(self, *arguments, **keywords)
        return _beside(moved, self) if moved.storage_type() == ttnn.StorageType.DEVICE else moved

    return to


def _loading(load: Callable[..., Any]) -> Callable[..., Any]:
    def load_tensor(file: str, device: Any = None) -> Any:
        host = load(file, None)
        return host if device is None else _beside(load(file, device), host)

    return load_tensor


def _of_one_device(split: Callable[..., Any]) -> Callable[..., Any]:
    def get_device_tensors(tensor: Any) -> list[Any]:
        return [tensor] if isinstance(tensor, ShadowTensor) else split(tensor)

    return get_device_tensors


def _from_torch(call: Callable[..., Any], tensor: Any, *arguments: Any, **keywords: Any) -> Any:
    real = call(tensor, *arguments, **keywords)
    if real is None or real.storage_type() != ttnn.StorageType.DEVICE:
        return real
    shadow = ShadowTensor(real)
    shadow.values = rounded(tensor.detach().clone(), _format(real))
    return shadow


def _to_device(call: Callable[..., Any], tensor: Any, *arguments: Any, **keywords: Any) -> Any:
    return _beside(call(tensor, *arguments, **keywords), tensor)


def _from_device(call: Callable[..., Any], tensor: Any, *arguments: Any, **keywords: Any) -> Any:
    return _to_host(tensor) if isinstance(tensor, ShadowTensor) else call(tensor, *arguments, **keywords)


def _copy_to_device(
    call: Callable[..., Any], host: Any, device: ShadowTensor, *arguments: Any, **keywords: Any
) -> None:
    call(host, device, *arguments, **keywords)
    device.values.copy_(_host_values(host))


def _deallocate(call: Callable[..., Any], *arguments: Any, **keywords: Any) -> None:
    call(*arguments, **keywords)


_TRANSFERS: dict[str, Callable[..., Any]] = {
    "from_torch": _from_torch,
    "to_device": _to_device,
    "from_device": _from_device,
    "copy_host_to_device_tensor": _copy_to_device,
    "deallocate": _deallocate,
}
"""Between host and device."""
