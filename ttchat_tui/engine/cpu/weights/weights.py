"""Conversion of a checkpoint to the fused weights of the forward.

What can be computed once is folded into the weights: the attention scale into q (or its norm), the final norm's weight into
the head with the scale of the logits, the rotary order into the rows of q and k. q, k and v are one matrix, gate and up another.
"""

# numpy's stubs give results of arithmetic, `reshape` and `view` no type at Python 3.10.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from functools import partial
from typing import Any, Generic, Literal, Protocol, TypeVar

import msgspec
import numpy as np
from numpy.typing import NDArray

from ttchat_tui.engine.cpu.checkpoints.checkpoint import Checkpoint, ModelConfig, Routing
from ttchat_tui.engine.cpu.checkpoints.parts import shape_of
from ttchat_tui.engine.cpu.forward.rope import pair_rows

Array = TypeVar("Array")
Matrix = TypeVar("Matrix")
Array_co = TypeVar("Array_co", covariant=True)
Matrix_co = TypeVar("Matrix_co", covariant=True)


class MatrixPart(msgspec.Struct, frozen=True):
    """One weight in a fused matrix."""

    name: str
    """Canonical name of the weight."""
    bias: str = ""
    """Canonical name of its bias, if it has one."""
    reorder: Callable[[NDArray[Any]], NDArray[Any]] | None = None
    """Permutes the rows; None keeps their order."""
    factor: float = 1.0

    def placed(self, weight: NDArray[np.float32]) -> NDArray[np.float32]:
        """The weight or its bias, in order and multiplied."""
        ordered = self.reorder(weight) if self.reorder else weight
        return ordered * np.float32(self.factor) if self.factor != 1.0 else ordered


def joined_bias(checkpoint: Checkpoint, parts: Sequence[MatrixPart]) -> NDArray[np.float32] | None:
    """The biases of a fused matrix, with zeros for a part that has none; None if no part has one.

    Raises:
        ModelLoadError: one cannot be read.
    """
    if not any(part.bias for part in parts):
        return None
    sizes = [shape_of(part.name, checkpoint.config) for part in parts]
    return np.concatenate([
        part.placed(checkpoint.tensor(part.bias)) if part.bias else np.zeros(size[:1] if size else 0, np.float32)
        for part, size in zip(parts, sizes, strict=True)
    ])  # fmt: skip


class Dense(msgspec.Struct, Generic[Matrix], frozen=True, kw_only=True):
    """A feed-forward network: down(activation(gate) * up) (Shazeer 2020, arXiv:2002.05202)."""

    gate_up: Matrix
    """hidden → 2 * ffn_size, gate first."""
    down: Matrix
    activation: Literal["silu", "gelu"]


class Experts(msgspec.Struct, Generic[Array, Matrix], frozen=True, kw_only=True):
    """A mixture of experts (Jiang et al. 2024, arXiv:2401.04088): a softmax over the router's outputs weighs the greatest."""

    router: Array
    """float32 [experts, hidden]. Not rounded: a small error may choose another expert."""
    experts: list[Dense[Matrix]]
    routing: Routing


class LayerWeights(msgspec.Struct, Generic[Array, Matrix], frozen=True, kw_only=True):
    """Norms have float32 weights [hidden]; None: the family has no such norm."""

    attn_norm: Array | None
    """Before attention. Not folded into qkv, because 4-bit blocks could not hold it."""
    attn_post_norm: Array | None
    """Of what attention adds to the hidden state."""
    ffn_norm: Array | None
    """Before the feed-forward layer."""
    ffn_post_norm: Array | None
    """Of what the feed-forward layer adds."""
    qkv: Matrix
    """hidden → (heads + 2 * kv_heads) * head_size."""
    o: Matrix
    ffn: Dense[Matrix] | Experts[Array, Matrix]
    qk_norm: Array | None
    """[heads + kv_heads, head_size]: weight of the norm of q and k (Qwen3), attention scale included."""
    window: int
    """Sliding window in positions; 0 is none."""
    rope: int
    """Index in `ModelConfig.rope_kinds`."""

    @property
    def matrices(self) -> Iterator[Matrix]:
        yield self.qkv
        yield self.o
        for dense in [self.ffn] if isinstance(self.ffn, Dense) else self.ffn.experts:
            yield dense.gate_up
            yield dense.down


class Builder(Protocol[Array_co, Matrix_co]):
    """Puts the weights of a checkpoint into the form that one of the forwards computes with. Thread-safe."""

    def matrix(self, *parts: MatrixPart, is_gate_up: bool = False) -> Matrix_co:
        """The rows of `parts`, concatenated. `is_gate_up`: they are gate and up.

        Raises:
            ModelLoadError: a weight is missing or cannot be read.
        """
        ...

    def vector(self, values: NDArray[np.float32]) -> Array_co: ...


def convert_layers(
    checkpoint: Checkpoint, build: Builder[Array, Matrix], report: Callable[[int, int], None], workers: int
) -> list[LayerWeights[Array, Matrix]]:
    """Read and convert the layers. `report(done, total)` is called after each, on the caller's thread, and may raise.

    `workers` convert layers at the same time: torch's packing is serial code that releases the GIL.

    Raises:
        ModelLoadError: a weight is missing or cannot be read.
    """
    config = checkpoint.config
    pool = ThreadPoolExecutor(workers, thread_name_prefix="convert")
    try:
        layers = [pool.submit(_convert_layer, checkpoint, index, build) for index in range(config.layers)]
        for done, _ in enumerate(as_completed(layers), start=1):
            report(done, config.layers)
        return [layer.result() for layer in layers]
    finally:
        pool.shutdown(cancel_futures=True)


def _convert_layer(
    checkpoint: Checkpoint, index: int, build: Builder[Array, Matrix]
) -> LayerWeights[Array, Matrix]:
    config = checkpoint.config

    def has(part: str) -> bool:
        return f"layers.{index}.{part}" in checkpoint.names

    def get(part: str) -> NDArray[np.float32]:
        return checkpoint.tensor(f"layers.{index}.{part}")

    def matrix_part(part: str, heads: int = 0, factor: float = 1.0) -> MatrixPart:
        name, bias = f"layers.{index}.{part}", f"layers.{index}.{part}_bias"
        reorder = partial(pair_rows, heads=heads, rotary_size=config.rotary_size) if heads else None
        return MatrixPart(name, bias if has(f"{part}_bias") else "", reorder, factor)

    def norm(part: str, is_there: bool) -> Array | None:
        return build.vector(get(part)) if is_there else None

    def dense(prefix: str) -> Dense[Matrix]:
        return Dense(
            gate_up=build.matrix(matrix_part(f"{prefix}gate"), matrix_part(f"{prefix}up"), is_gate_up=True),
            down=build.matrix(matrix_part(f"{prefix}down")),
            activation=traits.activation,
        )

    def experts(routing: Routing) -> Experts[Array, Matrix]:
        each = [dense(f"experts.{number}.") for number in range(routing.experts)]
        return Experts(router=build.vector(get("router")), experts=each, routing=routing)

    traits = config.traits
    norms, has_qk_norm = traits.norms, traits.qk_norm != "none" or has("q_norm")
    scale = config.attention_scale or 1.0 / math.sqrt(config.head_size)
    # A norm over q would undo a scale before it, so the scale goes into the norm's weight.
    q_scale = 1.0 if has_qk_norm else scale
    return LayerWeights(
        attn_norm=norm("attn_norm", norms != "after"),
        attn_post_norm=norm("attn_post_norm", norms != "before"),
        ffn_norm=norm("ffn_norm", norms != "after"),
        ffn_post_norm=norm("ffn_post_norm", norms != "before"),
        qkv=build.matrix(
            matrix_part("q", config.heads, q_scale), matrix_part("k", config.kv_heads), matrix_part("v")
        ),
        o=build.matrix(matrix_part("o")),
        ffn=experts(config.routing) if config.routing is not None and has("router") else dense(""),
        qk_norm=build.vector(_qk_norm(config, get("q_norm") * np.float32(scale), get("k_norm")))
        if has_qk_norm
        else None,
        window=config.window_of(index),
        rope=config.rope_kinds.index(config.rope_of(index)),
    )


def _qk_norm(
    config: ModelConfig, q_norm: NDArray[np.float32], k_norm: NDArray[np.float32]
) -> NDArray[np.float32]:
    rows: list[NDArray[np.float32]] = []
    for weight, heads in ((q_norm, config.heads), (k_norm, config.kv_heads)):
        of_heads = weight if config.traits.qk_norm == "whole" else np.tile(weight, heads)
        rows.append(pair_rows(of_heads, heads, config.rotary_size).reshape(heads, config.head_size))
    return np.concatenate(rows)
