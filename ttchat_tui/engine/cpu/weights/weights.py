"""Conversion of a checkpoint to the fused weights of the forward.

What can be computed once is folded into the weights: the attention scale into q (or its norm), the final norm's weight into
the head with the scale of the logits, the rotary order into the rows of q and k. q, k and v are one matrix, gate and up another.
"""

# numpy's stubs give results of arithmetic, `reshape` and `view` no type at Python 3.10.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from functools import partial

import msgspec
import numpy as np
import torch
from numpy.typing import NDArray

from ttchat_tui.engine.cpu.checkpoints.checkpoint import Checkpoint, ModelConfig, Routing
from ttchat_tui.engine.cpu.forward.feed_forward import Dense, Experts
from ttchat_tui.engine.cpu.forward.rope import pair_rows
from ttchat_tui.engine.cpu.native.library import Library
from ttchat_tui.engine.cpu.tensors import tensor_of
from ttchat_tui.engine.cpu.weights.linear import Linear, fits_f16
from ttchat_tui.engine.cpu.weights.matrices import MatrixBuilder, MatrixPart
from ttchat_tui.engine.cpu.weights.precision import WeightPlan


class LayerWeights(msgspec.Struct, frozen=True, kw_only=True):
    """Norms have float32 weights [hidden]; None: the family has no such norm."""

    attn_norm: torch.Tensor | None
    """Before attention. Not folded into qkv, because 4-bit blocks could not hold it."""
    attn_post_norm: torch.Tensor | None
    """Of what attention adds to the hidden state."""
    ffn_norm: torch.Tensor | None
    """Before the feed-forward layer."""
    ffn_post_norm: torch.Tensor | None
    """Of what the feed-forward layer adds."""
    qkv: Linear
    """hidden → (heads + 2 * kv_heads) * head_size."""
    o: Linear
    ffn: Dense | Experts
    qk_norm: torch.Tensor | None
    """[heads + kv_heads, head_size]: weight of the norm of q and k (Qwen3), attention scale included."""
    window: int
    """Sliding window in positions; 0 is none."""
    rope: int
    """Index in `ModelConfig.rope_kinds`."""

    @property
    def linears(self) -> Iterator[Linear]:
        yield self.qkv
        yield self.o
        for dense in [self.ffn] if isinstance(self.ffn, Dense) else self.ffn.experts:
            yield dense.gate_up
            yield dense.down


class Weights(msgspec.Struct, frozen=True):
    embed: torch.Tensor
    """[vocab, hidden], float32 or float16."""
    layers: list[LayerWeights]
    head: Linear
    """hidden → vocab, the final norm folded in."""


def convert_weights(
    checkpoint: Checkpoint,
    plan: WeightPlan,
    report: Callable[[int, int], None],
    library: Library | None = None,
) -> Weights:
    """Read and convert all weights. `report(done, total)` is called after each layer, on the caller's thread, and may raise.

    Layers are converted in parallel, one thread each, because packing is serial code that releases the GIL.

    Raises:
        ModelLoadError: a weight is missing or cannot be read.
    """
    config = checkpoint.config
    report(0, config.layers)
    # Before the layers: the float32 embedding is the memory peak of a small model.
    build = MatrixBuilder(checkpoint, plan, library)
    embed, head = _convert_ends(checkpoint, plan, build)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # Applies to the pool's threads too.
    pool = ThreadPoolExecutor(threads, thread_name_prefix="convert")
    try:
        layers = [pool.submit(_convert_layer, checkpoint, index, build) for index in range(config.layers)]
        for done, _ in enumerate(as_completed(layers), start=1):
            report(done, config.layers)
        return Weights(embed, [layer.result() for layer in layers], head)
    finally:
        pool.shutdown(cancel_futures=True)
        torch.set_num_threads(threads)


def _convert_ends(
    checkpoint: Checkpoint, plan: WeightPlan, build: MatrixBuilder
) -> tuple[torch.Tensor, Linear]:
    """Convert the embedding and the head."""
    embed = _table(checkpoint.tensor("embed"), plan)
    if checkpoint.config.is_head_tied:
        return embed, build.head("embed", embed)
    return embed, build.head("head", _table(checkpoint.tensor("head"), plan))


def _table(rows: NDArray[np.float32], plan: WeightPlan) -> torch.Tensor:
    """A lookup table of rows."""
    weight = tensor_of(rows)
    return weight.half() if plan.format != "fp32" and fits_f16(weight) else weight


def _convert_layer(checkpoint: Checkpoint, index: int, build: MatrixBuilder) -> LayerWeights:
    config = checkpoint.config

    def has(part: str) -> bool:
        return f"layers.{index}.{part}" in checkpoint.names

    def get(part: str) -> NDArray[np.float32]:
        return checkpoint.tensor(f"layers.{index}.{part}")

    def matrix_part(part: str, heads: int = 0, factor: float = 1.0) -> MatrixPart:
        name, bias = f"layers.{index}.{part}", f"layers.{index}.{part}_bias"
        reorder = partial(pair_rows, heads=heads, rotary_size=config.rotary_size) if heads else None
        return MatrixPart(name, bias if has(f"{part}_bias") else "", reorder, factor)

    def norm(part: str, is_there: bool) -> torch.Tensor | None:
        return tensor_of(get(part)) if is_there else None

    def dense(prefix: str) -> Dense:
        return Dense(
            gate_up=build.matrix(matrix_part(f"{prefix}gate"), matrix_part(f"{prefix}up"), is_gate_up=True),
            down=build.matrix(matrix_part(f"{prefix}down")),
            activation=traits.activation,
        )

    def experts(routing: Routing) -> Experts:
        each = [dense(f"experts.{number}.") for number in range(routing.experts)]
        return Experts(router=tensor_of(get("router")), experts=each, routing=routing)

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
        qk_norm=_qk_norm(config, get("q_norm") * np.float32(scale), get("k_norm")) if has_qk_norm else None,
        window=config.window_of(index),
        rope=config.rope_kinds.index(config.rope_of(index)),
    )


def _qk_norm(config: ModelConfig, q_norm: NDArray[np.float32], k_norm: NDArray[np.float32]) -> torch.Tensor:
    rows: list[NDArray[np.float32]] = []
    for weight, heads in ((q_norm, config.heads), (k_norm, config.kv_heads)):
        of_heads = weight if config.traits.qk_norm == "whole" else np.tile(weight, heads)
        rows.append(pair_rows(of_heads, heads, config.rotary_size).reshape(heads, config.head_size))
    return tensor_of(np.concatenate(rows))
