"""The real ttnn on a mock card, with the values of each device tensor carried beside it in torch.

ttnn checks every call as it does without this: shapes, layouts, memory and program configurations. A mock card computes
nothing, so `operations.py` does. Tensors on the host are ttnn's own and hold real values anyway.
"""

from __future__ import annotations

import functools
import importlib
from collections.abc import Callable, Sequence
from typing import Any, Final

import torch

from tests.tt.torch_ttnn.operations import IN_PLACE, compute
from tests.tt.torch_ttnn.recording import Traces
from tests.tt.torch_ttnn.rounding import rounded

ttnn: Any = importlib.import_module("ttnn")

_PREFIX: Final = "ttnn."
_TRACES: Final = Traces()


class Values:
    """What a tensor holds. A recorded trace keeps this, but not the tensor: its memory on the card is free again."""

    def __init__(self, values: torch.Tensor, format_name: str) -> None:
        self.format = format_name
        self.tensor = rounded(values, format_name)

    def write(self, values: torch.Tensor) -> None:
        self.tensor.copy_(rounded(values, self.format))


class ShadowTensor(ttnn.Tensor):
    """A tensor on the device, and its values."""

    held: Values

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
    for name in ("begin_trace_capture", "end_trace_capture", "execute_trace", "release_trace"):
        setattr(ttnn, name, getattr(_TRACES, name))


def _carrying(call: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(call)
    def carried(self: Any, *arguments: Any, **keywords: Any) -> Any:
        name = self.python_fully_qualified_name.removeprefix(_PREFIX)
        if name in _TRANSFERS:
            return _TRANSFERS[name](functools.partial(call, self), *arguments, **keywords)
        result = call(self, *arguments, **keywords)
        has_values = self.is_cpp_operation or name in _NATIVE
        if not has_values or not _has_shadow((arguments, keywords)):
            return result  # Of the host, or of operations that call others.
        return _shadowed(name, result, arguments, keywords)

    return carried


_NATIVE: Final = frozenset({"unsqueeze_to_4D"})
"""Registered as Python's although they are native."""


def _shadowed(name: str, result: Any, arguments: Any, keywords: Any) -> Any:
    """The result of an operation with its values."""
    inputs = _each(_held, arguments), _each(_held, keywords)
    if name in IN_PLACE:
        _write(name, *inputs)
        _TRACES.add(functools.partial(_write, name, *inputs))
        return result
    reals = result if isinstance(result, (list, tuple)) else (result,)
    computed = _computed(name, *inputs)
    tensors = [_with_values(name, *pair) for pair in zip(reals, computed, strict=True)]
    _TRACES.add(functools.partial(_compute_again, name, *inputs, [tensor.held for tensor in tensors]))
    return type(result)(tensors) if isinstance(result, (list, tuple)) else tensors[0]


def _with_values(name: str, real: Any, values: torch.Tensor) -> ShadowTensor:
    if tuple(real.shape) != tuple(values.shape):
        raise AssertionError(f"ttnn.{name} gives {tuple(real.shape)}, the table {tuple(values.shape)}")
    tensor = ShadowTensor(real)
    tensor.held = Values(values, _format(real))
    return tensor


def _computed(name: str, arguments: Any, keywords: Any) -> Sequence[torch.Tensor]:
    values = compute(name, _each(_read, arguments), _each(_read, keywords))
    return values if isinstance(values, tuple) else (values,)


def _compute_again(name: str, arguments: Any, keywords: Any, results: Sequence[Values]) -> None:
    for held, values in zip(results, _computed(name, arguments, keywords), strict=True):
        held.write(values)


def _write(name: str, arguments: Any, keywords: Any) -> None:
    """An operation in place: its floats are rounded to the format of the tensor that they are written to."""
    written = IN_PLACE[name]
    to_format = arguments[written[0]].format
    stored = [
        rounded(value, to_format) if index not in written and _is_float(value) else value
        for index, value in enumerate(_each(_read, arguments))
    ]
    compute(name, stored, _each(_read, keywords))


def _is_float(value: Any) -> bool:
    return isinstance(value, torch.Tensor) and value.is_floating_point()


def _format(tensor: Any) -> str:
    """ttnn's name of the tensor's number format, in lower case."""
    return tensor.dtype.name.lower()


def _each(change: Callable[[Any], Any], value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _each(change, item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(_each(change, item) for item in value)
    return change(value)


def _has_shadow(value: Any) -> bool:
    found: list[bool] = []
    _each(lambda item: found.append(isinstance(item, ShadowTensor)), value)
    return any(found)


def _held(argument: Any) -> Any:
    """A tensor's values: a host tensor's own, a device tensor's shadow. Other arguments as they are."""
    if isinstance(argument, ShadowTensor):
        return argument.held
    if not isinstance(argument, ttnn.Tensor):
        return argument
    if argument.storage_type() == ttnn.StorageType.DEVICE:
        raise AssertionError(f"a device tensor of shape {tuple(argument.shape)} came without its values")
    return Values(argument.to_torch(), _format(argument))


def _read(argument: Any) -> Any:
    return argument.tensor if isinstance(argument, Values) else argument


def _to_host(tensor: ShadowTensor) -> Any:
    _TRACES.forbid("a tensor is read")
    return ttnn.Tensor(tensor=tensor.held.tensor, data_type=tensor.dtype, layout=tensor.layout)


def _on_device(real: Any, values: torch.Tensor) -> ShadowTensor:
    """A tensor that the host wrote."""
    _TRACES.forbid("a tensor is written")
    tensor = ShadowTensor(real)
    tensor.held = Values(values.clone(), _format(real))
    return tensor


def _uploading(move: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(move)
    def to(self: Any, *arguments: Any, **keywords: Any) -> Any:
        moved = move(self, *arguments, **keywords)
        return (
            _on_device(moved, _held(self).tensor)
            if moved.storage_type() == ttnn.StorageType.DEVICE
            else moved
        )

    return to


def _loading(load: Callable[..., Any]) -> Callable[..., Any]:
    def load_tensor(file: str, device: Any = None) -> Any:
        host = load(file, None)
        return host if device is None else _on_device(load(file, device), _held(host).tensor)

    return load_tensor


def _of_one_device(split: Callable[..., Any]) -> Callable[..., Any]:
    def get_device_tensors(tensor: Any) -> list[Any]:
        return [tensor] if isinstance(tensor, ShadowTensor) else split(tensor)

    return get_device_tensors


def _from_torch(call: Callable[..., Any], tensor: Any, *arguments: Any, **keywords: Any) -> Any:
    real = call(tensor, *arguments, **keywords)
    if real is None or real.storage_type() != ttnn.StorageType.DEVICE:
        return real
    return _on_device(real, tensor.detach())


def _to_device(call: Callable[..., Any], tensor: Any, *arguments: Any, **keywords: Any) -> Any:
    real = call(tensor, *arguments, **keywords)
    if isinstance(tensor, ShadowTensor):
        return _shadowed("to_memory_config", real, (tensor,), {})
    return _on_device(real, _held(tensor).tensor)


def _from_device(call: Callable[..., Any], tensor: Any, *arguments: Any, **keywords: Any) -> Any:
    return _to_host(tensor) if isinstance(tensor, ShadowTensor) else call(tensor, *arguments, **keywords)


def _copy_to_device(
    call: Callable[..., Any], host: Any, device: ShadowTensor, *arguments: Any, **keywords: Any
) -> None:
    _TRACES.forbid("a tensor is written")
    call(host, device, *arguments, **keywords)
    device.held.write(_held(host).tensor)


_TRANSFERS: Final[dict[str, Callable[..., Any]]] = {
    "from_torch": _from_torch,
    "to_device": _to_device,
    "from_device": _from_device,
    "copy_host_to_device_tensor": _copy_to_device,
}
"""Between host and device."""
