"""A GGUF file as a `Checkpoint`: translates llama.cpp's keys and names and undoes its rotary permutation."""

# numpy's stubs give results of arithmetic, `reshape` and `view` no type at Python 3.10.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

from __future__ import annotations

import contextlib
import re
from collections.abc import Collection, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Final, Literal, cast

import numpy as np
from numpy.typing import NDArray

from ttchat_tui.engine.base import ModelLoadError
from ttchat_tui.engine.cpu.checkpoints.checkpoint import (
    FAMILIES,
    Family,
    ModelConfig,
    RawTensor,
    RopeScaling,
)
from ttchat_tui.engine.cpu.checkpoints.gguf_container import GgufContainer, TensorEntry
from ttchat_tui.engine.cpu.checkpoints.gguf_tensors import (
    holds_int4,
    holds_int8,
    read_int4,
    read_raw,
    read_tensor,
    release,
)
from ttchat_tui.engine.cpu.weights.int4_blocks import Int4Blocks
from ttchat_tui.engine.text.template import TemplateData
from ttchat_tui.engine.text.tokenizer_gguf import template_from_gguf

_TOP: Final = {"token_embd.weight": "embed", "output_norm.weight": "norm", "output.weight": "head"}
_LAYER: Final = {
    "attn_norm.weight": "attn_norm",
    "attn_q.weight": "q",
    "attn_k.weight": "k",
    "attn_v.weight": "v",
    "attn_output.weight": "o",
    "attn_q.bias": "q_bias",
    "attn_k.bias": "k_bias",
    "attn_v.bias": "v_bias",
    "attn_output.bias": "o_bias",
    "attn_q_norm.weight": "q_norm",
    "attn_k_norm.weight": "k_norm",
    "ffn_norm.weight": "ffn_norm",
    "ffn_gate.weight": "gate",
    "ffn_up.weight": "up",
    "ffn_down.weight": "down",
}
_IGNORED: Final = frozenset({"rope_freqs.weight"})
_SAMPLING: Final = {
    "general.sampling.temp": "temperature",
    "general.sampling.top_k": "top_k",
    "general.sampling.top_p": "top_p",
    "general.sampling.min_p": "min_p",
    "general.sampling.penalty_repeat": "repetition_penalty",
}
"""llama.cpp's key → transformers' name."""


class GgufFile:
    """A `Checkpoint`. llama.cpp writes SmolLM2, Llama and Mistral as architecture `llama`."""

    def __init__(self, path: Path) -> None:
        """
        Raises:
            ModelLoadError: the file is unreadable, or its architecture is not supported.
        """
        self._file = GgufContainer(path)
        self.metadata: Mapping[str, Any] = self._file.metadata
        self._entries = {canonical_name(name): name for name in self._file.tensors if name not in _IGNORED}
        self.config = self._read_config()

    @property
    def names(self) -> Collection[str]:
        return self._entries.keys()

    @property
    def rope_factors(self) -> NDArray[np.float32] | None:
        entry = self._file.tensors.get("rope_freqs.weight")
        return None if entry is None else read_tensor(self._file.data, entry)

    @property
    def generation_config(self) -> Mapping[str, Any]:
        return {name: self.metadata[key] for key, name in _SAMPLING.items() if key in self.metadata}

    @property
    def template(self) -> TemplateData:
        return template_from_gguf(self.metadata)

    @property
    def stored_bits(self) -> Literal[4, 8, 16]:
        matrices = [entry for entry in self._file.tensors.values() if len(entry.shape) > 1]
        if any(holds_int4(entry) for entry in matrices):
            return 4
        return 8 if all(holds_int8(entry) for entry in matrices) else 16

    def tensor(self, name: str) -> NDArray[np.float32]:
        weight = read_tensor(self._file.data, self._entry(name))
        heads = self._permuted_heads(name)
        return half_split_rows(weight, heads) if heads else weight

    def int4_blocks(self, name: str) -> Int4Blocks | None:
        blocks = read_int4(self._file.data, self._entry(name))
        heads = self._permuted_heads(name)
        if blocks is None or not heads:
            return blocks
        return blocks.map_rows(partial(half_split_rows, heads=heads))

    def raw(self, name: str) -> RawTensor:
        return read_raw(self._file.data, self._entry(name), self._permuted_heads(name))

    def release(self, name: str) -> None:
        release(self._file.data, self._entry(name))

    def close(self) -> None:
        with contextlib.suppress(BufferError):  # A raw tensor is in use. The map closes with it.
            self._file.data.close()

    def _permuted_heads(self, name: str) -> int:
        """The number of heads in which llama.cpp's converter permuted the rows of this weight; 0 if it did not."""
        part = name.rpartition(".")[2]
        if self._arch != "llama" or part not in ("q", "k", "q_bias", "k_bias"):
            return 0
        return self.config.heads if part[0] == "q" else self.config.kv_heads

    def _entry(self, name: str) -> TensorEntry:
        if name not in self._entries:
            raise ModelLoadError(f"The model file has no tensor {name!r}.", "Download the file again.")
        return self._file.tensors[self._entries[name]]

    @property
    def _arch(self) -> str:
        return str(self.metadata.get("general.architecture", ""))

    def _read_config(self) -> ModelConfig:
        if self._arch not in FAMILIES:
            raise ModelLoadError(
                f"GGUF files of architecture {self._arch!r} are not supported; llama, qwen2 and qwen3 are.",
                "Use the model's safetensors folder instead: it runs through transformers.",
            )
        heads, hidden = self._number("attention.head_count"), self._number("embedding_length")
        if self._number("expert_count", 0):
            raise ModelLoadError(
                "Mixture-of-experts GGUF files are not supported.",
                "Use the model's safetensors folder instead: it runs through transformers.",
            )
        return ModelConfig(
            family=cast(Family, self._arch),
            hidden_size=hidden,
            ffn_size=self._number("feed_forward_length"),
            layers=self._number("block_count"),
            heads=heads,
            kv_heads=self._number("attention.head_count_kv", heads),
            head_size=self._number("attention.key_length", hidden // heads),
            vocab_size=self._entry("embed").shape[0],
            context_length=self._number("context_length"),
            norm_eps=self._number("attention.layer_norm_rms_epsilon"),
            rope_theta=self._number("rope.freq_base", 10_000.0),
            rope_scaling=self._rope_scaling(),
            is_head_tied="head" not in self._entries,
            sliding_window=self._number("attention.sliding_window", 0),
        )

    def _rope_scaling(self) -> RopeScaling | None:
        kind = self.metadata.get(f"{self._arch}.rope.scaling.type", "none")
        factor = self._number("rope.scaling.factor", 1.0)
        if kind in ("none", "") or factor == 1.0:
            return None
        if kind != "linear":
            raise ModelLoadError(
                f"Rope scaling {kind!r} is not supported in GGUF files.",
                "Use the model's safetensors folder instead: it runs through transformers.",
            )
        return RopeScaling(kind="linear", factor=factor)

    def _number(self, key: str, default: float | None = None) -> Any:
        value = self.metadata.get(f"{self._arch}.{key}", default)
        if not isinstance(value, (int, float)):
            raise ModelLoadError(
                f"{self._arch}.{key} is missing in the file's metadata, or is not a number.",
                "Download the file again, or choose another file of the model.",
            )
        return value


def canonical_name(name: str) -> str:
    """llama.cpp's tensor name → the canonical name; unknown names are unchanged."""
    if name in _TOP:
        return _TOP[name]
    match = re.fullmatch(r"blk\.(\d+)\.(.+)", name)
    if match is None or match[2] not in _LAYER:
        return name
    return f"layers.{match[1]}.{_LAYER[match[2]]}"


def half_split_rows(weight: NDArray[Any], heads: int) -> NDArray[Any]:
    """Undo `LlamaModel.permute` of llama.cpp's converter: rotary pairs (2i, 2i+1) → (i, i + head_size / 2)."""
    rest = weight.shape[1:]
    return weight.reshape(heads, -1, 2, *rest).swapaxes(1, 2).reshape(weight.shape)
