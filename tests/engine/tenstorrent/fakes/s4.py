"""S4: tt-metal of 2025-12-03 (#33543; mcrl/ttt-s2-tt-metal).

generator.py, against S3: prefill :233 records traces unless `enable_trace=False` is given, all of them at its first call (:103); decode :458 has a sampler on the
card and `reset_batch`, true by default. Sampling parameters :33, one for each row, are loaded in each step; seeds and
earlier tokens with `reset_batch`. What decode takes from the host (:665) is as in S3.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import Any

import torch

from tests.engine.tenstorrent.fakes.generator import (
    DecodersPrecision,
    FeedsWhenTheTableChanged,
    PagedAttentionConfig,
    Vision,
    creator,
)
from tests.engine.tenstorrent.fakes.sampler import FakeSampler

__all__ = ["DecodersPrecision", "Generator", "PagedAttentionConfig", "SamplingParams", "create_tt_model"]


@dataclass(frozen=True)
class SamplingParams:
    temperature: float | list[float]
    top_k: int | list[int]
    top_p: float | list[float]
    presence_penalty: float | list[float] = 0.0
    frequency_penalty: float | list[float] = 0.0
    repetition_penalty: float | list[float] = 1.0
    seed: int | list[int] | None = 0


create_tt_model = creator(has_sampler=True)


class Generator(Vision, FeedsWhenTheTableChanged):
    def __init__(
        self, model: Any, model_args: Any, mesh_device: Any, processor: Any = None, tokenizer: Any = None
    ) -> None:
        super().__init__(model, model_args, mesh_device, processor, tokenizer)
        self.trace_ids_decode: dict[bool, Any] = defaultdict(lambda: None)
        self.trace_inputs_decode: dict[bool, Any] = defaultdict(lambda: None)
        self._inputs = self.trace_inputs_decode
        self.trace_id_prefill = defaultdict(lambda: None)
        self.prefill_traces_warmup = False
        self.enable_split_sampling = True
        self.sampler = FakeSampler(mesh_device, model_args[0].max_batch_size, "draw")

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
        if enable_trace and not self.prefill_traces_warmup:
            self.prefill_traces_warmup = True
            for padded in self.model_args[0].trace_prefill_supported_seq_lens:
                self._replay_prefill(padded, padded - 1)
        return self._prefill(tokens, page_table, kv_cache, prompt_lens, empty_slots, enable_trace)

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
        draw = self._draw(sampling_params, prompt_tokens, output_tokens, is_reset=reset_batch)
        refresh = self._is_fed(page_table, draw is not None)
        return self._step(
            tokens, start_pos, page_table, kv_cache, trace=enable_trace, draw=draw, refresh=refresh
        )

    def _keep_trace(self, trace: int, on_device: bool) -> None:
        self.trace_ids_decode[on_device] = {0: trace}

    def _trace(self, on_device: bool) -> int | None:
        traces = self.trace_ids_decode[on_device]
        return traces[0] if traces else None
