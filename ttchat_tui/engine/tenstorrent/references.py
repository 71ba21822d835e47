"""Upstream's published figures, for comparison with `bench`. Each has its source."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import msgspec

from ttchat_tui.domain.model_spec import TenstorrentOptions
from ttchat_tui.engine.tenstorrent.default_mesh import choose_mesh, named_mesh
from ttchat_tui.engine.tenstorrent.telemetry import System

PERF_MD: Final = (
    "tt-metal models/tt_transformers/PERF.md of 2026-06, performance mode, batch 1, 128-token prompt"
)
PERF_MD_32: Final = "tt-metal models/tt_transformers/PERF.md of 2026-06, performance mode, batch 32"
PERF_MD_ACCURACY: Final = "tt-metal models/tt_transformers/PERF.md of 2026-06, accuracy mode, batch 1"


class Reference(msgspec.Struct, frozen=True):
    model: str
    """Base name of the model, without `-Instruct`."""
    device: str
    decode_tps_user: float
    ttft_ms: float
    batch: int = 1
    source: str = PERF_MD


REFERENCES: Final[tuple[Reference, ...]] = (
    Reference("Llama-3.2-1B", "N150", 87.8, 26),
    Reference("Llama-3.2-1B", "N300", 105.9, 22),
    Reference("Llama-3.2-1B", "T3K", 119.8, 32),
    Reference("Llama-3.2-3B", "N150", 54.0, 55),
    Reference("Llama-3.2-3B", "N300", 68.0, 39),
    Reference("Llama-3.2-3B", "T3K", 68.5, 52),
    Reference("Llama-3.1-8B", "N150", 28.3, 104),
    Reference("Llama-3.1-8B", "N300", 44.2, 67),
    Reference("Llama-3.1-8B", "T3K", 64.3, 53),
    Reference("Llama-3.1-8B", "P100", 29.5, 84),
    Reference("Llama-3.1-8B", "P150", 33.6, 76),
    Reference("Llama-3.1-8B", "N150", 22.3, 119, 32, PERF_MD_32),
    Reference("Llama-3.1-8B", "N300", 33.5, 80, 32, PERF_MD_32),
    Reference("Llama-3.1-8B", "T3K", 45.6, 64, 32, PERF_MD_32),
    Reference("Llama-3.1-8B", "N150", 25.2, 138, 1, PERF_MD_ACCURACY),
    Reference("Llama-3.1-8B", "N300", 38.8, 79, 1, PERF_MD_ACCURACY),
    Reference("Llama-3.1-8B", "T3K", 60.8, 81, 1, PERF_MD_ACCURACY),
    Reference("Mistral-7B", "N150", 29.75, 100),
    Reference("Mistral-7B", "N300", 47.0, 66),
    Reference("Mistral-7B", "T3K", 67.8, 54),
    Reference("Qwen2.5-7B", "N300", 24.6, 92),
    Reference("Phi-3-mini-128k", "N150", 45.0, 73),
    Reference("Phi-3-mini-128k", "N300", 60.9, 115),
    Reference("Phi-4", "N300", 37.3, 123),
    Reference("Llama-3.3-70B", "T3K", 16.6, 164),
    Reference("Qwen3-32B", "T3K", 22.9, 123),
    Reference("Qwen2.5-72B", "T3K", 15.2, 225),
    Reference("QwQ-32B", "T3K", 20.7, 105),
)


def device_name(options: TenstorrentOptions, environ: Mapping[str, str]) -> str:
    """The MESH_DEVICE that a load uses here, for `references_for`; empty if unknown."""
    mesh = named_mesh(options, environ) or choose_mesh("", System.of(environ), environ).name
    return "" if mesh == "1x1" else mesh


def references_for(model: str, device: str = "") -> tuple[Reference, ...]:
    """Figures of `model` (hub id, folder or base name) on `device` (a MESH_DEVICE; empty for all)."""
    base = model.rstrip("/").rpartition("/")[2].lower()
    return tuple(
        each
        for each in REFERENCES
        if base.startswith(each.model.lower()) and device.upper() in ("", each.device)
    )
