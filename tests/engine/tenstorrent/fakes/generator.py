"""What S1 to S6 have in common: construction, prefill of one user after the other, decode plain or by a recorded trace.

A module of a generation holds what upstream changed in it: signatures, defaults, and when a replay takes its inputs
from the host.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, TypeAlias

import torch

from tests.engine.tenstorrent.fakes import native
from tests.engine.tenstorrent.fakes.card import (
    CHUNK,
    EVENTS,
    FakeMesh,
    Transformer,
    argmax,
    take_a_steps_time,
)
from tests.engine.tenstorrent.fakes.checkpoint import VOCAB
from tests.engine.tenstorrent.fakes.sampler import FakeSampler

Draw: TypeAlias = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
"""Logits [batch, 1, vocab] and positions [batch] → ids int64 [batch]: sampling on the card."""

NO_SAMPLER: Final = "FAKE_CARD_NO_SAMPLER"
"""Variable: the vocabulary is too long for sampling on the card (S4 model.py:136, S5 model.py:156)."""

_BATCHES: Final = (1, 2, 4, 8, 16, 32)


class PagedAttentionConfig:
    """S1 common.py:23 to S5 common.py:75."""

    def __init__(self, block_size: int = 32, max_num_blocks: int = 1024) -> None:
        self.block_size = block_size
        self.max_num_blocks = max_num_blocks


@dataclass(frozen=True)
class DecodersPrecision:
    """S1 model_config.py:2316 to S5 model_config.py:4420."""

    layers: int

    @classmethod
    def performance(cls, num_decoders: int, model_name: str) -> DecodersPrecision:
        return cls(num_decoders)

    @classmethod
    def accuracy(cls, num_decoders: int, model_name: str) -> DecodersPrecision:
        return cls(num_decoders)


@dataclass
class ModelArgs:
    mesh_device: FakeMesh
    max_batch_size: int
    max_seq_len: int
    model_name: str
    vocab_size: int = VOCAB
    n_layers: int = 2
    max_prefill_chunk_size: int = field(default_factory=lambda: int(os.environ.get(CHUNK, 128 * 1024)))
    tokenizer: str = "tokenizer"
    device_name = "N150"
    trace_prefill_supported_seq_lens: list[int] = field(default_factory=lambda: [128, 1024])
    """From S4 on (S4 model_config.py:1309, S5 :2430): S5's for most cards, to which S4 adds 256 and 512; none for some
    models."""

    def can_enable_trace(self, prefill_seq_len: int, num_cached_tokens: int = 0) -> bool:
        """S4 model_config.py:1734, S5 :2957."""
        return prefill_seq_len in self.trace_prefill_supported_seq_lens and prefill_seq_len <= min(
            self.max_prefill_chunk_size, self.max_seq_len
        )


def create(
    mesh_device: FakeMesh,
    instruct: bool,
    max_batch_size: int,
    optimizations: Callable[[ModelArgs], DecodersPrecision],
    max_seq_len: int,
    paged_attention_config: PagedAttentionConfig | None,
    *,
    dtype: Any,
    needs_power_of_two: bool = False,
    has_sampler: bool = False,
) -> tuple[ModelArgs, Transformer, Any, dict[str, Any]]:
    """(model_args, model, tt_kv_cache, state_dict), as every generation; the model comes from HF_MODEL alone.

    Raises:
        ValueError: a batch that is none of 1, 2, 4, 8, 16, 32 (S5 model_config.py:608).
        AssertionError: S5 and later want a power of two (model_config.py:1126).
    """
    native.logger.info("Inferring device name: N150")
    name = os.environ["HF_MODEL"]
    native.logger.info(f"Checkpoint directory: {name}")
    assert Path(os.environ["TT_CACHE_PATH"]).is_absolute(), "weights would be cached below the current folder"
    if max_batch_size not in _BATCHES:
        raise ValueError(f"Batch size {max_batch_size} not supported")
    if needs_power_of_two:
        assert max_seq_len & (max_seq_len - 1) == 0, (
            f"capped_warmup_seq_len must be a power of 2, but got {max_seq_len}"
        )
    args = ModelArgs(mesh_device, max_batch_size, max_seq_len, Path(name).name)
    assert isinstance(optimizations(args), DecodersPrecision)
    assert dtype == native.bfloat8_b
    assert paged_attention_config is not None, "only paged attention is imitated"
    sys.stderr.write("\rLoading layers: 100%|##########| 2/2 [00:00<00:00, 9.9it/s]\n")
    paging = paged_attention_config
    model = Transformer(
        mesh_device,
        batch=max_batch_size,
        max_seq_len=max_seq_len,
        blocks=paging.max_num_blocks,
        block_size=paging.block_size,
    )
    if has_sampler:
        model._supports_on_device_sampling = NO_SAMPLER not in os.environ
    return args, model, model.kv_cache, {"weights": "on the host"}


def creator(*, has_sampler: bool) -> Callable[..., tuple[ModelArgs, Transformer, Any, dict[str, Any]]]:
    """`create_tt_model` with the arguments of S1 to S4 (S1 common.py:507, S3 common.py:665)."""

    def create_tt_model(
        mesh_device: Any,
        instruct: bool,
        max_batch_size: int,
        optimizations: Any,
        max_seq_len: int,
        paged_attention_config: Any = None,
        dtype: Any = native.bfloat8_b,
        state_dict: Any = None,
        num_layers: int | None = None,
    ) -> Any:
        return create(
            mesh_device,
            instruct,
            max_batch_size,
            optimizations,
            max_seq_len,
            paged_attention_config,
            dtype=dtype,
            has_sampler=has_sampler,
        )

    return create_tt_model


class Replayer:
    """Prefill of one user after the other, and decode with stale inputs where a generation leaves them stale."""

    sampler: FakeSampler
    """The card's, from S4 on."""
    trace_id_prefill: dict[str, int | None]
    """From S4 on."""
    capture_samples = False
    """Recording runs the sampler, which writes its ids over the recorded step's tokens (S5 generator.py:1461)."""

    def __init__(
        self,
        model: Sequence[Transformer],
        model_args: Sequence[ModelArgs],
        mesh_device: FakeMesh,
        processor: Any = None,
        tokenizer: Any = None,
    ) -> None:
        """The arguments are those of S3 and later (S3 generator.py:43)."""
        assert isinstance(model, list)
        assert isinstance(model_args, list)
        assert processor is None, "a tokenizer was given as the fourth argument"
        self.tokenizer = tokenizer
        self.model = model
        self.model_args = model_args
        self.mesh_device = mesh_device
        self.swallowed: set[str] = set()
        """Names that went into `**kwargs` and did nothing."""
        self._inputs: dict[bool, list[torch.Tensor]] = {}
        """Tokens, positions and page table on the card, of each recorded trace."""

    def _check(self, page_table: Any, kv_cache: Any) -> None:
        assert isinstance(page_table, torch.Tensor), "page_table mush be torch.Tensor"
        assert isinstance(kv_cache, list)
        assert kv_cache[0] is self.model[0].kv_cache, "another model's cache, or one that is not in a list"

    def _prefill(
        self,
        tokens: torch.Tensor,
        page_table: torch.Tensor,
        kv_cache: Any,
        prompt_lens: Any,
        slots: Sequence[int] | None = None,
        trace: bool = False,
    ) -> torch.Tensor:
        """Logits [users, 1, vocab] of S1 to S4; row i of `page_table` is user i's, whatever its slot is."""
        self._check(page_table, kv_cache)
        args = self.model_args[0]
        logits = torch.zeros(len(tokens), 1, args.vocab_size)
        for user, slot in enumerate(range(len(tokens)) if slots is None else slots):
            assert slot < args.max_batch_size
            length = tokens.shape[1] if prompt_lens is None else int(prompt_lens[user])
            padded = padded_old(length)
            assert padded <= args.max_seq_len, (
                f"Padded prefill end idx {padded} exceeds max seq len {args.max_seq_len}"
            )
            native.logger.info(f"Prefilling User 1 up to {length} tokens")
            if trace and args.can_enable_trace(padded):
                self._replay_prefill(padded, length - 1)
            else:
                self.model[0].compile(1, padded, length - 1)
            logits[user, 0] = self.model[0].prefill(tokens[user][:length], page_table[user])
        return logits

    def _record_prefill(self, padded: int, is_behind: bool = False) -> int:
        """Recorded for each length (S4 generator.py:125), and behind a cached prefix (S5 :379, `use_start_pos`)."""
        self.mesh_device.compile("traced prefill", padded, is_behind)
        native.logger.info("Done Capturing Prefill Trace")
        return self.mesh_device.record()

    def _replay_prefill(self, padded: int, last: int, is_behind: bool = False) -> None:
        """A traced prefill of one user (S4 generator.py:147, S5 :379), recorded at its first use."""
        key = f"{padded}_0_1_sp{int(is_behind)}"
        if (trace := self.trace_id_prefill[key]) is None:
            trace = self.trace_id_prefill[key] = self._record_prefill(padded, is_behind)
        if self._inputs.get(True):
            EVENTS.append("misuse: a prefill was replayed over the inputs of a card that samples")
        self.model[0].run_trace(trace)
        self.model[0].compile_slice(1, padded, last)

    def _draw(
        self,
        sampling_params: Any,
        prompt_tokens: torch.Tensor | None,
        output_tokens: torch.Tensor | None,
        *,
        is_loaded: bool = True,
        is_reset: bool,
    ) -> Draw | None:
        """The card's sampler, from S4 on; None where the host samples.

        Args:
            is_loaded: it takes the parameters of this step.
            is_reset: it takes these tokens as the earlier ones, and its seeds anew.
        """
        if sampling_params is None:
            return None
        if is_loaded:
            self.sampler.load(sampling_params)
        if is_reset:
            self.sampler.reset(prompt_tokens, output_tokens)
        return self.sampler.sample

    def _step(
        self,
        tokens: torch.Tensor,
        start_pos: torch.Tensor,
        page_table: Any,
        kv_cache: Any,
        *,
        trace: bool,
        draw: Draw | None,
        refresh: bool,
        refresh_table: bool = False,
    ) -> torch.Tensor:
        """Logits [batch, 1, vocab], or what the card draws from them, int64 [batch].

        Args:
            draw: logits and positions → ids, where the card samples.
            refresh: a replay takes tokens, positions and pages from the host.
        """
        on_device = draw is not None
        take_a_steps_time()
        self._check(page_table, kv_cache)
        batch = self.model_args[0].max_batch_size
        assert len(start_pos) == len(tokens), "Batch size mismatch"
        assert len(tokens) == batch, f"Batch size {len(tokens)} must be equal to max_batch_size {batch}"
        given = [tokens.reshape(-1).clone(), start_pos.clone(), page_table.clone()]
        if not trace:
            logits = self.model[0].decode(*given)
            return logits if draw is None else draw(logits, given[1])
        if self._trace(on_device) is None:
            self._record(given, on_device)
            if on_device and self.capture_samples and not refresh:
                self._inputs[on_device][0] = torch.zeros_like(given[0])
        elif refresh:
            self._inputs[on_device] = given
        elif refresh_table:
            self._inputs[on_device][2] = given[2]
        inputs = self._inputs[on_device]
        trace_id = self._trace(on_device)
        assert trace_id is not None
        logits = self.model[0].replay(trace_id, *inputs)
        self.mesh_device.compile(
            "read", on_device
        )  # The first output's way to the host comes after the capture.
        if draw is None:
            return logits
        ids, positions = draw(logits, inputs[1]), inputs[1]
        # The card feeds itself: the next step needs nothing from the host.
        self._inputs[on_device] = [ids.clone(), positions + (positions >= 0).long(), inputs[2]]
        return ids

    def _record(self, given: list[torch.Tensor], on_device: bool) -> None:
        if self._inputs.keys() - {on_device}:
            EVENTS.append("misuse: a trace for sampling on the host and one for the card")
        self.model[0].decode(*given)
        native.logger.info("Done Compiling Model")
        self._keep_trace(self.mesh_device.record(), on_device)
        self._inputs[on_device] = given
        native.logger.info("Done Capturing Decode Trace")

    def _keep_trace(self, trace: int, on_device: bool) -> None:
        """Under the attribute of this generation."""
        raise AssertionError("each generation has its own")

    def _trace(self, on_device: bool) -> int | None:
        """The one that was kept; None makes the next step record."""
        raise AssertionError("each generation has its own")


class FeedsWhenTheTableChanged(Replayer):
    """S3 and S4: with sampling on the card, a replay copies host inputs only where the page table is another one.

    S3 generator.py:397, S4 generator.py:665. With sampling on the host they are copied in each step.
    """

    prev_page_table: Any = None

    def _is_fed(self, page_table: torch.Tensor, on_device: bool) -> bool:
        is_same = self.prev_page_table is not None and torch.equal(self.prev_page_table[0], page_table)
        if not is_same:
            self.prev_page_table = (page_table.clone(),)
        return not on_device or not is_same


class Vision:
    """S1 to S4 have a `decode_forward` that is the Llama vision model's (S1 generator.py:550, S4 generator.py:1018), and a
    `__del__` that closes submeshes and releases no trace (S1 :1169, S4 :1706)."""

    def __del__(self) -> None: ...

    def decode_forward(
        self,
        start_pos: Any,
        tokens: Any,
        prefill_cross_attention_masks: Any,
        prefill_full_text_row_masked_out_mask: Any,
        decode_cross_attention_masks: Any,
        decode_full_text_row_masked_out_mask: Any,
        xattn_caches: Any = None,
        page_table: Any = None,
        kv_cache: Any = None,
        cross_page_table: Any = None,
        enable_trace: bool = True,
        read_from_device: bool = True,
    ) -> Any:
        raise AssertionError("this is the vision model's decode")


def greedy_only(sampling_params: Any) -> Draw | None:
    """S1 to S3 (S1 generator.py:210): the most probable token, or sampling on the host."""
    assert sampling_params is None or sampling_params.temperature == 0, (
        "Currently only supporting greedy decoding (temperature=0) on device"
    )
    return None if sampling_params is None else lambda logits, positions: argmax(logits)


def padded_old(length: int) -> int:
    """S1 to S4, common.py:412."""
    return 128 if length <= 128 else min(1 << (length - 1).bit_length(), -(-length // 2048) * 2048)


def padded_new(length: int) -> int:
    """S5, common.py:715."""
    return 128 if length <= 128 else 1024 if length <= 1024 else 1 << (length - 1).bit_length()
