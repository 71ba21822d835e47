"""S5: tt-metal of 2026-06-22 (#47392; nyoshifujiTT/tt-metal).

generator.py, against S4: prefill :528 takes several users of one padded length in one pass whose rows are their slots (:638
to :706), can begin behind a prefix, and sweeps all lengths and samplings at its first call unless `warmup_prefill=False`;
decode :1205 has another name, `reset_batch` is false by default, and the result is always a pair; `__del__` :2793 releases
traces. The context is a power of two (model_config.py:1126).
"""

from __future__ import annotations

import contextlib
from collections import defaultdict
from dataclasses import dataclass
from typing import Any, Final

import torch

from tests.engine.tenstorrent.fakes import native, s4
from tests.engine.tenstorrent.fakes.card import EVENTS, argmax
from tests.engine.tenstorrent.fakes.generator import (
    DecodersPrecision,
    PagedAttentionConfig,
    Replayer,
    create,
    padded_new,
)
from tests.engine.tenstorrent.fakes.sampler import FakeSampler

__all__ = ["DecodersPrecision", "Generator", "PagedAttentionConfig", "SamplingParams", "create_tt_model"]

_WAVES: Final = (1, 2, 4, 8, 16, 32)


@dataclass(frozen=True)
class SamplingParams(s4.SamplingParams):
    seed: int | list[int] | None = None
    enable_log_probs: bool | list[bool] = False
    num_logprobs: int | list[int] = 0


def create_tt_model(
    mesh_device: Any,
    instruct: bool,
    max_batch_size: int,
    optimizations: Any,
    max_seq_len: int,
    paged_attention_config: Any = None,
    dtype: Any = native.bfloat8_b,
    state_dict: Any = None,
    num_layers: int | None = None,
    use_prefetcher: bool = False,
    use_hf_rope: bool = False,
) -> Any:
    return create(
        mesh_device,
        instruct,
        max_batch_size,
        optimizations,
        max_seq_len,
        paged_attention_config,
        dtype=dtype,
        needs_power_of_two=True,
        has_sampler=True,
    )


class PrefillsInWaves(Replayer):
    """Construction, prefill and end of S5 and S6."""

    capture_samples = True

    def __init__(
        self, model: Any, model_args: Any, mesh_device: Any, processor: Any = None, tokenizer: Any = None
    ) -> None:
        super().__init__(model, model_args, mesh_device, processor, tokenizer)
        self.prev_page_table: Any = None
        self.trace_ids_decode: dict[bool, Any] = defaultdict(lambda: None)
        self.trace_inputs_decode: dict[bool, Any] = defaultdict(lambda: None)
        self._inputs = self.trace_inputs_decode
        self.trace_id_prefill = defaultdict(lambda: None)
        self.sampler = FakeSampler(mesh_device, model_args[0].max_batch_size, "position")
        self._slots_prefilled_since_decode: set[int] = set()

    def prefill_forward_text(
        self,
        tokens: torch.Tensor,
        page_table: Any = None,
        kv_cache: Any = None,
        prompt_lens: Any = None,
        empty_slots: Any = None,
        enable_trace: bool = True,
        model_id_warmup: int | None = None,
        sampling_params: SamplingParams | None = None,
        start_pos: list[int] | None = None,
        return_hidden_states: bool = False,
        warmup_prefill: bool = True,
        **kwargs: Any,
    ) -> Any:
        self.swallowed |= kwargs.keys()
        if warmup_prefill:
            EVENTS.append("misuse: prefill's own warm-up sweeps every length and sampling")
        self._check(page_table, kv_cache)
        slots = list(range(len(tokens))) if empty_slots is None else empty_slots
        self._slots_prefilled_since_decode.update(slots)
        lengths = [
            int(n) for n in (prompt_lens if prompt_lens is not None else [tokens.shape[1]] * len(slots))
        ]
        starts = [0] * len(lengths) if start_pos is None else start_pos
        assert all(0 <= start < length for start, length in zip(starts, lengths, strict=True))
        padded = [padded_new(length - start) for start, length in zip(starts, lengths, strict=True)]
        self._compile(slots, padded, starts, [length - 1 for length in lengths], enable_trace)
        logits = torch.zeros(len(slots), 1, self.model_args[0].vocab_size)
        for index, length in enumerate(lengths):
            table = self._user_table(page_table[index], length, starts[index])
            logits[index, 0] = self.model[0].prefill(
                tokens[index, starts[index] : length], table, starts[index]
            )
        return (argmax(logits).view(-1, 1), torch.ones(len(slots))) if sampling_params else logits

    def _user_table(self, table: torch.Tensor, length: int, start: int) -> torch.Tensor:
        """The pages that a prefill from `start` to `length` goes through."""
        return table

    def _compile(
        self, slots: list[int], padded: list[int], starts: list[int], last: list[int], trace: bool
    ) -> None:
        """One pass for all, with a row for each slot, or one after the other.

        Raises:
            IndexError: a slot that is no row of the pass: upstream takes it that slots are filled from 0 on.
        """
        most = self.model_args[0].max_batch_size
        wave = next(size for size in _WAVES if size >= len(slots))
        if len(slots) > 1 and len(set(padded)) == 1 and wave <= most and not any(starts):
            last_tokens = [0] * wave
            for slot in slots:
                last_tokens[slot] = padded[0] - 1
            self.model[0].compile(wave, padded[0], max(last))
            return
        for length, start, end in zip(padded, starts, last, strict=True):
            if start % (256 if length >= 2048 else 64):
                EVENTS.append(
                    f"misuse: a prefill of {length} behind {start}: keys and values would be shifted"
                )
            if trace and self.model_args[0].can_enable_trace(length, start):
                self._replay_prefill(length, end - start, start > 0)
            else:
                self.model[0].compile(1, length, end - start, is_behind=start > 0)

    def _keep_trace(self, trace: int, on_device: bool) -> None:
        self.trace_ids_decode[on_device] = {0: trace}

    def _trace(self, on_device: bool) -> int | None:
        traces = self.trace_ids_decode[on_device]
        return traces[0] if traces else None

    def __del__(self) -> None:
        with contextlib.suppress(AttributeError):  # Its __init__ failed.
            decode = [traces[0] for traces in self.trace_ids_decode.values() if traces]
            for trace in (*decode, *filter(None, self.trace_id_prefill.values())):
                native.release_trace(self.mesh_device, trace)


class Generator(PrefillsInWaves):
    def decode_forward(
        self,
        tokens: torch.Tensor,
        start_pos: torch.Tensor,
        page_table: Any = None,
        kv_cache: Any = None,
        enable_trace: bool = True,
        read_from_device: bool = True,
        sampling_params: SamplingParams | None = None,
        reset_batch: bool = False,
        prompt_tokens: torch.Tensor | None = None,
        output_tokens: torch.Tensor | None = None,
        slot_remap: Any = None,
        defer_device_sampling: bool = False,
        **kwargs: Any,
    ) -> tuple[torch.Tensor, Any]:
        """After a prefill, with `reset_batch` or with sampling on the host, inputs are the host's (:1240, :1506).

        Sampling parameters are loaded in each step; earlier tokens, for the penalties, with `reset_batch` alone.
        """
        self.swallowed |= kwargs.keys()
        draw = self._draw(sampling_params, prompt_tokens, output_tokens, is_reset=reset_batch)
        has_switched = bool(self._slots_prefilled_since_decode)
        if draw is not None and (reset_batch or has_switched):
            tokens, start_pos = self._merged(tokens, start_pos)
        self._slots_prefilled_since_decode = set()
        output = self._step(
            tokens,
            start_pos,
            page_table,
            kv_cache,
            trace=enable_trace,
            draw=draw,
            refresh=reset_batch or has_switched or draw is None,
            refresh_table=True,
        )
        return output, torch.ones(len(tokens))

    def _merged(self, tokens: torch.Tensor, start_pos: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """The card's own token and position stay where they go on from the host's, but for slots that were prefilled
        (:1252 to :1299): vLLM's are one step late."""
        if not self._inputs[True]:
            return tokens, start_pos
        own_tokens, own_positions, _ = self._inputs[True]
        goes_on = (own_positions == start_pos) | (own_positions == start_pos + 1)
        for slot in self._slots_prefilled_since_decode:
            goes_on[slot] = False
        merged = torch.where(goes_on, own_tokens, tokens.reshape(-1)).view(tokens.shape)
        return merged, torch.where(goes_on, own_positions, start_pos)

    def _user_table(self, table: torch.Tensor, length: int, start: int) -> torch.Tensor:
        """Cut to the length of what is behind the prefix (:2780): new keys and values go to block 0."""
        return table[: -(-(length - start) // self.model[0].block_size)] if start else table

    def decode_forward_llama_vision(self, start_pos: Any, tokens: Any, *masks: Any) -> Any:
        """Renamed here (:1929)."""
        raise AssertionError("this is the vision model's decode")
