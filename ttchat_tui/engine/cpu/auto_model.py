"""Models of families that `families.py` does not describe: transformers' AutoModelForCausalLM as a stepper.

Imports transformers, which takes 3 s: `loading` imports this module only when a folder needs it.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import AutoModelForCausalLM, DynamicCache

from ttchat_tui.engine.base import ModelLoadError
from ttchat_tui.engine.cpu.stepper import CHUNK, common_prefix
from ttchat_tui.engine.decoding.loop import PrefillAborted, Stepper

_CONTEXT_FIELDS = ("max_position_embeddings", "n_positions", "seq_length", "max_sequence_length")
_UNKNOWN_CONTEXT = 2048


class AutoStepper(Stepper):
    """A `Stepper` over any causal transformers model with a KV cache."""

    def __init__(self, model: Any) -> None:
        self._model = model
        self._cache: Any = DynamicCache()
        self._ids: list[int] = []
        accepted = inspect.signature(model.forward).parameters
        # Without it the logits of a chunk take [chunk, vocab] floats.
        self._extra = {"logits_to_keep": 1} if "logits_to_keep" in accepted else {}

    def cached_prefix(self, ids: Sequence[int]) -> int:
        return common_prefix(self._ids, ids)

    def prefill(self, ids: Sequence[int], report: Callable[[int, int], bool]) -> NDArray[np.float32]:
        self._keep(self.cached_prefix(ids))
        while True:
            done = len(self._ids)
            logits = self._forward(ids[done : done + CHUNK])
            if not report(len(self._ids), len(ids)):
                raise PrefillAborted
            if len(self._ids) == len(ids):
                return logits

    def step(self, token_id: int) -> NDArray[np.float32]:
        return self._forward((token_id,))

    def reset(self) -> None:
        """Drop all positions."""
        self._keep(0)

    def _keep(self, length: int) -> None:
        surplus = len(self._ids) - length
        if surplus <= 0:
            return
        if length == 0:
            self._cache = DynamicCache()
        else:
            # How many to remove, negative: transformers 5.23 raises for a positive length to keep.
            self._cache.crop(-surplus)
        del self._ids[length:]

    @torch.inference_mode()
    def _forward(self, ids: Sequence[int]) -> NDArray[np.float32]:
        # Always the full mask: without it transformers derives one from the padding id, which may be a token of
        # the prompt.
        mask = torch.ones(1, len(self._ids) + len(ids), dtype=torch.long)
        output = self._model(
            input_ids=torch.tensor([list(ids)]),
            attention_mask=mask,
            past_key_values=self._cache,
            use_cache=True,
            **self._extra,
        )
        self._ids.extend(ids)
        logits: Any = output.logits[0, -1].float().numpy()
        return logits


def load_auto_model(folder: Path) -> tuple[AutoStepper, int, int, int]:
    """Load a folder's model in float32.

    Returns:
        The stepper, its context length, vocabulary size and number of parameters.
    Raises:
        ModelLoadError: transformers cannot load it, or it has no KV cache that can be cropped.
    """
    try:
        model: Any = AutoModelForCausalLM.from_pretrained(  # pyright: ignore[reportUnknownMemberType]
            folder, local_files_only=True, trust_remote_code=False
        )
    except (OSError, ValueError, KeyError, RuntimeError, ImportError) as error:
        first_line = str(error).strip().split("\n", 1)[0]
        raise ModelLoadError(
            f"transformers cannot load {folder}: {first_line}",
            "Choose another model; the log has the details.",
        ) from error
    if getattr(model, "_is_stateful", False):
        raise ModelLoadError(
            f"{folder} contains a recurrent model, whose state cannot be cropped between turns.",
            "Choose another model.",
        )
    model = model.float().eval()
    config = model.config.get_text_config()
    context = next(
        (size for name in _CONTEXT_FIELDS if (size := getattr(config, name, None))), _UNKNOWN_CONTEXT
    )
    return AutoStepper(model), int(context), int(config.vocab_size), int(model.num_parameters())
