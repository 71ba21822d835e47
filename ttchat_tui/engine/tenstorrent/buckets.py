"""Prefill buckets: the lengths that prompts are padded to, each with programs of its own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

LONGEST_WARM: Final = 8_192
"""Tokens of the longest prompt that is run at each load. A longer one compiles its programs at its first use, in seconds;
to run them all would make each load last as long as their prefill, a minute for 32k on an N150."""

_TILE: Final = 32
"""The slice at the last token is a program for each tile that this token can be in."""
_SHORT: Final = 128
_SHORT_TRACED: Final = 1_024
"""Tokens of the prompts that are run in every tile: those of short chats, and those whose prefill is recorded."""


def warm_lengths(generation: str, context: int, traced: Sequence[int] = ()) -> list[int]:
    """Lengths of the prompts to run at load, ascending: short ones in every tile, and one for each bucket up to
    `LONGEST_WARM`, in chunks where the card's chunk is shorter.

    Args:
        context: positions of a row, at least 1,024.
        traced: padded lengths whose prefill is recorded. A new program would cost them their traces.
    """
    short = min(max(traced, default=_SHORT), _SHORT_TRACED)
    buckets = prefill_buckets(generation, min(context, LONGEST_WARM))
    return sorted({*range(_TILE, short, _TILE), *buckets})


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
