"""One face for the generations of tt-metal's `Generator`: prefill and decode, told apart by their signatures.

Never by version strings, and never by trying: several generations take `**kwargs` and swallow what they do not know.
The labels S1 to S6 and the lines they were read from are those of docs/tenstorrent-generations.md.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any, Final, Protocol, cast

import msgspec
import numpy as np
import torch
from numpy.typing import NDArray

from ttchat_tui.engine.base import EngineError

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
    decode_keywords: frozenset[str]
    has_start_pos: bool
    """Prefill can start behind a cached prefix, and does it right (only S6: S5 writes to the wrong block)."""


class CardModel(Protocol):
    """A loaded model on the card, as the stepper drives it. One thread."""

    batch: int
    """Rows of every decode; a prefill may have fewer."""

    def prefill(self, rows: Sequence[Sequence[int]], *, first_row: int) -> NDArray[np.float32]:
        """Bring the KV pages of row `first_row + i` to hold `rows[i]`, from position 0.

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
        decode_keywords=frozenset(decode),
        has_start_pos=name == "S6" and "start_pos" in prefill,
    )


class GeneratorModel:
    """A `CardModel` over S1 and S2: host inputs are copied before each step, there is nothing to reset."""

    def __init__(
        self,
        generator: Any,
        profile: Profile,
        *,
        kv_cache: Any,
        page_table: torch.Tensor,
        trace: bool,
        release_trace: Callable[[Any, Any], None],
    ) -> None:
        """
        Args:
            kv_cache: what `create_tt_model` returned.
            page_table: int32 [batch, pages of one row]; the same object for the whole session.
            release_trace: ttnn's.
        """
        self._release_trace = release_trace
        self.batch = int(page_table.shape[0])
        self._generator: Any = generator
        self._profile = profile
        self._kv_cache: list[Any] | None = [kv_cache]
        self._page_table = page_table
        self._trace = trace
        self._decode: Any = (
            generator.decode_forward_text
            if hasattr(generator, "decode_forward_text")
            else generator.decode_forward
        )

    def prefill(self, rows: Sequence[Sequence[int]], *, first_row: int) -> NDArray[np.float32]:
        count = len(rows)
        slots = range(first_row, first_row + count)
        lengths = [len(row) for row in rows]
        tokens = torch.zeros(count, max(lengths), dtype=torch.long)
        for index, row in enumerate(rows):
            tokens[index, : len(row)] = torch.tensor(row)
        wanted: dict[str, Any] = {
            "empty_slots": list(slots),
            # A live prefill trace may be overwritten by what is allocated later; upstream reports garbage and hangs.
            "enable_trace": False,
            # The buckets are compiled at load, by our own warm-up: this one would sweep sampling as well.
            "warmup_prefill": False,
        }
        named = {name: value for name, value in wanted.items() if name in self._profile.prefill_keywords}
        output = self._generator.prefill_forward_text(
            tokens,
            page_table=self._page_table[slots.start : slots.stop],
            kv_cache=self._kv_cache,
            prompt_lens=lengths,
            **named,
        )
        return _logits(output, count)

    def decode(
        self, tokens: Sequence[int], positions: Sequence[int], *, is_first: bool
    ) -> NDArray[np.float32]:
        output = self._decode(
            torch.tensor(tokens, dtype=torch.long).view(self.batch, 1),
            torch.tensor(positions, dtype=torch.long),
            page_table=self._page_table,
            kv_cache=self._kv_cache,
            enable_trace=self._trace,
            read_from_device=True,
            sampling_params=None,
            **self._flags(is_first),
        )
        return _logits(output, self.batch)

    def close(self) -> None:
        """Lets go of the Generator as well: S5 and later release their traces when they are deleted."""
        if self._generator is not None:
            release_traces(self._generator, self._release_trace)
        self._generator = self._decode = self._kv_cache = None

    def _flags(self, is_first: bool) -> dict[str, bool]:
        """What makes the card take tokens and positions from the host, in this generation's words."""
        return {}


class PageTableModel(GeneratorModel):
    """S3: inputs are copied anew when the page table seems to have changed."""

    def _flags(self, is_first: bool) -> dict[str, bool]:
        if is_first:
            self._generator.prev_page_table = None
        return {}


class LegacyResetModel(PageTableModel):
    """S4: the page table as in S3, and `reset_batch`, which is true unless it is said."""

    def _flags(self, is_first: bool) -> dict[str, bool]:
        super()._flags(is_first)
        return {"reset_batch": is_first}


class ResetModel(GeneratorModel):
    """S5: `reset_batch`, which is false unless it is said."""

    def _flags(self, is_first: bool) -> dict[str, bool]:
        return {"reset_batch": is_first}


class ContractModel(GeneratorModel):
    """S6: four flags, all to be said. With sampling on the host, inputs are loaded in each step."""

    def _flags(self, is_first: bool) -> dict[str, bool]:
        return {name: name == "reload_inputs" for name in CONTRACT_FLAGS}


_FAMILIES: Final[dict[str, type[GeneratorModel]]] = {
    "S1": GeneratorModel,
    "S3": PageTableModel,
    "S4": LegacyResetModel,
    "S5": ResetModel,
    "S6": ContractModel,
}


def adapt(
    generator: Any,
    *,
    kv_cache: Any,
    page_table: torch.Tensor,
    trace: bool,
    release_trace: Callable[[Any, Any], None],
) -> tuple[CardModel, Profile]:
    """The `CardModel` for a Generator of any known generation.

    Raises:
        EngineError: kind `unknown_generation`.
    """
    profile = identify(generator)
    model = _FAMILIES[profile.name](
        generator,
        profile,
        kv_cache=kv_cache,
        page_table=page_table,
        trace=trace,
        release_trace=release_trace,
    )
    return model, profile


def release_traces(generator: Any, release_trace: Callable[[Any, Any], None]) -> None:
    """Release what S1 to S4 leave recorded (`release_trace(mesh, trace)`); later ones do it when they are deleted.

    A trace that outlives its mesh leaks device memory until the next reset.
    """
    if callable(getattr(generator, "__del__", None)):
        return
    mesh = generator.model_args[0].mesh_device
    for name in ("trace_ids_text", "trace_ids_decode", "trace_id_prefill"):
        traces: Any = getattr(generator, name, None)
        for trace in _leaves(traces):
            release_trace(mesh, trace)
        if isinstance(traces, dict):
            cast("dict[Any, Any]", traces).clear()


def _leaves(traces: Any) -> list[Any]:
    """Trace ids out of dictionaries of dictionaries, without the places that were never filled."""
    if isinstance(traces, dict):
        return [leaf for value in cast("dict[Any, Any]", traces).values() for leaf in _leaves(value)]
    return [] if traces is None else [traces]


def page_table(batch: int, pages: int) -> torch.Tensor:
    """int32 [batch, pages]: row i owns the pages from i * pages on."""
    return torch.arange(batch * pages, dtype=torch.int32).view(batch, pages)


def _logits(output: Any, rows: int) -> NDArray[np.float32]:
    """S1 to S4 return a tensor, later ones a pair with log probabilities."""
    tensor: torch.Tensor = output if torch.is_tensor(output) else output[0]
    array: Any = tensor.detach().reshape(rows, -1).float().numpy()
    return array


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
