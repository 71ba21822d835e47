"""S6: tt-metal of 2026-08 to 2026-11 (PRs #51646, #52296, #53551; tenstorrent/tt-metal, read in fragments).

models/common/decode_contract.py, version 1, against S5: `reset_batch` is gone; four keyword-only, mandatory flags say what
a traced decode takes from the host. Only `reload_inputs` brings tokens and positions to the card, also when the host
samples; only `reload_sampling_params` brings parameters, and only `reset_sampling_state` earlier tokens.
"""

from __future__ import annotations

from typing import Any

import torch

from tests.engine.tenstorrent.fakes.generator import DecodersPrecision, PagedAttentionConfig
from tests.engine.tenstorrent.fakes.s5 import PrefillsInWaves, SamplingParams, create_tt_model

__all__ = ["DecodersPrecision", "Generator", "PagedAttentionConfig", "SamplingParams", "create_tt_model"]


class Generator(PrefillsInWaves):
    decode_input_update_contract = 1

    def decode_forward(
        self,
        tokens: torch.Tensor,
        start_pos: torch.Tensor,
        page_table: Any = None,
        kv_cache: Any = None,
        enable_trace: bool = True,
        read_from_device: bool = True,
        sampling_params: SamplingParams | None = None,
        prompt_tokens: torch.Tensor | None = None,
        output_tokens: torch.Tensor | None = None,
        slot_remap: Any = None,
        defer_device_sampling: bool = False,
        *,
        reload_inputs: bool,
        reload_page_table: bool,
        reload_sampling_params: bool,
        reset_sampling_state: bool,
    ) -> tuple[torch.Tensor, Any]:
        if reload_inputs and reload_page_table:
            raise ValueError("reload_inputs already reloads the page table")
        if reset_sampling_state and not reload_inputs:
            raise ValueError("reset_sampling_state requires reload_inputs")
        if not (enable_trace or reload_inputs):
            raise ValueError("an untraced decode takes its inputs from the host: reload_inputs")
        if sampling_params is None and (reload_sampling_params or reset_sampling_state):
            raise ValueError("there are no sampling_params to reload or to reset")
        draw = self._draw(
            sampling_params,
            prompt_tokens,
            output_tokens,
            is_loaded=reload_sampling_params,
            is_reset=reset_sampling_state,
        )
        output = self._step(
            tokens,
            start_pos,
            page_table,
            kv_cache,
            trace=enable_trace,
            draw=draw,
            refresh=reload_inputs,
            refresh_table=reload_page_table,
        )
        return output, torch.ones(len(tokens))
