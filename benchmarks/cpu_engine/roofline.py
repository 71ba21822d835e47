"""The memory bound of a decode step: rate <= read bandwidth / bytes per token."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from ttchat_tui.domain.ggml_types import GGML_TYPES
from ttchat_tui.engine.cpu.native.step import FORMATS

BITS: Final = {"fp32": 32.0, "f16": 16.0, "bf16": 16.0, "int8": 8.0, "int4": 5.0}
"""Bits per weight. int4: 4 bits, plus a bfloat16 scale and zero point for each 32."""


NATIVE_BITS: Final = {
    **{each.name.lower(): 8 * each.size / each.weights for each in GGML_TYPES.values()},
    "int4": 5.0,
    "int8": 8.5,
}
"""Bits per weight in the compiled kernel: those of the file, or rounded to blocks of 32 with a scale (and a minimum)."""


@dataclass(frozen=True)
class ReadShape:
    """The values that a model reads for one token."""

    layer_weights: int
    head_weights: int
    """Looked-up rows of the embedding do not count; a head tied to it does."""
    kv_values: int
    """Keys and values of one position in all layers."""
    head_size: int

    def bytes_a_token(self, label: str, requested: str, positions: int) -> float:
        """What a step reads behind `positions`. `label`, `requested`: as in `held_bits`."""
        layer_bits, head_bits = held_bits(label, requested)
        weights = (self.layer_weights * layer_bits + self.head_weights * head_bits) / 8
        return weights + self.kv_values * positions * kv_bytes(label, self.head_size)


def decoder_shape(
    *, hidden: int, ffn: int, layers: int, heads: int, kv_heads: int, head_size: int, vocab: int
) -> ReadShape:
    """The shape of a model of the Llama family."""
    attention = hidden * head_size * (2 * heads + 2 * kv_heads)
    weights, kv = layers * (attention + 3 * hidden * ffn), layers * 2 * kv_heads * head_size
    return ReadShape(weights, vocab * hidden, kv, head_size)


LARGER: Final = {
    "Llama 3.2 1B": decoder_shape(
        hidden=2048, ffn=8192, layers=16, heads=32, kv_heads=8, head_size=64, vocab=128_256
    ),
    "Llama 3.2 3B": decoder_shape(
        hidden=3072, ffn=8192, layers=28, heads=24, kv_heads=8, head_size=128, vocab=128_256
    ),
}
"""Published shapes; these models were not run."""


def kv_bytes(label: str, head_size: int) -> float:
    """Bytes of a key's or value's element, scales included: the compiled kernel reads the format that the label names,
    everything else float32."""
    if "native" not in label:
        return 4.0
    held = FORMATS["q8" if "kv-q8" in label.split() else "f16"]
    return np.dtype(held.dtype).itemsize * held.width(head_size) / (held.tile * head_size)


def held_bits(label: str, requested: str) -> tuple[float, float]:
    """Bits per weight in the layers and in the head.

    Args:
        label: the engine's, such as `cpu int4`.
        requested: the precision. `auto` keeps the head in 16 bits beside 4-bit layers, `int4` in 8; the default model's
            file has it in Q8_0, as the compiled kernel then has.
    """
    if "native" in label:
        return next(bits for name, bits in NATIVE_BITS.items() if name in label.split()), NATIVE_BITS["int8"]
    bits = BITS[next(word for word in label.split() if word in BITS)]
    return bits, max(bits, 16.0 if requested == "auto" else 8.0)
