"""All layers in one call of the compiled kernel, for any number of rows: a prompt, a step, a draft or a batch.

Each row gives the same bits as alone: sums of products are exact integers within a group of 32, and everything else is
computed row by row in a fixed order.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from typing import Any, Final

import torch

from ttchat_tui.engine.cpu.checkpoints.checkpoint import ModelConfig
from ttchat_tui.engine.cpu.forward.kv_cache import KVCache
from ttchat_tui.engine.cpu.forward.kv_fork import KVFork
from ttchat_tui.engine.cpu.native.library import Caches, Layer, LayerStack, Library, RowPlace
from ttchat_tui.engine.cpu.native.linear import NativeLinear
from ttchat_tui.engine.cpu.weights.int4_blocks import GROUP
from ttchat_tui.engine.cpu.weights.weights import LayerWeights

CACHE_TYPE: Final = torch.float16
"""Type of keys and values."""
_LANES: Final = 16
_MAX_HEAD: Final = 256
_ALL: Final = 2**31 - 1
"""`shared` of a row without positions of its own."""


def fits_step(config: ModelConfig) -> bool:
    """Whether the kernel supports a model of this shape."""
    width = config.heads * config.head_size
    return (
        all(size % GROUP == 0 for size in (config.hidden_size, config.ffn_size, width))
        and config.head_size % _LANES == 0
        and config.head_size <= _MAX_HEAD
    )


class NativeStep:
    """Runs the layers of one model. All its matrices are `NativeLinear`."""

    def __init__(self, library: Library, config: ModelConfig, layers: Sequence[LayerWeights]) -> None:
        self._library = library
        self._kept = layers  # Keeps the tensors that the structures point to.
        self._layers = (Layer * len(layers))(*(_layer(layer) for layer in layers))
        self._stack = LayerStack(
            hidden=config.hidden_size,
            ffn=config.ffn_size,
            heads=config.heads,
            kv_heads=config.kv_heads,
            head_size=config.head_size,
            layers=len(layers),
            eps=config.norm_eps,
            layer=self._layers,
        )

    def run(self, x: torch.Tensor, rotations: torch.Tensor, kv: KVCache | KVFork) -> None:
        """Run the next rows of `kv`, for which there must be room; the caller advances it.

        Args:
            x: float32 [rows, hidden], changed in place.
            rotations: complex64 [rows, 1, head_size / 2], or [1, 1, head_size / 2] for rows at one position.
        """
        rows = len(x)
        if isinstance(kv, KVFork):
            prompt = kv.prompt
            places = [(kv.position, prompt.length, slot) for slot in range(rows)]
            caches = Caches(
                shared=_pointers(prompt.tensors),
                own=_pointers(kv.tensors),
                shared_capacity=prompt.capacity,
                own_capacity=kv.capacity,
                own_slots=kv.rows,
            )
        else:
            places = [(position, _ALL, 0) for position in kv.next_positions(rows)]
            caches = Caches(shared=_pointers(kv.tensors), own=None, shared_capacity=kv.capacity)
        self._library.run_layers(self._stack, x, rotations, (RowPlace * rows)(*places), caches)


def native_step_of(
    library: Library | None, config: ModelConfig, layers: Sequence[LayerWeights]
) -> NativeStep | None:
    """None if the kernel does not support the model's shape or the format of a matrix."""
    if library is None or not fits_step(config):
        return None
    for layer in layers:
        if not all(isinstance(linear, NativeLinear) for linear in layer.linears):
            return None
    return NativeStep(library, config, layers)


def _pointers(tensors: Sequence[torch.Tensor]) -> Any:
    return (ctypes.c_void_p * len(tensors))(*(tensor.data_ptr() for tensor in tensors))


def _layer(layer: LayerWeights) -> Layer:
    qkv, o, gate_up, down = (linear for linear in layer.linears)
    assert isinstance(qkv, NativeLinear)
    assert isinstance(o, NativeLinear)
    assert isinstance(gate_up, NativeLinear)
    assert isinstance(down, NativeLinear)
    return Layer(
        attn_norm=layer.attn_norm.data_ptr(),
        ffn_norm=layer.ffn_norm.data_ptr(),
        qk_norm=None if layer.qk_norm is None else layer.qk_norm.data_ptr(),
        qkv=qkv.matrix,
        o=o.matrix,
        gate_up=gate_up.matrix,
        down=down.matrix,
        window=layer.window,
    )
