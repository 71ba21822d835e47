"""The memory bound of a decode step: rate <= read bandwidth / bytes per token."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

BITS: Final = {"fp32": 32.0, "f16": 16.0, "bf16": 16.0, "int8": 8.0, "int4": 5.0}
"""Bits per weight. int4: 4 bits, plus a bfloat16 scale and zero point for each 32."""


@dataclass(frozen=True)
class Shape:
    """The values that a model reads for one token."""

    layer_weights: int
    head_weights: int
    """Looked-up rows of the embedding do not count; a head tied to it does."""
    kv_values: int
    """Keys and values of one position in all layers."""

    def bytes_a_token(self, layer_bits: float, head_bits: float, positions: int, kv_bytes: int) -> float:
        weights = (self.layer_weights * layer_bits + self.head_weights * head_bits) / 8
        return weights + self.kv_values * positions * kv_bytes


def decoder_shape(
    *, hidden: int, ffn: int, layers: int, heads: int, kv_heads: int, head_size: int, vocab: int
) -> Shape:
    """The shape of a model of the Llama family."""
    attention = hidden * head_size * (2 * heads + 2 * kv_heads)
    return Shape(layers * (attention + 3 * hidden * ffn), vocab * hidden, layers * 2 * kv_heads * head_size)


LARGER: Final = {
    "Llama 3.2 1B": decoder_shape(
        hidden=2048, ffn=8192, layers=16, heads=32, kv_heads=8, head_size=64, vocab=128_256
    ),
    "Llama 3.2 3B": decoder_shape(
        hidden=3072, ffn=8192, layers=28, heads=24, kv_heads=8, head_size=128, vocab=128_256
    ),
}
"""Published shapes; these models were not run."""


def kv_bytes(label: str) -> int:
    """Bytes of a key's or value's element: the compiled kernel reads float16, everything else float32."""
    return 2 if "native" in label else 4


def held_bits(label: str, requested: str) -> tuple[float, float]:
    """Bits per weight in the layers and in the head.

    Args:
        label: the engine's, such as `cpu int4`.
        requested: the precision. `auto` keeps the head in 16 bits beside 4-bit layers, `int4` in 8; the compiled
            kernel has it in 8 with a float16 scale to 32 of them.
    """
    if "native" in label:
        return 5.0, 8.5
    bits = BITS[next(word for word in label.split() if word in BITS)]
    return bits, max(bits, 16.0 if requested == "auto" else 8.0)
