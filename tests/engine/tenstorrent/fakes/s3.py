"""S3: tt-metal of 2025-09-17 (#28741; ssinghalTT/tt-metal-magna).

generator.py, against S2: the fourth argument of `__init__` :43 is a processor; prefill :63 takes `empty_slots`, and passes
`**kwargs` that it does not know deeper; decode :245, when the card samples, takes the host's inputs only where the page
table changed (:397). Traces are kept by whether the card samples.
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
)
from tests.engine.tenstorrent.fakes.s1 import SamplingParams, create_tt_model

__all__ = ["DecodersPrecision", "Generator", "PagedAttentionConfig", "SamplingParams", "create_tt_model"]


class Generator(Vision, FeedsWhenTheTableChanged):
    trace_ids_text: dict[bool, dict[int, int]]

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
        return self._prefill(tokens, page_table, kv_cache, prompt_lens, empty_slots)

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
        refresh = self._is_fed(page_table, draw is not None)
        return self._step(
            tokens, start_pos, page_table, kv_cache, trace=enable_trace, draw=draw, refresh=refresh
        )

    def _keep_trace(self, trace: int, on_device: bool) -> None:
        self.trace_ids_text = {on_device: {0: trace}}

    def _trace(self, on_device: bool) -> int | None:
        return getattr(self, "trace_ids_text", {}).get(on_device, {}).get(0)
