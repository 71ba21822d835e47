"""The table of ttnn's operations in torch, from ttnn's public documentation. No ttnn is imported here.

Each takes what ttnn's takes, with torch tensors for its tensors: float32 that holds values of the tensor's format, or
integers. It returns tensors of the real result's logical shape; the caller rounds them to the result's format.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import torch

from tests.tt.torch_ttnn.attention import ATTENTION
from tests.tt.torch_ttnn.operations_sampling import SAMPLING

_PLACEMENT: Final = frozenset(
    [
        "memory_config",
        "program_config",
        "compute_kernel_config",
        "config",
        "core_grid",
        "sub_core_grids",
        "global_cb",
        "sub_device_id",
        "dtype",
        "output_dtype",
        "layout",
        "queue_id",
        "cq_id",
        "use_multicore",
        "output_layout",
        "use_low_perf",
        "slice_dim",
        "num_devices",
    ]
)
"""Keywords that say where and how a card computes or stores, not what. The format of a result is the caller's."""


class MissingOperation(NotImplementedError):
    """ttnn has an operation, and a model uses it, that the table has not."""


def compute(name: str, arguments: Sequence[Any], keywords: Mapping[str, Any]) -> Any:
    """The result of `ttnn.<name>`: a tensor, a tuple of them, or None for an operation in place.

    Raises:
        MissingOperation: with its name.
        TypeError: an argument that the operation here does not know.
    """
    operation = OPERATIONS.get(name)
    if operation is None:
        raise MissingOperation(f"ttnn.{name} is missing in tests/tt/torch_ttnn/operations.py")
    return operation(*arguments, **{key: value for key, value in keywords.items() if key not in _PLACEMENT})


def linear(
    a: torch.Tensor,
    b: torch.Tensor,
    *,
    bias: torch.Tensor | None = None,
    transpose_a: bool = False,
    transpose_b: bool = False,
    activation: Any = None,
) -> torch.Tensor:
    left, right = (a.mT if transpose_a else a), (b.mT if transpose_b else b)
    product = torch.matmul(left, right)
    return _activated(product if bias is None else product + bias, activation)


def minimal_matmul(
    a: torch.Tensor, b: torch.Tensor, bias_tensor: torch.Tensor | None = None, fused_activation: Any = None
) -> torch.Tensor:
    return linear(a, b, bias=bias_tensor, activation=fused_activation)


def rms_norm(x: torch.Tensor, *, epsilon: float = 1e-12, weight: torch.Tensor | None = None) -> torch.Tensor:
    """`weight` holds one value for each of the last axis, in any shape."""
    normal = x * torch.rsqrt(x.square().mean(-1, keepdim=True) + epsilon)
    return normal if weight is None else normal * weight.reshape(-1)


def embedding(ids: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """[batch, n] ids → [batch, n, width]; further leading axes of ids are of length 1."""
    table = weight.reshape(-1, weight.shape[-1])
    return table[ids.reshape(-1, ids.shape[-1]).long()]


def _binary(function: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]) -> Callable[..., torch.Tensor]:
    def operation(
        a: Any,
        b: Any,
        *,
        activations: Sequence[Any] = (),
        input_tensor_a_activations: Sequence[Any] = (),
        input_tensor_b_activations: Sequence[Any] = (),
    ) -> torch.Tensor:
        left, right = _all(a, input_tensor_a_activations), _all(b, input_tensor_b_activations)
        return _all(function(left, right), activations)

    return operation


def _all(value: Any, activations: Sequence[Any]) -> Any:
    for activation in activations or ():
        value = _activated(value, activation)
    return value


_ACTIVATIONS: Final[dict[str, Callable[[torch.Tensor], torch.Tensor]]] = {
    "silu": torch.nn.functional.silu,
    "gelu": torch.nn.functional.gelu,
    "relu": torch.relu,
}


def _activated(value: torch.Tensor, activation: Any) -> torch.Tensor:
    """`activation` is None, a name, or a member of an enumeration such as ttnn.UnaryOpType."""
    if activation is None:
        return value
    name = str(getattr(activation, "name", activation)).lower()
    if name not in _ACTIVATIONS:
        raise MissingOperation(f"the activation {activation} is missing in tests/tt/torch_ttnn/operations.py")
    return _ACTIVATIONS[name](value)


def unchanged(x: torch.Tensor, *_placement: Any) -> torch.Tensor:
    """Moves between memories, layouts and formats."""
    return x


def reshape(x: torch.Tensor, shape: Sequence[int], padded_shape: Sequence[int] | None = None) -> torch.Tensor:
    """With `padded_shape`, `shape` may hold fewer values, the first ones: other rows of the tile do not count."""
    if padded_shape is None or x.numel() == math.prod(shape):
        return x.reshape(tuple(shape))
    return x[tuple(slice(size) for size in shape)]


def unsqueeze_to_4d(x: torch.Tensor) -> torch.Tensor:
    return x.reshape(*([1] * (4 - x.ndim)), *x.shape)


def slice_of(x: torch.Tensor, starts: Any, ends: Any, steps: Sequence[int] | None = None) -> torch.Tensor:
    """`starts` and `ends`: numbers, or tensors of them."""
    first, end = (torch.as_tensor(bound).reshape(-1).tolist() for bound in (starts, ends))
    return x[tuple(slice(*bounds) for bounds in zip(first, end, steps or [1] * x.ndim, strict=True))]


def pad(x: torch.Tensor, padding: Sequence[Sequence[int]], value: float = 0.0) -> torch.Tensor:
    """`padding`: (before, after) of each of the last axes."""
    flat = [amount for pair in reversed([tuple(pair) for pair in padding]) for amount in pair]
    return torch.nn.functional.pad(x, flat, value=value)


def concat(tensors: Sequence[torch.Tensor], dim: int = 0) -> torch.Tensor:
    return torch.cat(list(tensors), dim)


def transpose(x: torch.Tensor, dim1: int, dim2: int) -> torch.Tensor:
    return x.transpose(dim1, dim2)


def permute(x: torch.Tensor, dims: Sequence[int]) -> torch.Tensor:
    return x.permute(tuple(dims))


def argmax(x: torch.Tensor, *, dim: int | None = None, keepdim: bool = False) -> torch.Tensor:
    return x.argmax(dim, keepdim)


def plus_one(x: torch.Tensor, *, skip_negative_entries: bool = False) -> None:
    x += (x >= 0).to(x.dtype) if skip_negative_entries else 1


def copy(source: torch.Tensor, target: torch.Tensor) -> None:
    target.copy_(source)


IN_PLACE: Final[Mapping[str, tuple[int, ...]]] = {
    "plus_one": (0,),
    "copy": (1,),
    "manual_seed": (),
    "experimental.paged_fill_cache": (0,),
    "experimental.paged_update_cache": (0,),
    "experimental.paged_fused_update_cache": (0, 2),
}
"""Operation in place → numbers of the arguments that it changes."""

OPERATIONS: Final[Mapping[str, Callable[..., Any]]] = {
    **ATTENTION,
    **SAMPLING,
    "linear": linear,
    "matmul": linear,
    "experimental.minimal_matmul": minimal_matmul,
    "rms_norm": rms_norm,
    "embedding": embedding,
    "add": _binary(torch.add),
    "subtract": _binary(torch.sub),
    "multiply": _binary(torch.mul),
    **dict.fromkeys(
        [
            "clone",
            "to_layout",
            "to_memory_config",
            "interleaved_to_sharded",
            "sharded_to_interleaved",
            "tilize",
            "untilize",
            "typecast",
        ],
        unchanged,
    ),
    "reshape": reshape,
    "unsqueeze_to_4D": unsqueeze_to_4d,
    "slice": slice_of,
    "pad": pad,
    "concat": concat,
    "transpose": transpose,
    "permute": permute,
    "argmax": argmax,
    "plus_one": plus_one,
    "copy": copy,
}
"""Name below `ttnn.` → function."""
