"""A GGUF file as a `Checkpoint`: translates llama.cpp's keys and names and undoes its rotary permutation."""

# numpy's stubs give results of arithmetic, `reshape` and `view` no type at Python 3.10.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

from __future__ import annotations

import contextlib
from collections.abc import Collection, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from ttchat_tui.engine.base import ModelLoadError
from ttchat_tui.engine.cpu.checkpoints.checkpoint import TEXT_ONLY, ModelConfig, RawTensor, finite
from ttchat_tui.engine.cpu.checkpoints.gguf_config import GgufConfig
from ttchat_tui.engine.cpu.checkpoints.gguf_container import GgufContainer, TensorEntry
from ttchat_tui.engine.cpu.checkpoints.gguf_names import file_name
from ttchat_tui.engine.cpu.checkpoints.gguf_rules import DAMAGED, check_keys, check_kind, check_tensors
from ttchat_tui.engine.cpu.checkpoints.gguf_tensors import (
    holds_int4,
    is_quantized,
    read_int4,
    read_raw,
    read_tensor,
    release,
)
from ttchat_tui.engine.cpu.checkpoints.gguf_text_part import text_part
from ttchat_tui.engine.cpu.checkpoints.parts import half_split_rows
from ttchat_tui.engine.cpu.weights.int4_blocks import Int4Blocks
from ttchat_tui.engine.text.template import TemplateData
from ttchat_tui.engine.text.tokenizer_gguf import template_from_gguf

_EMBEDDING: Final = "token_embd.weight"
_HEAD: Final = "output.weight"
_ROPE_FREQS: Final = "rope_freqs.weight"
_SHORT_FACTORS: Final = "rope_factors_short.weight"
_LONG_FACTORS: Final = "rope_factors_long.weight"
_SAMPLING: Final = {
    "general.sampling.temp": "temperature",
    "general.sampling.top_k": "top_k",
    "general.sampling.top_p": "top_p",
    "general.sampling.min_p": "min_p",
    "general.sampling.penalty_repeat": "repetition_penalty",
    "general.sampling.xtc_probability": "xtc_probability",
    "general.sampling.mirostat": "mirostat",
    "tokenizer.ggml.suppress_tokens": "suppress_tokens",
}
"""llama.cpp's key → transformers' name."""


class GgufFile:
    """A `Checkpoint`. llama.cpp writes SmolLM2, Llama, Mistral and Mixtral as architecture `llama`."""

    def __init__(self, path: Path) -> None:
        """
        Raises:
            ModelLoadError: the file is unreadable, or its architecture is not supported.
        """
        self._file = GgufContainer(path)
        check_kind(self._file.metadata)
        metadata, self._tensors, is_alone = text_part(self._file)
        self.metadata: Mapping[str, Any] = metadata
        self.notes = () if is_alone else (TEXT_ONLY,)
        self.config = self._read_config()
        shapes = {name: entry.shape for name, entry in self._tensors.items()}
        self._entries = {
            name: self._tensors[part.tensor].part(part.first, part.rows)
            for name, part in check_tensors(shapes, self.config).items()
        }

    @property
    def names(self) -> Collection[str]:
        return self._entries.keys()

    @property
    def rope_factors(self) -> NDArray[np.float32] | None:
        return self._vector(_ROPE_FREQS)

    @property
    def generation_config(self) -> Mapping[str, Any]:
        return {name: self.metadata[key] for key, name in _SAMPLING.items() if key in self.metadata}

    @property
    def template(self) -> TemplateData:
        return template_from_gguf(self.metadata)

    @property
    def stored_bits(self) -> Literal[4, 8, 16]:
        matrices = [
            entry
            for name, entry in self._entries.items()
            if len(entry.shape) > 1 and not name.endswith("router")
        ]
        if any(holds_int4(entry) for entry in matrices):
            return 4
        return 8 if all(is_quantized(entry) for entry in matrices) else 16

    def tensor(self, name: str) -> NDArray[np.float32]:
        weight = finite(name, read_tensor(self._file.data, self._entry(name)))
        heads = self._permuted_heads(name)
        return half_split_rows(weight, heads, self.config.rotary_size) if heads else weight

    def int4_blocks(self, name: str) -> Int4Blocks | None:
        blocks = read_int4(self._file.data, self._entry(name))
        heads = self._permuted_heads(name)
        if blocks is None or not heads:
            return blocks
        return blocks.map_rows(partial(half_split_rows, heads=heads, rotary_size=self.config.rotary_size))

    def raw(self, name: str) -> RawTensor:
        return read_raw(self._file.data, self._entry(name), self._permuted_heads(name))

    def release(self, name: str) -> None:
        release(self._file.data, self._entry(name))

    def close(self) -> None:
        with contextlib.suppress(BufferError):  # A raw tensor is in use. The map closes with it.
            self._file.data.close()

    def _permuted_heads(self, name: str) -> int:
        """The number of heads in which the rows of this weight are in pair order; 0 if they are not."""
        part, traits = name.rpartition(".")[2], self.config.traits
        if not (traits.has_pairs or traits.has_pairs_in_gguf) or part not in ("q", "k", "q_bias", "k_bias"):
            return 0
        return self.config.heads if part[0] == "q" else self.config.kv_heads

    def _entry(self, name: str) -> TensorEntry:
        if name not in self._entries:
            raise ModelLoadError(f"The GGUF file has no tensor {file_name(name)}.", DAMAGED)
        return self._entries[name]

    def _vector(self, tensor: str) -> NDArray[np.float32] | None:
        entry = self._tensors.get(tensor)
        return None if entry is None else read_tensor(self._file.data, entry)

    def _read_config(self) -> ModelConfig:
        fields = GgufConfig(self.metadata)
        if not self._tensors:
            raise ModelLoadError("The GGUF file has no weights, only metadata.", DAMAGED)
        if _EMBEDDING not in self._tensors:
            raise ModelLoadError("The GGUF file has no tensor token_embd.weight.", DAMAGED)
        config = fields.read(
            (*self._tensors[_EMBEDDING].shape, 0)[0],
            most_layers=len(self._tensors),
            is_head_tied=_HEAD not in self._tensors,
            short_factors=self._vector(_SHORT_FACTORS),
            long_factors=self._vector(_LONG_FACTORS),
            has_rope_factors=_ROPE_FREQS in self._tensors,
        )
        check_keys(fields.metadata, fields.architecture, fields.computed_keys)
        return config
