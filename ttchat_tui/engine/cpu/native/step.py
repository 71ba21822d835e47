"""All layers in one call of the compiled kernel, for any number of rows: a prompt, a step, a draft or a batch.

Each row gives the same bits as alone: sums of products are exact integers within a group of 32, and everything else is
computed row by row in a fixed order.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from typing import Any, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ttchat_tui.engine.cpu.checkpoints.checkpoint import ModelConfig
from ttchat_tui.engine.cpu.forward.kv_cache import CacheFormat, KVCache
from ttchat_tui.engine.cpu.forward.kv_fork import KVFork
from ttchat_tui.engine.cpu.native.library import Caches, Layer, LayerStack, Library, Matrix, RowPlace
from ttchat_tui.engine.cpu.native.linear import NativeLinear
from ttchat_tui.engine.cpu.weights.int4_blocks import GROUP
from ttchat_tui.engine.cpu.weights.weights import Dense, LayerWeights

NativeLayer: TypeAlias = LayerWeights[NDArray[np.float32], NativeLinear]

FORMATS: Final = {
    "f16": CacheFormat("f16", np.float16),
    "q8": CacheFormat("q8", np.uint8, tile=32, scale_size=2),
}
"""Of keys and values, by their names in `CpuOptions`: as they are, and 8 bits with a float16 scale (attention_q8.h)."""
_LANES: Final = 16
_MAX_HEAD: Final = 256
_ALL: Final = 2**31 - 1
"""`shared` of a row without positions of its own."""


def fits_step(config: ModelConfig) -> bool:
    """Whether the kernel supports a model of this shape."""
    width, routing = config.heads * config.head_size, config.routing
    expert_ffn = 0 if routing is None else routing.ffn_size
    qkv = width + 2 * config.kv_heads * config.head_size
    return (
        all(size % GROUP == 0 for size in (config.hidden_size, config.ffn_size, expert_ffn, width, qkv))
        and config.head_size % _LANES == 0
        and config.head_size <= _MAX_HEAD
    )


class NativeStep:
    """Runs the layers of one model."""

    def __init__(self, library: Library, config: ModelConfig, layers: Sequence[NativeLayer]) -> None:
        self._library = library
        self._kept = layers  # Keeps the arrays that the structures point to.
        self._config = config
        self._addresses: tuple[Sequence[int], Sequence[int]] = (), ()
        """Of the latest step's caches."""
        self._caches = Caches()
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

    def run(
        self, x: NDArray[np.float32], outputs: int, rotations: NDArray[np.complex64], kv: KVCache | KVFork
    ) -> None:
        """Run the next rows of `kv`, for which there must be room; the caller advances it.

        Args:
            x: [rows, hidden], changed in place.
            outputs: how many of the last rows of x are hidden states afterwards.
            rotations: [kinds, rows, head_size / 2], or [kinds, 1, head_size / 2] for rows at one position.
        """
        rows = len(x)
        positions = kv.next_positions(rows)
        scales = self._config.query_scales(positions).ravel().tolist() if self._config.query_growth else [1.0]
        if isinstance(kv, KVFork):
            places = [(kv.position, kv.shared, slot, scales[0]) for slot in range(rows)]
        else:
            scales = scales if len(scales) == rows else scales * rows
            places = [(position, _ALL, 0, scale) for position, scale in zip(positions, scales, strict=True)]
        self._library.run_layers(
            self._stack, x, outputs, rotations, (RowPlace * rows)(*places), self._caches_of(kv)
        )

    def _caches_of(self, kv: KVCache | KVFork) -> Caches:
        """Made when an address has changed."""
        own, prompt = (kv.addresses, kv.prompt) if isinstance(kv, KVFork) else ((), kv)
        if self._addresses[0] is not prompt.addresses or self._addresses[1] is not own:
            self._addresses = prompt.addresses, own
            self._caches = Caches(
                shared=_pointers(prompt.addresses),
                own=_pointers(own) if own else None,
                shared_capacity=prompt.capacity,
                own_capacity=kv.capacity if own else 0,
                own_slots=kv.rows if isinstance(kv, KVFork) else 0,
                is_q8=prompt.format.name == "q8",
            )
        return self._caches


def _pointers(addresses: Sequence[int]) -> Any:
    return (ctypes.c_void_p * len(addresses))(*addresses)


def _layer(layer: NativeLayer) -> Layer:
    ffn = layer.ffn
    dense = ffn if isinstance(ffn, Dense) else None
    experts = [] if isinstance(ffn, Dense) else ffn.experts
    matrices = [linear.matrix for expert in experts for linear in (expert.gate_up, expert.down)]
    return Layer(
        attn_norm=_pointer(layer.attn_norm),
        ffn_norm=_pointer(layer.ffn_norm),
        attn_post_norm=_pointer(layer.attn_post_norm),
        ffn_post_norm=_pointer(layer.ffn_post_norm),
        qk_norm=_pointer(layer.qk_norm),
        qkv=layer.qkv.matrix,
        o=layer.o.matrix,
        gate_up=dense.gate_up.matrix if dense else Matrix(),
        down=dense.down.matrix if dense else Matrix(),
        router=None if isinstance(ffn, Dense) else _pointer(ffn.router),
        experts=(Matrix * len(matrices))(*matrices),
        window=layer.window,
        rope=layer.rope,
    )


def _pointer(array: NDArray[np.float32] | None) -> int | None:
    return None if array is None else array.ctypes.data
