"""S1: tt-metal of 2025-05-28 (#22609; wusatosi/tt-metal), the first that the engine drives.

generator.py: the fourth argument of `__init__` :40 is the tokenizer; prefill :59 has no slots: a slice of the page table
says which rows of the card the users are; decode :200 copies the host's inputs before each replay and draws greedily or
not at all. Traces are kept under `trace_ids_text`, which is not there before the first capture; nobody releases them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from tests.engine.tenstorrent.fakes.generator import (
    DecodersPrecision,
    PagedAttentionConfig,
    Replayer,
    Vision,
    creator,
    greedy_only,
)

__all__ = ["DecodersPrecision", "Generator", "PagedAttentionConfig", "SamplingParams", "create_tt_model"]


@dataclass(frozen=True)
class SamplingParams:
    temperature: float
    top_k: int
    top_p: float


create_tt_model = creator(has_sampler=False)


class Generator(Vision, Replayer):
    trace_ids_text: dict[int, int]

    def __init__(
        self, model: Any, model_args: Any, mesh_device: Any, tokenizer: Any = None, formatter: Any = None
    ) -> None:
        super().__init__(model, model_args, mesh_device, tokenizer=tokenizer)

    def prefill_forward_text(
        self, tokens: torch.Tensor, page_table: Any = None, kv_cache: Any = None, prompt_lens: Any = None
    ) -> torch.Tensor:
        return self._prefill(tokens, page_table, kv_cache, prompt_lens)

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
            tokens, start_pos, page_table, kv_cache, trace=enable_trace, draw=draw, refresh=True
        )

    def _keep_trace(self, trace: int, on_device: bool) -> None:
        assert self.mesh_device.has_program_cache, "a trace needs cached programs"
        self.trace_ids_text = {0: trace}

    def _trace(self, on_device: bool) -> int | None:
        return self.trace_ids_text[0] if hasattr(self, "trace_ids_text") else None
