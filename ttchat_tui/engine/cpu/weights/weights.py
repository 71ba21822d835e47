"""Conversion of a checkpoint to the fused weights of the forward.

What can be computed once is folded into the weights: the attention scale into q (or its norm), the final norm's weight into
the head, the rotary order into the rows of q and k. q, k and v are one matrix, gate and up another.
"""

# numpy's stubs give results of arithmetic, `reshape` and `view` no type at Python 3.10.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

from __future__ import annotations

import math
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, as_completed
from functools import partial

import msgspec
import numpy as np
import torch
from numpy.typing import NDArray

from ttchat_tui.engine.cpu.checkpoints.checkpoint import Checkpoint, ModelConfig
from ttchat_tui.engine.cpu.forward.rope import pair_rows
from ttchat_tui.engine.cpu.native.library import Library
from ttchat_tui.engine.cpu.tensors import tensor_of
from ttchat_tui.engine.cpu.weights.linear import Linear, fits_f16
from ttchat_tui.engine.cpu.weights.matrices import MatrixBuilder, MatrixPart
from ttchat_tui.engine.cpu.weights.precision import WeightPlan


class LayerWeights(msgspec.Struct, frozen=True):
    attn_norm: torch.Tensor
    """float32 [hidden], weight of the norm before attention. Not folded into qkv, because 4-bit blocks could not hold it."""
    ffn_norm: torch.Tensor
    """float32 [hidden], weight of the norm before the feed-forward layer."""
    qkv: Linear
    """hidden → (heads + 2 * kv_heads) * head_size."""
    o: Linear
    gate_up: Linear
    """hidden → 2 * ffn_size, gate first."""
    down: Linear
    qk_norm: torch.Tensor | None
    """[heads + kv_heads, head_size]: weight of the norm over each head of q and k (Qwen3), attention scale included."""
    window: int
    """Sliding window in positions; 0 is none."""


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
        reorder = partial(pair_rows, heads=heads) if heads else None
        return MatrixPart(name, bias if has(f"{part}_bias") else "", reorder, factor)

    scale = 1.0 / math.sqrt(config.head_size)
    # A norm over q would undo a scale before it, so the scale goes into the norm's weight.
    q_scale = 1.0 if has("q_norm") else scale
    return LayerWeights(
        attn_norm=tensor_of(get("attn_norm")),
        ffn_norm=tensor_of(get("ffn_norm")),
        qkv=build.matrix(
            matrix_part("q", config.heads, q_scale), matrix_part("k", config.kv_heads), matrix_part("v")
        ),
        o=build.matrix(matrix_part("o")),
        gate_up=build.matrix(matrix_part("gate"), matrix_part("up"), is_gate_up=True),
        down=build.matrix(matrix_part("down")),
        qk_norm=_qk_norm(config, get("q_norm") * np.float32(scale), get("k_norm")) if has("q_norm") else None,
        window=config.window_of(index),
    )


def _qk_norm(config: ModelConfig, q_norm: NDArray[np.float32], k_norm: NDArray[np.float32]) -> torch.Tensor:
    q_rows = np.tile(pair_rows(q_norm, 1), (config.heads, 1))
    return tensor_of(np.concatenate((q_rows, np.tile(pair_rows(k_norm, 1), (config.kv_heads, 1)))))
