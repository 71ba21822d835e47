"""S7: the standalone `tt_transformers` package (TTTv2): one package per model, an executor with host logits.

Written from its sources (states S7b and S7c of docs/tenstorrent.md); no card has run it. `generate()` of the package
has no streaming and no cancel, so the executor is driven directly, as its own `hf_generation` does it.
"""

from __future__ import annotations

import dataclasses
import importlib
import importlib.util
import inspect
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray

from ttchat_tui.engine.base import ModelLoadError

MODELS: Final[dict[str, str]] = {
    "llama-3.2-1b-instruct": "llama32_1b",
    "llama-3.2-3b-instruct": "llama32_3b",
    "llama-3.1-8b-instruct": "llama3_8b",
    "mistral-7b-instruct-v0.3": "mistral_7b",
    "qwen2-7b-instruct": "qwen2_7b",
    "qwen2.5-7b-instruct": "qwen25_7b",
    "phi-4": "phi4",
    "deepseek-r1-distill-qwen-14b": "deepseek_r1_distill_qwen_14b",
    "llama-3.3-70b-instruct": "llama33_70b",
    "qwen3-32b": "qwen3_32b",
    "qwen2.5-72b-instruct": "qwen25_72b",
    "qwen2.5-coder-32b-instruct": "qwen25_coder_32b",
}
"""Base name of the hub's id, in lower case → tt_transformers.models.<this>. There is no generic loader."""

_ROOT: Final = "tt_transformers.models"


def package_for(name: str) -> Any:
    """The `hf_generator` module that runs the model with this base name.

    Raises:
        ModelLoadError: the package has no such model, or is too old to have an executor.
    """
    package = MODELS.get(name.lower())
    if package is None or importlib.util.find_spec(f"{_ROOT}.{package}") is None:
        raise ModelLoadError(
            f"The tt_transformers package has no model {name}.",
            f"It knows {', '.join(MODELS)}. A tt-metal checkout (TT_METAL_HOME) knows more.",
        )
    module = f"{_ROOT}.{package}.hf_generator"
    if importlib.util.find_spec(module) is None:
        raise ModelLoadError(
            f"The installed tt_transformers is too old: it has no {module}.",
            "Update its checkout and install it again.",
        )
    return importlib.import_module(module)


def positions(wanted: int, model_maximum: int, default: int) -> int:
    """Positions of one row: a power of two of at least 1,024, so that no prompt that fits is padded to a bucket that
    was not compiled (128, 1,024, then powers of two). The page table is a multiple of eight pages of 32 wide then."""
    most = max(1024, min(wanted or default, model_maximum))
    return 1 << (most.bit_length() - 1)


def build(
    module: Any, mesh: Any, *, hf_model: str, batch: int, max_seq_len: int, optimizations: str, trace: bool
) -> Any:
    """`from_pretrained`, then an executor that records the decode step if `trace`. Nothing is allocated yet."""
    wanted = {
        "hf_model": hf_model,
        "max_batch_size": batch,
        "max_seq_len": max_seq_len,
        "optimizations": optimizations,
    }
    named = inspect.signature(module.from_pretrained).parameters
    llm: Any = module.from_pretrained(
        mesh, **{name: value for name, value in wanted.items() if name in named}
    )
    if trace:
        before = llm.executor
        config = dataclasses.replace(
            before.config,
            trace=dataclasses.replace(before.config.trace, mode="decode_only"),
            warmup=dataclasses.replace(
                before.config.warmup,
                prefill_seq_lens=tuple(prefill_lengths(max_seq_len)),
                prefill_batch_sizes=(1,),  # Rows are prefilled one after the other (`CardStepper.fork`).
            ),
        )
        llm.executor = type(before)(llm.model, llm.runtime_config, config)
    return llm


def prefill_lengths(max_seq_len: int) -> list[int]:
    """Buckets that are compiled before the trace is live: afterwards nothing new compiles."""
    return [length for length in (128, 1024, 2048, 4096) if length <= max_seq_len]


class ExecutorModel:
    """A `CardModel` over `llm.executor`."""

    def __init__(self, llm: Any, page_table: torch.Tensor, *, trace: bool) -> None:
        self.batch = int(page_table.shape[0])
        self._llm: Any = llm
        self._executor: Any = llm.executor
        self._page_table = page_table
        self._kv: Any = self._executor.allocate_kv_cache()  # Once: a second call raises.
        named = inspect.signature(self._executor.decode_forward).parameters
        # The host path loads every input in each step; older states say so with reset_batch alone.
        self._reload = {"reset_batch": True} if "reset_batch" in named else {"reload_inputs": True}
        if trace:
            self._record()

    def prefill(self, rows: Sequence[Sequence[int]], *, first_row: int) -> NDArray[np.float32]:
        count = len(rows)
        slots = range(first_row, first_row + count)
        lengths = [len(row) for row in rows]
        tokens = torch.zeros(count, max(lengths), dtype=torch.long)
        for index, row in enumerate(rows):
            tokens[index, : len(row)] = torch.tensor(row)
        logits = self._executor.prefill_forward(
            tokens,
            self._page_table[slots.start : slots.stop],
            prompt_lens=torch.tensor(lengths),  # Lists are refused.
            empty_slots=list(slots),
            kv_cache=self._kv,
        )
        return _rows(logits, count)

    def decode(
        self, tokens: Sequence[int], positions: Sequence[int], *, is_first: bool
    ) -> NDArray[np.float32]:
        logits, _ = self._executor.decode_forward(
            torch.tensor(tokens, dtype=torch.long),
            torch.tensor(positions, dtype=torch.long),
            self._page_table,
            kv_cache=self._kv,
            read_from_device=True,
            **self._reload,
        )
        return _rows(logits, self.batch)

    def close(self) -> None:
        """Releases traces, caches and weights; final. Idempotent."""
        if self._llm is not None:
            self._llm.cleanup()
        self._llm = self._executor = self._kv = None

    def _record(self) -> None:
        """Compile, then record the decode step: the order of the package's own `_prepare_execution`."""
        executor = self._executor
        prefill: dict[str, Any] = {
            "kv_cache": self._kv,
            "can_sample_on_device": bool(executor.config.device_sampling_enabled),
        }
        decode = {**prefill, "max_batch_size": self.batch, "num_blocks": int(self._page_table.shape[1])}
        step: dict[str, Any] = {
            "tokens": torch.zeros(self.batch, dtype=torch.long),
            "start_pos": torch.tensor([1] + [-1] * (self.batch - 1)),
            "page_table": self._page_table,
            "kv_cache": self._kv,
            **self._reload,
        }
        executor.compile_decode(**step, execution=executor.eager_execution)
        executor.warmup_model_prefill(enable_trace=False, **prefill)
        executor.warmup_model_decode(enable_trace=False, **decode)
        executor.compile_decode(**step)
        executor.warmup_model_decode(enable_trace=True, **decode)


def _rows(logits: Any, rows: int) -> NDArray[np.float32]:
    array: Any = logits.detach().reshape(rows, -1).float().numpy()
    return array
