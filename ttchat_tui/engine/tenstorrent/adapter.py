"""One interface over all generations of tt-metal's `Generator`, which are identified by their signatures.

Version strings do not identify them, and neither does trial and error: several generations accept `**kwargs` and ignore
what they do not know. docs/tenstorrent-generations.md explains the labels S1 to S6 and quotes upstream's source.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any, Final, Protocol

import msgspec
import numpy as np
from numpy.typing import NDArray

from ttchat_tui.domain.timeline import ColdWork
from ttchat_tui.engine.base import EngineError
from ttchat_tui.engine.tenstorrent.card_sampling import DrawParameters
from ttchat_tui.engine.tenstorrent.signatures import generation_of

KNOWN: Final = "tt-metal from 2025-05 (v0.58) to 2026-11 (v0.81)"

IDLE: Final = -1
"""Position of an unused row: rope clamps it, and nothing is written to its pages."""


class Profile(msgspec.Struct, frozen=True, kw_only=True):
    """What a generation can do, according to its signatures."""

    name: str
    """S1, S3, S4, S5 or S6."""
    prefill_keywords: frozenset[str]
    """Names of prefill's parameters."""
    has_start_pos: bool
    """Prefill can start behind a cached prefix, and does so correctly (S6 only: S5 writes to the wrong block)."""


class CardModel(Protocol):
    """A model on the card, as the stepper drives it, from one thread."""

    batch: int
    """Rows of every decode; a prefill may have fewer."""

    work: ColdWork
    """Of the last prefill or step: whether it compiled programs or recorded a trace, where that can be seen."""

    @property
    def draws(self) -> frozenset[str] | None:
        """With device sampling: the fields of `SamplingParams` that it honours; every step is a `draw`. None: the host
        samples, and every step is a `decode`. Fixed for a session, because each has its own trace."""
        ...

    def prefill(
        self, rows: Sequence[Sequence[int]], *, first_row: int, start: int = 0, is_traced: bool = True
    ) -> NDArray[np.float32]:
        """Make the KV pages of row `first_row + i` hold `rows[i]`. Positions before `start` must hold the same ids already.

        A `start` above 0 needs a profile with `has_start_pos`. `is_traced` has an effect only on a model that records
        prefill: without it, nothing is recorded or replayed.

        Returns:
            Logits after the last id of each row, float32 [len(rows), vocab].
        """
        ...

    def decode(
        self, tokens: Sequence[int], positions: Sequence[int], *, is_first: bool
    ) -> NDArray[np.float32]:
        """One step of all rows: `tokens[i]` at `positions[i]` (`IDLE` for an unused row).

        `is_first` after a prefill, and whenever the tokens and positions on the card are stale.

        Returns:
            float32 [batch, vocab]; unused rows hold arbitrary values.
        """
        ...

    def draw(
        self,
        tokens: Sequence[int],
        positions: Sequence[int],
        draws: DrawParameters,
        *,
        is_first: bool,
        is_traced: bool = True,
    ) -> list[int]:
        """As `decode`, with device sampling by `draws`. Untraced, it compiles the sampler.

        Returns:
            An id for each row; those of unused rows are arbitrary.
        """
        ...

    def close(self) -> None:
        """Release recorded traces and everything on the card; no other call may follow. The mesh stays open.
        Idempotent."""
        ...


def identify(generator: Any) -> Profile:
    """The generation of a `Generator` instance or class.

    Raises:
        EngineError: of kind `unknown_generation`.
    """
    prefill = _parameters(getattr(generator, "prefill_forward_text", None))
    text_decode: Any = getattr(generator, "decode_forward_text", None)
    text = None if text_decode is None else _parameters(text_decode)
    other = _parameters(getattr(generator, "decode_forward", None))
    name = generation_of(prefill, text, other)
    if not name:
        raise _unknown(prefill, other if text is None else text)
    return Profile(
        name=name,
        prefill_keywords=frozenset(prefill),
        has_start_pos=name == "S6" and "start_pos" in prefill,
    )


def _parameters(function: Any) -> list[str]:
    """Parameter names in order, without `self`, `*args` and `**kwargs`."""
    if function is None:
        return []
    catch_all = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    parameters = inspect.signature(function).parameters.values()
    return [p.name for p in parameters if p.kind not in catch_all and p.name != "self"]


def _unknown(prefill: Sequence[str], decode: Sequence[str]) -> EngineError:
    return EngineError(
        "This tt-metal has an unknown kind of Generator: "
        f"prefill_forward_text({', '.join(prefill)}), decode({', '.join(decode)}).",
        f"Known to work: {KNOWN}. Check out one of these, or update ttchat-tui.",
        "unknown_generation",
    )
