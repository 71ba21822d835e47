"""Checkpoint → the fused, folded weights that the forward runs on.

Folded once, so that no token pays for it: each RMSNorm's weight into the matrix that follows it, the attention scale
into q (or its norm), rotary order into the rows of q and k. q, k and v are one matrix, gate and up another.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, as_completed
from typing import Literal, TypeAlias

import msgspec
import torch

from ttchat_tui.engine.torch_engine.checkpoint import Checkpoint, ModelConfig
from ttchat_tui.engine.torch_engine.linear import F16Linear, Fp32Head, Fp32Linear, Linear, fits_f16
from ttchat_tui.engine.torch_engine.rope import pair_rows

ExactPrecision: TypeAlias = Literal["fp32", "f16"]


class LayerWeights(msgspec.Struct, frozen=True):
    qkv: Linear
    """hidden → (heads + 2 * kv_heads) * head_size."""
    o: Linear
    gate_up: Linear
    """hidden → 2 * ffn_size, gate first."""
    down: Linear
    qk_norm: torch.Tensor | None
    """[heads + kv_heads, head_size]: weight of the norm over each head of q and k (Qwen3), scale included."""
    window: int
    """Sliding window in positions; 0 is none."""


class Weights(msgspec.Struct, frozen=True):
    embed: torch.Tensor
    """[vocab, hidden], float32 or float16."""
    layers: list[LayerWeights]
    head: Linear
    """hidden → vocab, the final norm folded in."""


def convert_weights(
    checkpoint: Checkpoint, precision: ExactPrecision, report: Callable[[int, int], None]
) -> Weights:
    """Read and convert all weights; `report(done, total)` after each layer, on the caller's thread; it may raise.

    Layers are converted side by side, one core each: packing for fbgemm is serial code (SmolLM2 on two cores: 1.3 s
    instead of 2.4). The calls release the GIL.

    Raises:
        ModelLoadError: a weight is missing or cannot be read.
    """
    config = checkpoint.config
    total = config.layers + 1
    report(0, total)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # Holds for the pool's threads as well.
    pool = ThreadPoolExecutor(threads, thread_name_prefix="convert")
    try:
        # The head first: it takes the longest.
        head = pool.submit(_convert_ends, checkpoint, precision)
        layers = [pool.submit(_convert_layer, checkpoint, index, precision) for index in range(config.layers)]
        for done, _ in enumerate(as_completed([head, *layers]), start=1):
            report(done, total)
        embed, linear = head.result()
        return Weights(embed, [layer.result() for layer in layers], linear)
    finally:
        pool.shutdown(cancel_futures=True)
        torch.set_num_threads(threads)


def _convert_ends(checkpoint: Checkpoint, precision: ExactPrecision) -> tuple[torch.Tensor, Linear]:
    """The embedding and the head."""
    embed = checkpoint.tensor("embed")
    head = embed if checkpoint.config.is_head_tied else checkpoint.tensor("head")
    head = head * checkpoint.tensor("norm")
    if precision == "f16" and fits_f16(head):
        return embed.half(), F16Linear(head)
    return embed, Fp32Head(head)


def _convert_layer(checkpoint: Checkpoint, index: int, precision: ExactPrecision) -> LayerWeights:
    config = checkpoint.config

    def get(name: str) -> torch.Tensor:
        return checkpoint.tensor(f"layers.{index}.{name}")

    def has(name: str) -> bool:
        return f"layers.{index}.{name}" in checkpoint.names

    def pack(weight: torch.Tensor, bias: torch.Tensor | None = None) -> Linear:
        kind = F16Linear if precision == "f16" and fits_f16(weight) else Fp32Linear
        return kind(weight, bias)

    scale = 1.0 / math.sqrt(config.head_size)
    # A norm over q would undo a scale in front of it: there it goes into the norm's weight.
    q_scale = 1.0 if has("q_norm") else scale
    qkv = torch.cat(
        (pair_rows(get("q"), config.heads) * q_scale, pair_rows(get("k"), config.kv_heads), get("v"))
    )
    bias = None
    if has("q_bias"):
        q_bias = pair_rows(get("q_bias"), config.heads) * q_scale
        bias = torch.cat((q_bias, pair_rows(get("k_bias"), config.kv_heads), get("v_bias")))
    gate_up = torch.cat((get("gate"), get("up")))
    return LayerWeights(
        qkv=pack(qkv * get("attn_norm"), bias),
        o=pack(get("o"), get("o_bias") if has("o_bias") else None),
        gate_up=pack(gate_up * get("ffn_norm")),
        down=pack(get("down")),
        qk_norm=_qk_norm(config, get("q_norm") * scale, get("k_norm")) if has("q_norm") else None,
        window=config.window_of(index),
    )


def _qk_norm(config: ModelConfig, q_norm: torch.Tensor, k_norm: torch.Tensor) -> torch.Tensor:
    q_rows = pair_rows(q_norm, 1).expand(config.heads, -1)
    return torch.cat((q_rows, pair_rows(k_norm, 1).expand(config.kv_heads, -1)))
