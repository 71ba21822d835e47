"""Memory check before a load, so that the kernel's OOM killer does not end it."""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

import msgspec

from ttchat_tui.domain.given_settings import setting
from ttchat_tui.domain.model_spec import PrefillCopy
from ttchat_tui.engine.base import OutOfMemory
from ttchat_tui.engine.cpu.checkpoints.checkpoint import ModelConfig
from ttchat_tui.engine.cpu.forward.kv_cache import FLOAT32, CacheFormat
from ttchat_tui.engine.cpu.weights.precision import Kernel, WeightFormat, WeightPlan

_RUNTIME: Final = 300 * 2**20
"""Bytes for torch itself, the vocabulary and working space."""
_NATIVE_RUNTIME: Final = 150 * 2**20
"""The same without torch."""
_FIRST_POSITIONS: Final = 2048
"""Positions of the first KV cache."""


_WEIGHT_BYTES: Final[dict[WeightFormat, float]] = {
    "fp32": 4.0, "f16": 2.0, "bf16": 2.0, "int8": 1.0, "int4": 0.625,
}  # fmt: skip
"""Bytes of a weight in a matrix; for 4 bits with its share of the group's scale and zero."""


def needed_bytes(config: ModelConfig, plan: WeightPlan, cache_format: CacheFormat = FLOAT32) -> int:
    """Estimated peak of a load: weights, what is under conversion, and the first KV cache."""
    table = config.vocab_size * config.hidden_size
    layers = config.parameters() - (table if config.is_head_tied else 2 * table)
    cache = (
        config.layers * 2 * config.kv_heads * cache_format.position_bytes(config.head_size) * _FIRST_POSITIONS
    )
    if plan.is_native:
        # The embedding stays in the file, and weights are packed from there.
        head = table * max(1.0625, _WEIGHT_BYTES[plan.format])
        return int(head + layers * _WEIGHT_BYTES[plan.format] + cache + _NATIVE_RUNTIME)
    looked_up = table * (4 if plan.format == "fp32" else 2)
    # A tied head is a second table: the embedding is for lookup, the head is packed for its product.
    head = table * (1 if plan.has_int8_head else 4 if plan.format == "fp32" else 2)
    if plan.has_int8_head and not config.is_head_tied:
        head += 2 * table  # Its rows, for rescoring.
    weights = looked_up + head + layers * _WEIGHT_BYTES[plan.format] + 2 * layers * plan.prefill_copy
    # One layer, expert or table is float32 while it is converted.
    at_once = 2 * layers // config.layers // (1 if config.routing is None else config.routing.experts)
    return int(weights + max(at_once, table) * 4 + cache + _RUNTIME)


def with_prefill_copy(
    plan: WeightPlan,
    setting: PrefillCopy,
    kernels: Collection[Kernel],
    config: ModelConfig,
    available: int | None,
) -> WeightPlan:
    """The plan, with a bfloat16 copy of the layers for prompts if that helps and the setting allows it.

    `auto` makes one if half of the available memory stays free; not if that is unknown.
    """
    if setting == "off" or plan.format not in ("int4", "int8") or "bf16" not in kernels:
        return plan
    copied = msgspec.structs.replace(plan, prefill_copy=True)
    if setting == "auto" and (available is None or needed_bytes(config, copied) > available // 2):
        return plan
    return copied


def check_memory(needed: int, available: int | None) -> None:
    """
    Raises:
        OutOfMemory: less is available than needed. No check if `available` is None (unknown).
    """
    if available is None or needed <= available:
        return
    raise OutOfMemory(
        f"The model needs about {needed / 1e9:.1f} GB of memory, but only {available / 1e9:.1f} GB are free.",
        f"Close other programs, choose a smaller model, or set {setting('cpu.precision')} to auto or int4.",
    )
