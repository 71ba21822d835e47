"""S6 after its library was renamed to `ttt_compat` (tt-metal PR 55977, 2026-09). Nothing that the engine calls differs."""

from __future__ import annotations

from tests.engine.tenstorrent.fakes.s6 import (
    DecodersPrecision,
    Generator,
    PagedAttentionConfig,
    SamplingParams,
    create_tt_model,
)

__all__ = ["DecodersPrecision", "Generator", "PagedAttentionConfig", "SamplingParams", "create_tt_model"]
