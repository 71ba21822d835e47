"""One face for the generations of tt-metal's `Generator`, and how they are told apart: by their signatures.

Never by version strings, and never by trying: several generations take `**kwargs` and swallow what they do not know.
The labels S1 to S6 and the lines they were read from are those of docs/tenstorrent-generations.md.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any, Final, Protocol

import msgspec
import numpy as np
from numpy.typing import NDArray

from ttchat_tui.engine.base import EngineError
from ttchat_tui.engine.tenstorrent.card_sampling import Draws

KNOWN: Final = "tt-metal from 2025-05 (v0.58) to 2026-11 (v0.81)"

CONTRACT_FLAGS: Final = frozenset(
    {"reload_inputs", "reload_page_table", "reload_sampling_params", "reset_sampling_state"}
)
"""Keyword-only and mandatory where they exist (models/common/decode_contract.py)."""

IDLE: Final = -1
"""The position of a row that is not in use: rope clamps it, and nothing is written to its pages."""


class Profile(msgspec.Struct, frozen=True, kw_only=True):
    """What a generation can do, read off its signatures."""

    name: str
    """S1, S3, S4, S5, S6: the oldest of those that look the same to us."""
    prefill_keywords: frozenset[str]
    """Optional keywords that prefill names."""
    has_start_pos: bool
    """Prefill can start behind a cached prefix, and does it right (only S6: S5 writes to the wrong block)."""


class CardModel(Protocol):
    """A loaded model on the card, as the stepper drives it. One thread."""

    batch: int
    """Rows of every decode; a prefill may have fewer."""

    @property
    def draws(self) -> frozenset[str] | None:
        """The card draws tokens, by these fields of `SamplingParams`: every step is a `draw`. None: the host does, and
        every step is a `decode`. One of both for a session: each has a trace of its own."""
        ...

    def prefill(
        self, rows: Sequence[Sequence[int]], *, first_row: int, start: int = 0
    ) -> NDArray[np.float32]:
        """Bring the KV pages of row `first_row + i` to hold `rows[i]`, from position `start` on: what is before it is
        there already, of the same ids. A start above 0 only where the profile's `has_start_pos` says so.

        Returns:
            Logits after the last id of each row, float32 [len(rows), vocab].
        """
        ...

    def decode(
        self, tokens: Sequence[int], positions: Sequence[int], *, is_first: bool
    ) -> NDArray[np.float32]:
        """One step of all rows: `tokens[i]` at `positions[i]` (`IDLE` for a row not in use).

        `is_first` after a prefill, and whenever what the card remembers of tokens and positions is stale.

        Returns:
            float32 [batch, vocab]; rows not in use hold nothing of meaning.
        """
        ...

    def draw(
        self,
        tokens: Sequence[int],
        positions: Sequence[int],
        draws: Draws,
        *,
        is_first: bool,
        is_traced: bool = True,
    ) -> list[int]:
        """As `decode`; the card draws each row's next token by `draws`. Untraced to compile what it needs for that.

        Returns:
            An id for each row; those of rows not in use mean nothing.
        """
        ...

    def close(self) -> None:
        """Release recorded traces and let go of all that is on the card; nothing else is called after. The mesh stays
        open. Idempotent."""
        ...


def identify(generator: Any) -> Profile:
    """The generation of a Generator (an instance, or the class).

    Raises:
        EngineError: kind `unknown_generation`: none of those known.
    """
    prefill = _parameters(getattr(generator, "prefill_forward_text", None))
    # In S1 to S4 there is a `decode_forward` as well: the vision model's. The text one is looked for first.
    text_decode = getattr(generator, "decode_forward_text", None)
    decode = _parameters(
        text_decode if text_decode is not None else getattr(generator, "decode_forward", None)
    )
    if prefill[:1] != ["tokens"] or decode[:2] != ["tokens", "start_pos"]:
        raise _unknown(prefill, decode)
    has_contract = "reload_inputs" in decode
    if has_contract and not set(decode) >= CONTRACT_FLAGS:
        raise _unknown(prefill, decode)
    if text_decode is not None:
        name = "S4" if "reset_batch" in decode else "S3" if "empty_slots" in prefill else "S1"
    elif has_contract:
        name = "S6"
    elif "reset_batch" in decode:
        name = "S5"
    else:
        raise _unknown(prefill, decode)
    return Profile(
        name=name,
        prefill_keywords=frozenset(prefill),
        has_start_pos=name == "S6" and "start_pos" in prefill,
    )


def _parameters(function: Any) -> list[str]:
    """Names in order, without `self` and without what `*args` and `**kwargs` would swallow."""
    if function is None:
        return []
    swallowing = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    parameters = inspect.signature(function).parameters.values()
    return [p.name for p in parameters if p.kind not in swallowing and p.name != "self"]


def _unknown(prefill: Sequence[str], decode: Sequence[str]) -> EngineError:
    return EngineError(
        "This tt-metal's Generator is of a kind that is not known: "
        f"prefill_forward_text({', '.join(prefill)}), decode({', '.join(decode)}).",
        f"Known to work: {KNOWN}. Check out one of these, or look for a newer ttchat-tui.",
        "unknown_generation",
    )
