"""Models that torch computes: where there is no compiled kernel for them, or another precision is wanted.

Imports torch, which takes a second and 300 MB: `loading` imports this module only when a model needs it.
"""

from __future__ import annotations

from collections.abc import Callable

from ttchat_tui.domain.free_memory import available_bytes
from ttchat_tui.domain.model_spec import CpuOptions
from ttchat_tui.engine.cpu.checkpoints.checkpoint import Checkpoint
from ttchat_tui.engine.cpu.forward.model import DecoderModel
from ttchat_tui.engine.cpu.forward.rope import RopeTable
from ttchat_tui.engine.cpu.weights.kernels import working_kernels
from ttchat_tui.engine.cpu.weights.memory import (
    check_memory,
    needed_bytes,
    with_prefill_copy,
)
from ttchat_tui.engine.cpu.weights.precision import WeightPlan, plan_weights
from ttchat_tui.engine.cpu.weights.torch_weights import convert_weights


def load_torch_model(
    checkpoint: Checkpoint, options: CpuOptions, rope: RopeTable, report: Callable[[int, int], None]
) -> tuple[DecoderModel, WeightPlan]:
    """Convert the weights for torch. `report(done, total)` counts layers and may raise.

    Raises:
        ModelLoadError: the precision has no working kernel, or a weight cannot be read.
        OutOfMemory: the model does not fit into memory.
    """
    config, kernels, available = checkpoint.config, working_kernels(), available_bytes()
    plan = plan_weights(options.precision, kernels, stored_bits=checkpoint.stored_bits)
    check_memory(needed_bytes(config, plan), available)
    plan = with_prefill_copy(plan, options.prefill_copy, kernels, config, available)
    return DecoderModel(config, convert_weights(checkpoint, plan, report), rope), plan
