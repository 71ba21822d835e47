"""S1: tt-metal of 2025-05-28 (#22609; wusatosi/tt-metal).

generator.py: `__init__` :40, prefill :59, decode :200 (host inputs are copied before each replay), traces under
`trace_ids_text`, which is not there before the first capture, and nobody releases them. common.py: `create_tt_model` :507.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from tests.engine.tenstorrent.fakes import native
from tests.engine.tenstorrent.fakes.generator import (
    DecodersPrecision,
    PagedAttentionConfig,
    Replayer,
    Vision,
    create,
    greedy_only,
    padded_old,
)

__all__ = ["DecodersPrecision", "Generator", "PagedAttentionConfig", "SamplingParams", "create_tt_model"]


@dataclass(frozen=True)
class SamplingParams:
    temperature: float
    top_k: int
    top_p: float


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
    )


class Generator(Vision, Replayer):
    trace_ids_text: dict[int, int]

    def __init__(
        self, model: Any, model_args: Any, mesh_device: Any, tokenizer: Any = None, formatter: Any = None
    ) -> None:
        super().__init__(model, model_args, mesh_device)
        self.tokenizer = tokenizer

    def prefill_forward_text(
        self, tokens: torch.Tensor, page_table: Any = None, kv_cache: Any = None, prompt_lens: Any = None
    ) -> torch.Tensor:
        """Row i of `page_table` is user i's: a slice of the table says which rows of the card they are."""
        self._check(page_table, kv_cache)
        lengths = [tokens.shape[1]] * len(tokens) if prompt_lens is None else [int(n) for n in prompt_lens]
        logits = torch.zeros(len(tokens), 1, self.model_args[0].vocab_size)
        for user, length in enumerate(lengths):
            padded = padded_old(length)
            limit = self.model_args[0].max_seq_len
            assert padded <= limit, f"Padded prefill end idx {padded} exceeds max seq len {limit}"
            logits[user, 0] = self._prefill_user(tokens[user], page_table[user], length, padded)
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
            refresh=True,
        )

    def _keep_trace(self, trace: int, on_device: bool) -> None:
        self.trace_ids_text = {0: trace}
