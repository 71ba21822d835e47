"""One small class for each family of generations: a `CardModel` over tt-metal's Generator.

They differ in how a step makes the card reload tokens, positions and sampling parameters from the host.
docs/tenstorrent-generations.md has the table.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import fields
from typing import Any, Final, cast

import msgspec
import numpy as np
import torch
from numpy.typing import NDArray

from ttchat_tui.domain.timeline import ColdWork
from ttchat_tui.engine.tenstorrent.adapter import Profile
from ttchat_tui.engine.tenstorrent.card_sampling import (
    DrawParameters,
    native_greedy,
    native_sampling,
    supported_parameters,
)
from ttchat_tui.engine.tenstorrent.signatures import CONTRACT_FLAGS


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """One decode step, for a family to translate into its own flags."""

    is_fed: bool
    """Tokens and positions on the card are stale: reload them from the host."""
    is_traced: bool
    draws: DrawParameters | None
    """None: the host samples."""

    @property
    def has_changed(self) -> bool:
        """Inputs, or the parameters of device sampling, differ from those on the card."""
        return self.is_fed or (self.draws is not None and self.draws.has_changed)

    def histories(self) -> dict[str, torch.Tensor]:
        """Token histories for the card's penalties, which reads them on a reset."""
        return self.draws.histories() if self.draws is not None and self.has_changed else {}


class GeneratorModel:
    """S1 and S2: host inputs are copied before each step, so nothing needs a reset. Device sampling is greedy only."""

    has_sampler = False
    """Device sampling has parameters."""

    def __init__(
        self,
        generator: Any,
        profile: Profile,
        *,
        kv_cache: Any,
        page_table: torch.Tensor,
        trace: bool,
        records_prefill: bool = False,
        release_trace: Callable[[Any, Any], None],
        count_programs: Callable[[], int],
        sampling_params: type[Any] | None = None,
    ) -> None:
        """
        Args:
            kv_cache: the one that `create_tt_model` returned.
            page_table: int32 [batch, pages of one row]; the same object for the whole session.
            records_prefill: the Generator records the prefill of prompts for which it can.
            release_trace: ttnn's.
            count_programs: how many programs are compiled on the mesh; it never falls.
            sampling_params: the generation's `SamplingParams`; None: the host samples.
        """
        self._release_trace = release_trace
        self.batch = int(page_table.shape[0])
        self._generator: Any = generator
        self._profile = profile
        self._kv_cache: list[Any] | None = [kv_cache]
        self._page_table = page_table
        self._trace = trace
        self._records_prefill = records_prefill
        if hasattr(generator, "prefill_traces_warmup"):
            # S4's own warm-up would record one length after the other, and replay each over the programs of the next.
            generator.prefill_traces_warmup = True
        self._count_programs = count_programs
        self._recorded_programs: int | None = None
        """How many programs were compiled before the oldest trace was recorded; None: there is no trace."""
        self.work: ColdWork = ""
        self._seen_programs = 0
        """How many were compiled after the last prefill or step."""
        self._sampling_params = sampling_params
        self._decode: Any = (
            generator.decode_forward_text
            if hasattr(generator, "decode_forward_text")
            else generator.decode_forward
        )

    @property
    def draws(self) -> frozenset[str] | None:
        if self._sampling_params is None:
            return None
        named = [field.name for field in fields(self._sampling_params)]
        return supported_parameters(named if self.has_sampler else ())

    def prefill(
        self, rows: Sequence[Sequence[int]], *, first_row: int, start: int = 0, is_traced: bool = True
    ) -> NDArray[np.float32]:
        is_traced = is_traced and self._records_prefill and not start
        records = is_traced and self._release_outdated()
        count = len(rows)
        slots = range(first_row, first_row + count)
        lengths = [len(row) for row in rows]
        optional: dict[str, Any] = {
            "empty_slots": list(slots),
            "enable_trace": is_traced,
            # Our own warm-up compiles the buckets at load; this one would also sweep sampling.
            "warmup_prefill": False,
        }
        named = {name: value for name, value in optional.items() if name in self._profile.prefill_keywords}
        if start:
            assert self._profile.has_start_pos, "this generation cannot start behind a cached prefix"
            named["start_pos"] = [start] * count
        output = self._generator.prefill_forward_text(
            padded(rows),
            page_table=self._page_table[slots.start : slots.stop],
            kv_cache=self._kv_cache,
            prompt_lens=lengths,
            **named,
        )
        self._note_work(records)
        return _logits(output, count)

    def decode(
        self, tokens: Sequence[int], positions: Sequence[int], *, is_first: bool
    ) -> NDArray[np.float32]:
        step = Step(is_fed=is_first, is_traced=self._trace, draws=None)
        return _logits(self._run(tokens, positions, step), self.batch)

    def draw(
        self,
        tokens: Sequence[int],
        positions: Sequence[int],
        draws: DrawParameters,
        *,
        is_first: bool,
        is_traced: bool = True,
    ) -> list[int]:
        step = Step(is_fed=is_first, is_traced=self._trace and is_traced, draws=draws)
        ids: Any = _first(self._run(tokens, positions, step)).reshape(-1)
        return [int(ids[row]) for row in range(self.batch)]

    def close(self) -> None:
        if self._generator is not None:
            release_traces(self._generator, self._release_trace)
        self._generator = self._decode = self._kv_cache = None

    def _run(self, tokens: Sequence[int], positions: Sequence[int], step: Step) -> Any:
        records = step.is_traced and self._release_outdated()
        if records:
            step = msgspec.structs.replace(step, is_fed=True)
        output = self._decode(
            torch.tensor(tokens, dtype=torch.long).view(self.batch, 1),
            torch.tensor(positions, dtype=torch.long),
            page_table=self._page_table,
            kv_cache=self._kv_cache,
            enable_trace=step.is_traced,
            read_from_device=True,
            sampling_params=self._native(step.draws),
            **self._flags(step),
        )
        self._note_work(records)
        return output

    def _note_work(self, records: bool) -> None:
        """What the prefill or the step that has ended did once. `records`: a trace."""
        programs = self._count_programs()
        self.work = "trace" if records else "compile" if programs != self._seen_programs else ""
        self._seen_programs = programs

    def _release_outdated(self) -> bool:
        """Release all traces if something was compiled since the oldest one was recorded, perhaps by the recording itself:
        a replay may overwrite it. Returns whether it did."""
        programs = self._count_programs()
        if programs == self._recorded_programs:
            return False
        release_traces(self._generator, self._release_trace)
        self._recorded_programs = programs
        return True

    def _native(self, draws: DrawParameters | None) -> Any:
        if draws is None or self._sampling_params is None:
            return None
        return (
            native_sampling(self._sampling_params, draws)
            if self.has_sampler
            else native_greedy(self._sampling_params)
        )

    def _flags(self, step: Step) -> dict[str, Any]:
        """The keywords that make this generation reload what has changed."""
        return {}


class PageTableModel(GeneratorModel):
    """S3: inputs are reloaded if the page table seems to have changed."""

    def _flags(self, step: Step) -> dict[str, Any]:
        if step.is_fed:
            self._generator.prev_page_table = None
        return {}


class LegacyResetModel(PageTableModel):
    """S4: the page table as in S3. `reset_batch`, which is true by default, also restarts device sampling with its seeds,
    so it is false where only inputs are new."""

    has_sampler = True

    def _flags(self, step: Step) -> dict[str, Any]:
        super()._flags(step)
        if step.draws is None:
            return {"reset_batch": step.is_fed}
        return {"reset_batch": step.draws.has_changed, **(step.histories() if step.draws.has_changed else {})}


class ResetModel(GeneratorModel):
    """S5: `reset_batch`, which is false by default, for inputs and device sampling alike."""

    has_sampler = True

    def _flags(self, step: Step) -> dict[str, Any]:
        if step.is_fed and step.draws is not None:
            # A reset keeps the card's own token where its position goes on, except in slots that were just prefilled.
            fresh: set[int] | None = getattr(self._generator, "_slots_prefilled_since_decode", None)
            if fresh is not None:
                fresh.update(range(self.batch))
        return {"reset_batch": step.has_changed, **step.histories()}


class ContractModel(GeneratorModel):
    """S6: four mandatory flags. Each step loads its inputs if the host samples or nothing is traced."""

    has_sampler = True

    def _flags(self, step: Step) -> dict[str, Any]:
        resets_sampling = step.draws is not None and step.has_changed
        return {
            **dict.fromkeys(CONTRACT_FLAGS, False),
            "reload_inputs": step.has_changed or step.draws is None or not step.is_traced,
            "reload_sampling_params": resets_sampling,
            "reset_sampling_state": resets_sampling,
            **step.histories(),
        }


_FAMILIES: Final[dict[str, type[GeneratorModel]]] = {
    "S1": GeneratorModel,
    "S3": PageTableModel,
    "S4": LegacyResetModel,
    "S5": ResetModel,
    "S6": ContractModel,
}


def family_of(profile: Profile) -> type[GeneratorModel]:
    """The class for Generators with the profile from `identify`."""
    return _FAMILIES[profile.name]


_IDS: Final = ("trace_ids_text", "trace_ids_decode", "trace_id_prefill")
_BUFFERS: Final = (
    "trace_inputs_text",
    "trace_output_text",
    "trace_inputs_decode",
    "trace_output_decode",
    "trace_inputs_prefill",
    "trace_output_prefill",
    "_prepared_decode_traces",
)
"""Attributes of a Generator: ids of traces, and what a trace reads and writes. S1 to S3 use `_text`, later ones `_decode`;
the last is of 2026-09 (tt-metal PR 55343)."""


def release_traces(generator: Any, release_trace: Callable[[Any, Any], None]) -> None:
    """Release all traces, so that the next traced decode records anew (`release_trace(mesh, trace)`).

    A trace that outlives its mesh leaks device memory until the next reset. S5 and later would release theirs when
    deleted, except those of the card's sampler.
    """
    for model in generator.model:
        reset: Any = getattr(getattr(model, "sampling", None), "reset_trace", None)
        if reset is not None:
            reset()
    mesh = generator.model_args[0].mesh_device
    for name in _IDS:
        for trace in _leaves(getattr(generator, name, None)):
            release_trace(mesh, trace)
    for name in (*_IDS, *_BUFFERS):
        _forget(generator, name)


def _forget(generator: Any, name: str) -> None:
    """Make an attribute as it was before the first trace: empty if the constructor makes it, otherwise missing."""
    held: Any = getattr(generator, name, None)
    if isinstance(held, defaultdict) or name.startswith("_"):
        cast("dict[Any, Any]", held or {}).clear()
    elif held is not None:
        delattr(generator, name)


def _leaves(traces: Any) -> list[Any]:
    """Trace ids in nested dictionaries, without empty places."""
    if isinstance(traces, dict):
        return [leaf for value in cast("dict[Any, Any]", traces).values() for leaf in _leaves(value)]
    return [] if traces is None else [traces]


def page_table(batch: int, pages: int) -> torch.Tensor:
    """int32 [batch, pages]: row i owns `pages` pages from i * pages on."""
    return torch.arange(batch * pages, dtype=torch.int32).view(batch, pages)


def padded(rows: Sequence[Sequence[int]]) -> torch.Tensor:
    """Prompts as prefill takes them: int64 [rows, longest], padded with 0."""
    tokens = torch.zeros(len(rows), max(map(len, rows)), dtype=torch.long)
    for index, row in enumerate(rows):
        tokens[index, : len(row)] = torch.tensor(row)
    return tokens


def _first(output: Any) -> torch.Tensor:
    """The first result: S1 to S4 return a tensor, later ones a pair with log probabilities."""
    tensor: torch.Tensor = output if torch.is_tensor(output) else output[0]
    return tensor.detach()


def _logits(output: Any, rows: int) -> NDArray[np.float32]:
    array: Any = _first(output).reshape(rows, -1).float().numpy()
    return array
