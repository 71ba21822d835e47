"""All weights of a model for torch's kernels."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
import torch

from ttchat_tui.engine.cpu.checkpoints.checkpoint import Checkpoint
from ttchat_tui.engine.cpu.weights.linear import Linear
from ttchat_tui.engine.cpu.weights.matrices import MatrixBuilder
from ttchat_tui.engine.cpu.weights.precision import WeightPlan
from ttchat_tui.engine.cpu.weights.weights import LayerWeights, convert_layers


class TorchWeights(msgspec.Struct, frozen=True):
    embed: torch.Tensor
    """[vocab, hidden], float32 or float16."""
    layers: list[LayerWeights[torch.Tensor, Linear]]
    head: Linear
    """hidden → vocab, the final norm folded in."""


def convert_weights(
    checkpoint: Checkpoint, plan: WeightPlan, report: Callable[[int, int], None]
) -> TorchWeights:
    """Read and convert all weights, with as many threads as torch has. `report` as for `convert_layers`.

    Raises:
        ModelLoadError: a weight is missing or cannot be read.
    """
    build = MatrixBuilder(checkpoint, plan)
    report(0, checkpoint.config.layers)
    # Before the layers: the float32 embedding is the memory peak of a small model.
    embed, head = build.ends()
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # Applies to the pool's threads too.
    try:
        return TorchWeights(embed, convert_layers(checkpoint, build, report, threads), head)
    finally:
        torch.set_num_threads(threads)
