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
from ttchat_tui.engine.cpu.forward.feed_forward import Dense
from ttchat_tui.engine.cpu.forward.kv_cache import KVCache
from ttchat_tui.engine.cpu.forward.kv_fork import KVFork
from ttchat_tui.engine.cpu.native.library import Caches, Layer, LayerStack, Library, Matrix, RowPlace
from ttchat_tui.engine.cpu.native.linear import NativeLinear
from ttchat_tui.engine.cpu.weights.int4_blocks import GROUP
from ttchat_tui.engine.cpu.weights.linear import Linear
from ttchat_tui.engine.cpu.weights.weights import LayerWeights

CACHE_TYPE: Final = torch.float16
"""Type of keys and values."""
_LANES: Final = 16
_MAX_HEAD: Final = 256
_ALL: Final = 2**31 - 1
"""`shared` of a row without positions of its own."""


def fits_step(config: ModelConfig) -> bool:
    """Whether the kernel supports a model of this shape."""
    width, routing = config.heads * config.head_size, config.routing
    expert_ffn = 0 if routing is None else routing.ffn_size
    return (
        all(size % GROUP == 0 for size in (config.hidden_size, config.ffn_size, expert_ffn, width))
        and config.head_size % _LANES == 0
        and config.head_size <= _MAX_HEAD
    )


class NativeStep:
    """Runs the layers of one model. All its matrices are `NativeLinear`."""

    def __init__(self, library: Library, config: ModelConfig, layers: Sequence[LayerWeights]) -> None:
        self._library = library
        self._kept = layers  # Keeps the tensors that the structures point to.
        self._config = config
        self._layers = (Layer * len(layers))(*(_layer(layer) for layer in layers))
        routing = config.routing
        self._stack = LayerStack(
            hidden=config.hidden_size,
            ffn=config.ffn_size,
            heads=config.heads,
            kv_heads=config.kv_heads,
            head_size=config.head_size,
            layers=len(layers),
            eps=config.norm_eps,
            residual_scale=config.residual_scale,
            score_cap=config.score_cap,
            is_gelu=config.traits.activation == "gelu",
            is_whole_qk_norm=config.traits.qk_norm == "whole",
            experts=0 if routing is None else routing.experts,
            used=0 if routing is None else routing.used,
            expert_ffn=0 if routing is None else routing.ffn_size,
            is_routing_normed=routing is not None and routing.is_normed,
            layer=self._layers,
        )

    def run(self, x: torch.Tensor, rotations: torch.Tensor, kv: KVCache | KVFork) -> None:
        """Run the next rows of `kv`, for which there must be room; the caller advances it.

        Args:
            x: float32 [rows, hidden], changed in place.
            rotations: complex64 [kinds, rows, head_size / 2], or [kinds, 1, head_size / 2] for rows at one position.
        """
        rows = len(x)
        if isinstance(kv, KVFork):
            prompt = kv.prompt
            (scale,) = self._config.query_scales(kv.next_positions(rows)).ravel().tolist()
            places = [(kv.position, prompt.length, slot, scale) for slot in range(rows)]
            caches = Caches(
                shared=_pointers(prompt.tensors),
                own=_pointers(kv.tensors),
                shared_capacity=prompt.capacity,
                own_capacity=kv.capacity,
                own_slots=kv.rows,
            )
        else:
            positions = kv.next_positions(rows)
            scales = self._config.query_scales(positions).ravel().tolist()
            places = [(position, _ALL, 0, scale) for position, scale in zip(positions, scales, strict=True)]
            caches = Caches(shared=_pointers(kv.tensors), own=None, shared_capacity=kv.capacity)
        self._library.run_layers(self._stack, x, rotations, (RowPlace * rows)(*places), caches)


def native_step_of(
    library: Library | None, config: ModelConfig, layers: Sequence[LayerWeights]
) -> NativeStep | None:
    """None if the kernel does not support the model's shape or the format of a matrix."""
    if library is None or not fits_step(config):
        return None
    if not all(isinstance(linear, NativeLinear) for layer in layers for linear in layer.linears):
        return None
    return NativeStep(library, config, layers)


def _pointers(tensors: Sequence[torch.Tensor]) -> Any:
    return (ctypes.c_void_p * len(tensors))(*(tensor.data_ptr() for tensor in tensors))


def _layer(layer: LayerWeights) -> Layer:
    ffn = layer.ffn
    dense = ffn if isinstance(ffn, Dense) else None
    experts = [] if isinstance(ffn, Dense) else ffn.experts
    matrices = [_matrix(linear) for expert in experts for linear in (expert.gate_up, expert.down)]
    return Layer(
        attn_norm=_pointer(layer.attn_norm),
        ffn_norm=_pointer(layer.ffn_norm),
        attn_post_norm=_pointer(layer.attn_post_norm),
        ffn_post_norm=_pointer(layer.ffn_post_norm),
        qk_norm=_pointer(layer.qk_norm),
        qkv=_matrix(layer.qkv),
        o=_matrix(layer.o),
        gate_up=_matrix(dense.gate_up) if dense else Matrix(),
        down=_matrix(dense.down) if dense else Matrix(),
        router=None if isinstance(ffn, Dense) else _pointer(ffn.router),
        experts=(Matrix * len(matrices))(*matrices),
        window=layer.window,
        rope=layer.rope,
    )


def _matrix(linear: Linear) -> Matrix:
    assert isinstance(linear, NativeLinear)
    return linear.matrix


def _pointer(tensor: torch.Tensor | None) -> int | None:
    return None if tensor is None else tensor.data_ptr()
