"""S2: tt-metal of 2025-07-03 (#24471; flexaihq/tt-metal). Nothing that the engine calls differs from S1."""

from __future__ import annotations

from tests.engine.tenstorrent.fakes.s1 import (
    DecodersPrecision,
    Generator,
    PagedAttentionConfig,
    SamplingParams,
    create_tt_model,
)

__all__ = ["DecodersPrecision", "Generator", "PagedAttentionConfig", "SamplingParams", "create_tt_model"]
