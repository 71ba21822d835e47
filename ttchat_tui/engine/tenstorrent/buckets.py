"""Prefill buckets: the lengths that prompts are padded to. Each is compiled once, at load."""

from __future__ import annotations


def prefill_buckets(generation: str, longest: int) -> list[int]:
    """All padded lengths up to `longest`.

    S1 to S4: powers of two from 128 to 2,048, then multiples of 2,048 (models/tt_transformers/tt/common.py,
    `get_padded_prefill_len`). From S5 on: 128, 1,024, then powers of two.
    """
    if generation in ("S1", "S3", "S4"):
        lengths = [128, 256, 512, 1024, *range(2048, longest + 1, 2048)]
    else:
        lengths = [128, *(1 << power for power in range(10, longest.bit_length()))]
    return [length for length in lengths if length <= longest]
