"""S4: tt-metal of 2025-12-03 (#33543; mcrl/ttt-s2-tt-metal).

generator.py: prefill :233 records traces unless `enable_trace=False` is said, all of them at its first call (:103); decode
:458 has `reset_batch`, true unless it is said, and the page table's trap (:665). Sampling parameters :33.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import Any

import torch

from tests.engine.tenstorrent.fakes.card import argmax
from tests.engine.tenstorrent.fakes.generator import (
    DecodersPrecision,
    FeedsWhenTheTableChanged,
    PagedAttentionConfig,
    Vision,
    padded_old,
)
from tests.engine.tenstorrent.fakes.s1 import create_tt_model

__all__ = ["DecodersPrecision", "Generator", "PagedAttentionConfig", "SamplingParams", "create_tt_model"]


@dataclass(frozen=True)
class SamplingParams:
    temperature: float | list[float]
    top_k: int | list[int]
    top_p: float | list[float]
    presence_penalty: float | list[float] = 0.0
    frequency_penalty: float | list[float] = 0.0
    repetition_penalty: float | list[float] = 1.0
    seed: int | list[int] = 0


class Generator(Vision, FeedsWhenTheTableChanged):
    def __init__(
        self, model: Any, model_args: Any, mesh_device: Any, processor: Any = None, tokenizer: Any = None
    ) -> None:
        super().__init__(model, model_args, mesh_device)
        assert processor is None, "a tokenizer was given as the fourth argument"
        self.tokenizer = tokenizer
        self.prev_page_table = None
        self.trace_ids_decode: dict[bool, Any] = defaultdict(lambda: None)
        self.trace_id_prefill: dict[str, Any] = defaultdict(lambda: None)
        self.enable_split_sampling = True

    def prefill_forward_text(
        self,
        tokens: torch.Tensor,
        page_table: Any = None,
        kv_cache: Any = None,
        prompt_lens: Any = None,
        empty_slots: Any = None,
        enable_trace: bool = True,
        model_id_warmup: int | None = None,
        **kwargs: Any,
    ) -> torch.Tensor:
        self.swallowed |= kwargs.keys()
        self._check(page_table, kv_cache)
        slots = list(range(len(tokens))) if empty_slots is None else empty_slots
        logits = torch.zeros(len(tokens), 1, self.model_args[0].vocab_size)
        for index, slot in enumerate(slots):
            assert slot < self.model_args[0].max_batch_size
            length = int(prompt_lens[index]) if prompt_lens is not None else tokens.shape[1]
            padded = padded_old(length)
            limit = self.model_args[0].max_seq_len
            assert padded <= limit, f"Padded prefill end idx {padded} exceeds max seq len {limit}"
            if enable_trace and self.trace_id_prefill[f"{padded}_0"] is None:
                self.trace_id_prefill[f"{padded}_0"] = self.mesh_device.record()
            logits[index, 0] = self._prefill_user(tokens[index], page_table[index], length, padded)
        return logits

    def decode_forward_text(
        self,
        tokens: torch.Tensor,
        start_pos: torch.Tensor,
        page_table: Any = None,
        kv_cache: Any = None,
        enable_trace: bool = True,
        read_from_device: bool = True,
        sampling_params: SamplingParams | None = None,
        reset_batch: bool = True,
        prompt_tokens: torch.Tensor | None = None,
        output_tokens: torch.Tensor | None = None,
    ) -> torch.Tensor:
        on_device = sampling_params is not None
        logits = self._step(
            tokens,
            start_pos,
            page_table,
            kv_cache,
            trace=enable_trace,
            on_device=on_device,
            refresh=self._is_fed(page_table, on_device),
        )
        return argmax(logits) if on_device else logits

    def _keep_trace(self, trace: int, on_device: bool) -> None:
        self.trace_ids_decode[on_device] = {0: trace}
