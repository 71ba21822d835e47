"""The table's operations as ttnn's functions: unwrap tensors, run or record, wrap the results in their formats."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

import torch

from tests.tt.torch_ttnn.emulation.settings import MemoryConfig
from tests.tt.torch_ttnn.emulation.tensor import Box, DataType, Layout, Tensor
from tests.tt.torch_ttnn.operations import IN_PLACE, OPERATIONS, compute

_RUNTIME: Final = frozenset({"batch_idx", "update_idxs", "chunk_start_idx"})
"""Arguments that a compiled program takes at each run."""
_FORMATS: Final[dict[str, tuple[DataType, ...]]] = {
    "argmax": (DataType.UINT32,),
    "topk": (DataType.BFLOAT16, DataType.UINT16),
    "sampling": (DataType.UINT32,),
}
"""Formats of results that are neither named nor those of the first tensor."""
_LAYOUTS: Final = {"untilize": Layout.ROW_MAJOR, "tilize": Layout.TILE}
_ALIASES: Final = {"mul": "multiply"}


def find_operation(name: str) -> Operation:
    """`ttnn.NAME`; the name may have a parent, as in `transformer.scaled_dot_product_attention`.

    Raises:
        AttributeError: the table has no such operation.
    """
    name = _ALIASES.get(name, name)
    if name not in OPERATIONS:
        raise AttributeError(f"ttnn.{name} is missing in tests/tt/torch_ttnn")
    return Operation(name)


class Operations:
    """`ttnn.transformer`, say."""

    def __init__(self, parent: str) -> None:
        self._parent = parent

    def __getattr__(self, name: str) -> Operation:
        return find_operation(f"{self._parent}.{name}")


class Operation:
    """
    Raises:
        RuntimeError: a tensor was deallocated, or its card is closed.
    """

    def __init__(self, name: str) -> None:
        self._name = name

    def __call__(self, *arguments: Any, **named: Any) -> Any:
        tensors = _tensors([arguments, named])
        output = named.pop("output_tensor", None)
        call = _Call(self._name, arguments, named, tensors)
        if self._name in IN_PLACE:
            return call.change([arguments[place] for place in IN_PLACE[self._name]] or tensors)
        return call.make(tensors) if output is None else call.write(output)


class _Call:
    """One call, which a trace may repeat: it holds boxes in place of tensors."""

    def __init__(self, name: str, arguments: Any, named: Any, tensors: Sequence[Tensor]) -> None:
        self._name = name
        self._device = next((device for each in tensors if (device := each.device()) is not None), None)
        self._settings = [*arguments, *named.values()]
        fixed = {key: value for key, value in named.items() if key not in _RUNTIME}
        self._program = f"{name}{_each(_described, [arguments, fixed])}"
        self._arguments, self._named = _each(_boxed, arguments), _each(_boxed, named)

    def change(self, written: Sequence[Tensor]) -> Tensor:
        """An operation in place."""
        kept = [tensor.box for tensor in written]

        def store(value: Any) -> Any:
            """Floats in the format in which they are written."""
            if isinstance(value, Box) and value not in kept and value.value.is_floating_point():
                return Box(value.value, written[0].dtype)
            return value

        self._now_or_later(lambda: self._run(_each(store, self._arguments), self._named))
        return written[0]

    def write(self, output: Tensor) -> Tensor:
        """An operation with an `output_tensor`."""
        box = output.live_box()

        def fill() -> None:
            (value,) = self._run(self._arguments, self._named)
            box.fill(value.reshape(box.value.shape), output.dtype)

        self._now_or_later(fill)
        return output

    def make(self, tensors: Sequence[Tensor]) -> Any:
        values = self._run(self._arguments, self._named)
        place = self._setting(MemoryConfig)
        layout = _LAYOUTS.get(self._name) or self._setting(Layout) or tensors[0].layout
        source = tensors[1] if self._name == "embedding" else tensors[0]
        formats = _FORMATS.get(self._name) or [self._setting(DataType) or source.dtype] * len(values)
        made = [
            Tensor(value, kind, layout, self._device, place)
            for value, kind in zip(values, formats, strict=True)
        ]
        boxes = [tensor.box for tensor in made]

        def fill() -> None:
            for box, kind, value in zip(boxes, formats, self._run(self._arguments, self._named), strict=True):
                box.fill(value, kind)

        if self._is_recorded:
            self._record(fill, boxes)
        return made[0] if len(made) == 1 else tuple(made)

    def _now_or_later(self, work: Callable[[], Any]) -> None:
        """While a trace is recorded nothing is written: only its replay does."""
        if self._is_recorded:
            self._record(work, [])
        else:
            work()

    @property
    def _is_recorded(self) -> bool:
        return self._device is not None and self._device.is_recording

    def _record(self, work: Callable[[], Any], results: Sequence[Box]) -> None:
        assert self._device is not None
        self._device.record(self._program, work, results)

    def _run(self, arguments: Any, named: Any) -> list[torch.Tensor]:
        def run() -> Any:
            return compute(self._name, _each(_value, arguments), _each(_value, named))

        found = run() if self._device is None else self._device.run(self._program, run)
        return list(found) if isinstance(found, (tuple, list)) else [found]

    def _setting(self, kind: type[Any]) -> Any:
        """The first argument of this kind."""
        return next((each for each in self._settings if isinstance(each, kind)), None)


def _each(change: Callable[[Any], Any], value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _each(change, item) for name, item in value.items()}
    if type(value) in (list, tuple):
        return type(value)(_each(change, item) for item in value)
    return change(value)


def _tensors(value: Any) -> list[Tensor]:
    found: list[Tensor] = []
    _each(lambda item: found.append(item) if isinstance(item, Tensor) else None, value)
    return found


def _boxed(value: Any) -> Any:
    return value.live_box() if isinstance(value, Tensor) else value


def _value(value: Any) -> Any:
    return value.value if isinstance(value, Box) else value


def _described(value: Any) -> str:
    """What a program depends on: of a tensor the shape, format, layout and place."""
    return f"{value!r} {value.memory_config()!r}" if isinstance(value, Tensor) else repr(value)
