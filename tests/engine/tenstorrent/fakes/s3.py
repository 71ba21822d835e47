"""S3: tt-metal of 2025-09-17 (#28741; ssinghalTT/tt-metal-magna).

generator.py: the fourth argument of `__init__` :43 is a processor now; prefill :63 with `empty_slots` and `**kwargs`, that
pass what they do not know deeper; decode :245 with the page table's trap (:397). common.py: `create_tt_model` :665.
"""

from __future__ import annotations

from typing import Any

import torch

from tests.engine.tenstorrent.fakes.generator import (
    DecodersPrecision,
    FeedsWhenTheTableChanged,
    PagedAttentionConfig,
    Vision,
    greedy_only,
    padded_old,
)
from tests.engine.tenstorrent.fakes.s1 import SamplingParams, create_tt_model

__all__ = ["DecodersPrecision", "Generator", "PagedAttentionConfig", "SamplingParams", "create_tt_model"]


class Generator(Vision, FeedsWhenTheTableChanged):
    trace_ids_text: dict[bool, dict[int, int]]

    def __init__(
        self, model: Any, model_args: Any, mesh_device: Any, processor: Any = None, tokenizer: Any = None
    ) -> None:
        super().__init__(model, model_args, mesh_device)
        assert processor is None, "a tokenizer was given as the fourth argument"
        self.tokenizer = tokenizer

    def prefill_forward_text(
        self,
        tokens: torch.Tensor,
        page_table: Any = None,
        kv_cache: Any = None,
        prompt_lens: Any = None,
        empty_slots: Any = None,
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
    ) -> torch.Tensor:
        draw = greedy_only(sampling_params)
        return self._step(
            tokens,
            start_pos,
            page_table,
            kv_cache,
            trace=enable_trace,
            draw=draw,
            refresh=self._is_fed(page_table, draw is not None),
        )

    def _keep_trace(self, trace: int, on_device: bool) -> None:
        self.trace_ids_text = {on_device: {0: trace}}
