"""S7: the standalone tt_transformers package (tenstorrent/tt-transformers at b92ed2fa and 4fc26a3e).

models/<m>/hf_generator.py `from_pretrained`; models/executor.py: the executor and its configuration; llm_runtime: shapes
that it enforces. `Executor` is state S7b, `ReloadingExecutor` is S7c (docs/vllm-decode.md).
"""

from __future__ import annotations

import dataclasses
from typing import Any, Final

import torch

from tests.engine.tenstorrent.fakes.card import EVENTS, FakeMesh, Transformer, take_a_steps_time
from tests.engine.tenstorrent.fakes.checkpoint import CONTEXT, VOCAB
from tests.engine.tenstorrent.fakes.generator import padded_new
from tests.engine.tenstorrent.fakes.s5 import SamplingParams
from tests.engine.tenstorrent.fakes.sampler import FakeSampler

__all__ = ["SamplingParams", "from_pretrained"]

_BLOCK: Final = 32


@dataclasses.dataclass(frozen=True)
class TraceConfig:
    mode: str = "decode_only"


@dataclasses.dataclass(frozen=True)
class WarmupConfig:
    prefill_seq_lens: tuple[int, ...] | None = None
    prefill_batch_sizes: tuple[int, ...] = (1, 2, 4, 8, 16, 32)
    include_decode_top_k: bool = False


@dataclasses.dataclass(frozen=True)
class PagedKVCacheConfig:
    block_size: int
    max_num_blocks: int
    dtype: str
    memory_config: str = "dram"
    num_blocks: int | None = None


@dataclasses.dataclass(frozen=True)
class LlamaExecutorConfig:
    trace: TraceConfig
    warmup: WarmupConfig
    paged_kv_cache: PagedKVCacheConfig
    device_sampling_enabled: bool


@dataclasses.dataclass(frozen=True)
class RuntimeConfig:
    max_batch_size: int
    max_seq_len: int
    max_prefill_chunk_size: int


class Executor:
    """Everything that was not compiled before the trace became active is refused after it. With a trace, tokens and
    positions stay on the card unless a reset says that they are the host's."""

    def __init__(
        self, model: Transformer, runtime_config: RuntimeConfig, config: LlamaExecutorConfig
    ) -> None:
        self.model = model
        self.config = config
        self.eager_execution = "eager"
        self._rows = runtime_config.max_batch_size
        self._kv: Any = None
        self._trace: int | None = None
        self._is_terminal = False
        self._compiled_prefill = 0
        self._inputs: tuple[torch.Tensor, torch.Tensor] | None = None
        self._sampled: set[tuple[bool, bool]] = set()
        """Kinds of sampling that were compiled."""
        self.sampler = FakeSampler(model.mesh, self._rows, "draw")

    def allocate_kv_cache(self) -> Any:
        if self._kv is not None:
            raise RuntimeError("Paged KV cache has already been allocated")
        self._kv = self.model.kv_cache
        return self._kv

    def compile_prefill(
        self,
        *,
        tokens: torch.Tensor,
        page_table: torch.Tensor,
        prompt_lens: torch.Tensor | None = None,
        start_pos: torch.Tensor | None = None,
        empty_slots: Any = None,
        kv_cache: Any = None,
        sampling_params: Any = None,
        execution: Any = None,
    ) -> None:
        """Runs the model: writes through the page table that it is given."""
        self.prefill_forward(tokens, page_table, prompt_lens=prompt_lens, kv_cache=kv_cache)

    def compile_decode(
        self,
        *,
        tokens: torch.Tensor,
        start_pos: torch.Tensor,
        page_table: torch.Tensor,
        kv_cache: Any = None,
        sampling_params: Any = None,
        prompt_tokens: torch.Tensor | None = None,
        output_tokens: torch.Tensor | None = None,
        reset_batch: bool = False,
        execution: Any = None,
    ) -> None:
        self._check(kv_cache)
        self.model.decode(tokens, start_pos, page_table)
        if sampling_params is not None:
            self._require_sampler()
            kind = _kind(sampling_params)
            assert kind in self._sampled or not self._compiled_prefill, "decode is compiled before prefill"
            self._sampled.add(kind)
            self.sampler.load(sampling_params)
            self.sampler.compile()

    def warmup_model_prefill(self, *, kv_cache: Any, can_sample_on_device: bool, enable_trace: bool) -> None:
        self._check(kv_cache)
        assert can_sample_on_device == self.config.device_sampling_enabled
        self._compiled_prefill += 1
        for length in self.config.warmup.prefill_seq_lens or (128, 1024):
            for rows in self.config.warmup.prefill_batch_sizes:
                self.model.compile(rows, length, length - 1)

    def warmup_model_decode(
        self,
        *,
        kv_cache: Any,
        max_batch_size: int,
        num_blocks: int,
        can_sample_on_device: bool,
        enable_trace: bool,
    ) -> None:
        self._check(kv_cache)
        assert max_batch_size == self._rows
        if enable_trace and self.config.trace.mode != "none":
            self._trace = self.model.mesh.record()

    def prefill_forward(
        self,
        tokens: torch.Tensor,
        page_table: torch.Tensor,
        *,
        prompt_lens: torch.Tensor | None = None,
        start_pos: torch.Tensor | None = None,
        empty_slots: Any = None,
        kv_cache: Any = None,
        sampling_params: Any = None,
        execution: Any = None,
    ) -> torch.Tensor:
        """float32 [rows, 1, vocab]. A row whose prefix is all of it (`start_pos` = length) is skipped: zeros."""
        self._check(kv_cache)
        rows = len(tokens)
        if len(page_table) != rows:
            raise ValueError("page_table must have as many rows as tokens")
        lengths = torch.full((rows,), tokens.shape[1]) if prompt_lens is None else prompt_lens
        starts = torch.zeros(rows, dtype=torch.long) if start_pos is None else start_pos
        for name, value in (("prompt_lens", lengths), ("start_pos", starts)):
            if not isinstance(value, torch.Tensor) or value.dim() != 1:
                raise ValueError(f"{name} must be a rank-1 torch.Tensor")
        if any(start % _BLOCK for start in starts.tolist()):
            raise ValueError("start_pos must be block aligned")
        slots = list(range(rows)) if empty_slots is None else empty_slots
        if len(set(slots)) != rows or max(slots) >= self._rows:
            raise ValueError("empty_slots must be unique and below max_batch_size")
        # A chunk is compiled as one behind a cached prefix, which the warm-up runs for each length too.
        self._wave(rows, [min(padded_new(length), self.model.chunk) for length in lengths.tolist()])
        logits = torch.zeros(rows, 1, VOCAB)
        for row, (length, start) in enumerate(zip(lengths.tolist(), starts.tolist(), strict=True)):
            if start < length:
                logits[row, 0] = self.model.prefill(tokens[row, start:length], page_table[row], start)
        return logits

    def decode_forward(
        self,
        tokens: torch.Tensor,
        start_pos: torch.Tensor,
        page_table: torch.Tensor,
        *,
        kv_cache: Any = None,
        sampling_params: Any = None,
        prompt_tokens: torch.Tensor | None = None,
        output_tokens: torch.Tensor | None = None,
        reset_batch: bool = False,
        read_from_device: bool = True,
        execution: Any = None,
    ) -> tuple[torch.Tensor, Any]:
        if sampling_params is not None and reset_batch:
            self._load(sampling_params, prompt_tokens, output_tokens, is_loaded=True, is_reset=True)
        return self._step(tokens, start_pos, page_table, kv_cache, sampling_params, is_fed=reset_batch)

    def cleanup(self) -> None:
        if self._trace is not None:
            self.model.mesh.release(self._trace)
        self._trace = None
        self._is_terminal = True
        self.model.release()

    def _wave(self, rows: int, padded: list[int]) -> None:
        for length in set(padded):
            count = padded.count(length)
            wave = 1 << (count - 1).bit_length()
            if self._trace is not None and not self.model.is_compiled(wave, length):
                raise RuntimeError(f"prefill {wave} x {length} was not compiled after trace activation")
            self.model.compile(wave, length, length - 1)

    def _require_sampler(self) -> None:
        if not (self.config.device_sampling_enabled and self.config.warmup.include_decode_top_k):
            raise ValueError("device sampling is not enabled for this executor")

    def _load(
        self,
        sampling_params: Any,
        prompt_tokens: torch.Tensor | None,
        output_tokens: torch.Tensor | None,
        *,
        is_loaded: bool,
        is_reset: bool,
    ) -> None:
        self._require_sampler()
        if self._trace is not None and _kind(sampling_params) not in self._sampled:
            raise RuntimeError(f"sampling {_kind(sampling_params)} was not compiled after trace activation")
        if is_loaded:
            self.sampler.load(sampling_params)
        if is_reset:
            self.sampler.reset(prompt_tokens, output_tokens)

    def _step(
        self,
        tokens: torch.Tensor,
        start_pos: torch.Tensor,
        page_table: torch.Tensor,
        kv_cache: Any,
        sampling_params: Any,
        *,
        is_fed: bool,
    ) -> tuple[torch.Tensor, Any]:
        """The pair of logits, or of ids int64 [rows], that every decode returns."""
        take_a_steps_time()
        self._require_shapes(tokens, start_pos, page_table, kv_cache)
        if self._trace is None or is_fed or self._inputs is None:
            self._inputs = (tokens.clone(), start_pos.clone())
        inputs, positions = self._inputs
        logits = self.model.decode(inputs, positions, page_table)
        if sampling_params is None:
            return logits, None
        self._require_sampler()
        ids = self.sampler.sample(logits, positions)
        self._inputs = (ids.clone(), positions + (positions >= 0).long())
        return ids, torch.zeros(self._rows)

    def _require_shapes(
        self, tokens: torch.Tensor, start_pos: torch.Tensor, page_table: torch.Tensor, kv_cache: Any
    ) -> None:
        self._check(kv_cache)
        if tokens.shape != (self._rows,) or start_pos.shape != (self._rows,) or len(page_table) != self._rows:
            raise ValueError(f"decode batch {tuple(tokens.shape)} must equal lane capacity {self._rows}")
        if int(start_pos.max()) >= page_table.shape[1] * _BLOCK:
            raise ValueError("decode position exceeds the configured paged-KV capacity")

    def _check(self, kv_cache: Any) -> None:
        if self._is_terminal:
            raise RuntimeError("the executor is terminal; construct a new executor")
        if kv_cache is not None and kv_cache is not self._kv:
            raise ValueError("kv_cache is not the exact manager-owned borrowed handle")


class ReloadingExecutor(Executor):
    """S7c: reload commands beside `reset_batch`, all optional."""

    def decode_forward(
        self,
        tokens: torch.Tensor,
        start_pos: torch.Tensor,
        page_table: torch.Tensor,
        *,
        kv_cache: Any = None,
        sampling_params: Any = None,
        prompt_tokens: torch.Tensor | None = None,
        output_tokens: torch.Tensor | None = None,
        reset_batch: bool = False,
        reload_inputs: bool | None = None,
        reload_page_table: bool = False,
        reload_sampling_params: bool = False,
        reset_sampling_state: bool = False,
        read_from_device: bool = True,
        execution: Any = None,
    ) -> tuple[torch.Tensor, Any]:
        if sampling_params is not None:
            self._load(
                sampling_params,
                prompt_tokens,
                output_tokens,
                is_loaded=reset_batch or reload_sampling_params,
                is_reset=reset_batch or reset_sampling_state,
            )
        is_fed = reset_batch if reload_inputs is None else reload_inputs
        return self._step(tokens, start_pos, page_table, kv_cache, sampling_params, is_fed=is_fed)


def _kind(sampling_params: Any) -> tuple[bool, bool]:
    """Which program it takes: penalties, all greedy."""
    penalties = zip(
        sampling_params.presence_penalty,
        sampling_params.frequency_penalty,
        sampling_params.repetition_penalty,
        strict=True,
    )
    has_penalties = any(penalty != (0.0, 0.0, 1.0) for penalty in penalties)
    return has_penalties, not any(sampling_params.temperature)


class LlamaForCausalLM:
    """What `from_pretrained` returns, without `generate`: a chat cannot use it."""

    def __init__(self, model: Transformer, runtime_config: RuntimeConfig, executor: Executor) -> None:
        self.model = model
        self.runtime_config = runtime_config
        self.executor = executor
        self.tokenizer = "tokenizer"
        self.max_seq_len = runtime_config.max_seq_len
        self.max_context_len = CONTEXT

    def cleanup(self) -> None:
        """Idempotent. The mesh stays the caller's."""
        if self.model.is_on_card:
            EVENTS.append("cleanup")
            self.executor.cleanup()


def from_pretrained(
    mesh_device: FakeMesh,
    *,
    hf_model: str | None = None,
    hf_revision: str | None = None,
    instruct: bool | None = None,
    max_batch_size: int,
    max_seq_len: int,
    optimizations: str = "performance",
    n_layers: int | None = None,
    dtype: str = "bfloat8_b",
    paged_attention_config: Any = None,
    cache_dir: str | None = None,
    executor_config: LlamaExecutorConfig | None = None,
) -> LlamaForCausalLM:
    """models/llama32_1b/hf_generator.py. No trace and eager execution unless an executor says otherwise."""
    if max_seq_len % (8 * _BLOCK):
        raise ValueError(
            f"The paged KV cache has fewer than the blocks of a decode page table ({max_seq_len})"
        )
    blocks = max_seq_len // _BLOCK * max_batch_size
    model = Transformer(
        mesh_device, batch=max_batch_size, max_seq_len=max_seq_len, blocks=blocks, block_size=_BLOCK
    )
    runtime = RuntimeConfig(max_batch_size, max_seq_len, model.chunk)
    config = LlamaExecutorConfig(
        TraceConfig("none"), WarmupConfig(), PagedKVCacheConfig(_BLOCK, blocks, dtype), False
    )
    return LlamaForCausalLM(model, runtime, ReloadingExecutor(model, runtime, executor_config or config))
