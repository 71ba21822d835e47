"""A generation of tt-metal by the parameters of its Generator's methods; docs/tenstorrent-generations.md has the table."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

CONTRACT_FLAGS: Final = frozenset(
    {"reload_inputs", "reload_page_table", "reload_sampling_params", "reset_sampling_state"}
)
"""Keyword-only; mandatory in generations that have them (models/common/decode_contract.py)."""


def generation_of(
    prefill: Sequence[str], text_decode: Sequence[str] | None, other_decode: Sequence[str]
) -> str:
    """S1, S3, S4, S5 or S6: the oldest of those with the same signatures. Empty if they are of none.

    Args:
        prefill: names of the parameters of `prefill_forward_text` in order, without `self`.
        text_decode: of `decode_forward_text`; None if there is none.
        other_decode: of `decode_forward`. S1 to S4 have it besides the other: there it belongs to the vision model.
    """
    decode = other_decode if text_decode is None else text_decode
    if list(prefill[:1]) != ["tokens"] or list(decode[:2]) != ["tokens", "start_pos"]:
        return ""
    if "reload_inputs" in decode and not CONTRACT_FLAGS.issubset(decode):
        return ""
    if text_decode is not None:
        return "S4" if "reset_batch" in decode else "S3" if "empty_slots" in prefill else "S1"
    if "reload_inputs" in decode:
        return "S6"
    return "S5" if "reset_batch" in decode else ""
