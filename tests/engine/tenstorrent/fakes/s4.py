"""S4: tt-metal of 2025-12-03 (#33543; mcrl/ttt-s2-tt-metal).

generator.py: prefill :233 records traces unless `enable_trace=False` is said, all of them at its first call (:103); decode
:458 has `reset_batch`, true unless it is said, and the page table's trap (:665). Sampling parameters :33, as many as there
are rows; they are loaded in each step, seeds and earlier tokens with `reset_batch`.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import Any

import torch

from tests.engine.tenstorrent.fakes import native
from tests.engine.tenstorrent.fakes.generator import (
    DecodersPrecision,
    FeedsWhenTheTableChanged,
    PagedAttentionConfig,
    Vision,
    create,
    padded_old,
)
from tests.engine.tenstorrent.fakes.sampler import Sampler

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
) -> Any:
    return create(
        mesh_device,
        instruct,
        max_batch_size,
        optimizations,
        max_seq_len,
        paged_attention_config,
        dtype=dtype,
        has_sampler=True,
    )


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
        self.sampler = Sampler(mesh_device, model_args[0].max_batch_size, "draw")

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
        draw = None
        if sampling_params is not None:
            self.sampler.load(sampling_params)
            if reset_batch:
                self.sampler.reset(prompt_tokens, output_tokens)
            draw = self.sampler.sample
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
        self.trace_ids_decode[on_device] = {0: trace}
