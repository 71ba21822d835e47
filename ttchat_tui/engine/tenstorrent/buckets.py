"""Prefill buckets: the lengths that prompts are padded to, each with programs of its own."""

from __future__ import annotations

from typing import Final

LONGEST_WARM: Final = 8_192
"""Tokens of the longest prompt that is run at each load. A longer one compiles its programs at its first use, in seconds;
to run them all would make each load last as long as their prefill, a minute for 32k on an N150."""

_TILES: Final = (32, 64, 96)
"""Lengths in the smallest bucket that end in another tile: the slice at the last token is a program too."""


def warm_lengths(generation: str, context: int) -> list[int]:
    """Lengths of the prompts to run at load, ascending: those of short chats in every tile, and one for each bucket up to
    `LONGEST_WARM`, in chunks where the card's chunk is shorter.

    Args:
        context: positions of a row, at least 1,024.
    """
    return [*_TILES, *prefill_buckets(generation, min(context, LONGEST_WARM))]


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
