"""S7: the standalone `tt_transformers` package (TTTv2), which has one package per model, and an executor.

Written from its source, in the states before (S7b) and after (S7c) its reload flags, and never run on a card. The
package's `generate()` has no streaming and no cancel, so this drives the executor directly, as its own `hf_generation`
does.
"""

from __future__ import annotations

import dataclasses
import importlib
import importlib.util
import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray

from ttchat_tui.domain.timeline import ColdWork
from ttchat_tui.engine.base import ModelLoadError
from ttchat_tui.engine.tenstorrent.buckets import prefill_buckets
from ttchat_tui.engine.tenstorrent.card_sampling import (
    SAMPLER_PROGRAMS,
    DrawParameters,
    native_sampling,
    supported_parameters,
)
from ttchat_tui.engine.tenstorrent.families import padded

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
"""Lower-case base name of the hub id → module in tt_transformers.models. There is no generic loader."""

_RELOADS: Final = frozenset({"reload_inputs", "reload_sampling_params", "reset_sampling_state"})
"""Flags of state S7c. Before it, `reset_batch` does all of this."""

_ROOT: Final = "tt_transformers.models"


def package_for(name: str) -> Any:
    """The `hf_generator` module for the model with this base name.

    Raises:
        ModelLoadError: the package does not have the model, or is too old for an executor.
    """
    package = MODELS.get(name.lower())
    if package is None or importlib.util.find_spec(f"{_ROOT}.{package}") is None:
        raise ModelLoadError(
            f"The tt_transformers package has no model {name}.",
            f"It has {', '.join(MODELS)}. A tt-metal checkout (TT_METAL_HOME) supports more models.",
        )
    module = f"{_ROOT}.{package}.hf_generator"
    if importlib.util.find_spec(module) is None:
        raise ModelLoadError(
            f"The installed tt_transformers is too old: it has no {module}.",
            "Update its checkout and install it again.",
        )
    return importlib.import_module(module)


def positions(requested: int, model_maximum: int, default: int) -> int:
    """Positions per row: a power of two of at least 1,024.

    So every prompt that fits is padded to a compiled bucket (128, 1,024, then powers of two), and the width of the page
    table is a multiple of eight pages of 32.
    """
    most = max(1024, min(requested or default, model_maximum))
    return 1 << (most.bit_length() - 1)


def build(
    module: Any,
    mesh: Any,
    *,
    hf_model: str,
    batch: int,
    max_seq_len: int,
    optimizations: str,
    trace: bool,
    draws: bool = False,
) -> Any:
    """`from_pretrained`, then an executor. Tracing (`trace`) and device sampling (`draws`) are fixed at its construction.
    Nothing is allocated yet."""
    arguments = {
        "hf_model": hf_model,
        "max_batch_size": batch,
        "max_seq_len": max_seq_len,
        "optimizations": optimizations,
    }
    named = inspect.signature(module.from_pretrained).parameters
    llm: Any = module.from_pretrained(
        mesh, **{name: value for name, value in arguments.items() if name in named}
    )
    if trace or draws:
        before = llm.executor
        config = dataclasses.replace(
            before.config,
            trace=dataclasses.replace(before.config.trace, mode="decode_only" if trace else "none"),
            warmup=dataclasses.replace(
                before.config.warmup,
                prefill_seq_lens=tuple(_prefill_lengths(llm.runtime_config, max_seq_len)),
                prefill_batch_sizes=(1,),  # `CardStepper.fork` prefills one row at a time.
                include_decode_top_k=draws,
            ),
            device_sampling_enabled=draws,
        )
        llm.executor = type(before)(llm.model, llm.runtime_config, config)
    return llm


def _prefill_lengths(runtime_config: Any, max_seq_len: int) -> list[int]:
    """Buckets to compile before the trace is live: nothing new compiles after that. A longer prompt goes in chunks of the last
    one, which the executor compiles behind a cached prefix too."""
    longest = min(max_seq_len, int(getattr(runtime_config, "max_prefill_chunk_size", max_seq_len)))
    return prefill_buckets("S7", longest)


class ExecutorModel:
    """A `CardModel` over `llm.executor`."""

    work: ColdWork = ""
    """With a trace, everything is compiled and recorded before the first reply."""

    def __init__(
        self,
        llm: Any,
        page_table: torch.Tensor,
        *,
        trace: bool,
        count_programs: Callable[[], int],
        sampling_params: type[Any] | None = None,
    ) -> None:
        """`count_programs`: how many are compiled on the mesh. `sampling_params` is the package's class, for an executor built
        with device sampling; None: the host samples."""
        self.batch = int(page_table.shape[0])
        self._llm: Any = llm
        self._executor: Any = llm.executor
        self._page_table = page_table
        self._sampling_params = sampling_params
        self._kv: Any = self._executor.allocate_kv_cache()  # Once: a second call raises.
        self._named = frozenset(inspect.signature(self._executor.decode_forward).parameters)
        if trace:
            self._record()
        self._count_programs = count_programs
        self._seen_programs = count_programs()

    @property
    def draws(self) -> frozenset[str] | None:
        if self._sampling_params is None:
            return None
        return supported_parameters([field.name for field in dataclasses.fields(self._sampling_params)])

    def prefill(
        self, rows: Sequence[Sequence[int]], *, first_row: int, start: int = 0, is_traced: bool = True
    ) -> NDArray[np.float32]:
        assert start == 0, "shapes behind a cached prefix are not compiled"
        slots = range(first_row, first_row + len(rows))
        logits = self._executor.prefill_forward(
            padded(rows),
            self._page_table[slots.start : slots.stop],
            prompt_lens=torch.tensor([len(row) for row in rows]),  # Lists are refused.
            empty_slots=list(slots),
            kv_cache=self._kv,
        )
        self._note_work()
        return _rows(logits, len(rows))

    def decode(
        self, tokens: Sequence[int], positions: Sequence[int], *, is_first: bool
    ) -> NDArray[np.float32]:
        # With host sampling every step loads all inputs.
        logits, _ = self._run(tokens, positions, self._loaded())
        return _rows(logits, self.batch)

    def draw(
        self,
        tokens: Sequence[int],
        positions: Sequence[int],
        draws: DrawParameters,
        *,
        is_first: bool,
        is_traced: bool = True,
    ) -> list[int]:
        """`is_traced` has no effect: the executor decides at its construction."""
        if draws.has_changed:
            self._forget_sampling()
        flags = self._drawn_flags(is_first, draws.has_changed)
        histories = draws.histories() if any(flags.values()) else {}
        more = {**flags, **{name: value for name, value in histories.items() if name in self._named}}
        ids, _ = self._run(tokens, positions, {"sampling_params": self._native(draws), **more})
        ids = ids.reshape(-1)
        return [int(ids[row]) for row in range(self.batch)]

    def close(self) -> None:
        """Release traces, caches and weights for good. Idempotent."""
        if self._llm is not None:
            self._llm.cleanup()
        self._llm = self._executor = self._kv = None

    def _run(self, tokens: Sequence[int], positions: Sequence[int], more: Mapping[str, Any]) -> Any:
        output = self._executor.decode_forward(
            torch.tensor(tokens, dtype=torch.long),
            torch.tensor(positions, dtype=torch.long),
            self._page_table,
            kv_cache=self._kv,
            read_from_device=True,
            **more,
        )
        self._note_work()
        return output

    def _note_work(self) -> None:
        """Whether the prefill or the step that has ended compiled something."""
        programs = self._count_programs()
        self.work = "compile" if programs != self._seen_programs else ""
        self._seen_programs = programs

    def _native(self, draws: DrawParameters) -> Any:
        assert self._sampling_params is not None
        return native_sampling(self._sampling_params, draws)

    def _loaded(self) -> dict[str, bool]:
        """The flag that loads every input from the host, as this state names it."""
        return {"reset_batch" if "reset_batch" in self._named else "reload_inputs": True}

    def _drawn_flags(self, is_first: bool, has_changed: bool) -> dict[str, bool]:
        """The flags for what to reload from the host. Older states reload everything, seeds included, or nothing."""
        if self._named >= _RELOADS:
            is_fed = is_first or has_changed
            return {
                "reload_inputs": is_fed,
                "reload_sampling_params": has_changed,
                "reset_sampling_state": has_changed,
            }
        return {"reset_batch": is_first or has_changed}

    def _forget_sampling(self) -> None:
        """Reset the sampling state that some states keep beside the executor."""
        controller: Any = getattr(self._executor, "sampling_state_controller", None)
        if controller is not None:
            controller.reset(self._executor.sampling_state)

    def _record(self) -> None:
        """Compile, then record the decode step, in the order of the package's own `_prepare_execution`: decode comes
        before prefill, once for each program of the sampler."""
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
            **self._loaded(),
        }
        steps = [step, *({**step, "sampling_params": sampling} for sampling in self._warm_samplings())]
        for each in steps:
            executor.compile_decode(**each, execution=executor.eager_execution)
        executor.warmup_model_prefill(enable_trace=False, **prefill)
        executor.warmup_model_decode(enable_trace=False, **decode)
        for each in steps:
            executor.compile_decode(**each)
        executor.warmup_model_decode(enable_trace=True, **decode)

    def _warm_samplings(self) -> list[Any]:
        """Parameters for each program of the card's sampler; none if the host samples."""
        if self._sampling_params is None:
            return []
        rows = self.batch
        return [
            self._native(
                DrawParameters(
                    sampling=(sampling,) * rows,
                    seeds=(0,) * rows,
                    has_changed=True,
                    prompt=(),
                    replies=[()] * rows,
                )
            )
            for sampling in SAMPLER_PROGRAMS
        ]


def _rows(logits: Any, rows: int) -> NDArray[np.float32]:
    array: Any = logits.detach().reshape(rows, -1).float().numpy()
    return array
