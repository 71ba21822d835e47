"""A GGUF file as a `Checkpoint`: translates llama.cpp's keys and names and undoes its rotary permutation."""

# numpy's stubs give results of arithmetic, `reshape` and `view` no type at Python 3.10.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

from __future__ import annotations

import contextlib
import math
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
from ttchat_tui.engine.cpu.checkpoints.gguf_rules import (
    CURE,
    DAMAGED,
    Shape,
    check_keys,
    check_kind,
    check_tensors,
    shown,
)
from ttchat_tui.engine.cpu.checkpoints.gguf_tensors import (
    holds_int4,
    is_quantized,
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
        return 8 if all(is_quantized(entry) for entry in matrices) else 16

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
            raise ModelLoadError(f"The GGUF file has no tensor {file_name(name)}.", DAMAGED)
        return self._file.tensors[self._entries[name]]

    @property
    def _arch(self) -> str:
        return str(self.metadata.get("general.architecture", ""))

    def _read_config(self) -> ModelConfig:
        check_kind(self.metadata)
        if self._arch not in FAMILIES:
            raise ModelLoadError(
                f"GGUF files of architecture {self._arch!r} are not supported; llama, qwen2 and qwen3 are.",
                CURE,
            )
        if not self._file.tensors:
            raise ModelLoadError("The GGUF file has no weights, only metadata.", DAMAGED)
        heads, hidden = self._count("attention.head_count"), self._count("embedding_length")
        config = ModelConfig(
            family=cast(Family, self._arch),
            hidden_size=hidden,
            ffn_size=self._count("feed_forward_length"),
            layers=self._count("block_count"),
            heads=heads,
            kv_heads=self._count("attention.head_count_kv", heads),
            head_size=self._count("attention.key_length", hidden // heads),
            vocab_size=(*self._entry("embed").shape, 0)[0],
            context_length=self._count("context_length"),
            norm_eps=self._number("attention.layer_norm_rms_epsilon"),
            rope_theta=self._number("rope.freq_base", 10_000.0),
            rope_scaling=self._rope_scaling(),
            is_head_tied="head" not in self._entries,
            sliding_window=int(self._number("attention.sliding_window", 0)),
        )
        if config.heads % config.kv_heads:
            raise self._unsupported("attention.head_count_kv", config.kv_heads)
        if config.head_size % 2:
            raise self._unsupported("attention.key_length", config.head_size)
        if not config.rope_theta:
            raise self._unsupported("rope.freq_base", config.rope_theta)
        check_keys(self.metadata, self._arch)
        shape = Shape(hidden, config.ffn_size, config.layers, heads, config.kv_heads, config.head_size)
        shapes = {name: entry.shape for name, entry in self._file.tensors.items()}
        check_tensors(shapes, shape, has_head_norms=self._arch == "qwen3")
        return config

    def _rope_scaling(self) -> RopeScaling | None:
        """As `load_hparams` of llama.cpp's llama-model.cpp: linear if no type is named, and an older key for the factor."""
        kind = self.metadata.get(f"{self._arch}.rope.scaling.type", "linear")
        factor = self._number("rope.scaling.factor", self._number("rope.scale_linear", 1.0)) or 1.0
        if kind not in ("none", "linear", "yarn", "longrope"):
            raise self._unsupported("rope.scaling.type", kind)
        if kind == "none" or factor == 1.0:
            return None
        if kind != "linear":
            raise self._unsupported("rope.scaling.type", kind)
        if "rope_freqs.weight" in self._file.tensors:  # llama.cpp would apply both.
            raise self._unsupported("rope.scaling.factor", factor)
        return RopeScaling(kind="linear", factor=factor)

    def _count(self, key: str, default: int | None = None) -> int:
        """A number of things: at least one. Of an array with a value for each layer, the one that all have."""
        value = self.metadata.get(f"{self._arch}.{key}", default)
        if isinstance(value, list):
            values = cast(list[Any], value)
            if len(set(map(str, values))) != 1:
                raise self._unsupported(key, values, ", which differs between layers and")
            value = values[0]
        if value is None or isinstance(value, bool) or not isinstance(value, int):
            raise self._missing(key)
        if value < 1:
            raise self._unsupported(key, value)
        return value

    def _number(self, key: str, default: float | None = None) -> float:
        """A finite number that is not negative."""
        value = self.metadata.get(f"{self._arch}.{key}", default)
        if value is None or isinstance(value, bool) or not isinstance(value, (int, float)):
            raise self._missing(key)
        if not (math.isfinite(value) and value >= 0):
            raise self._unsupported(key, value)
        return value

    def _missing(self, key: str) -> ModelLoadError:
        return ModelLoadError(
            f"{self._arch}.{key} is missing in the file's metadata, or is not a number.", DAMAGED
        )

    def _unsupported(self, key: str, value: Any, which: str = ", which") -> ModelLoadError:
        return ModelLoadError(
            f"The GGUF file has {self._arch}.{key} = {shown(value)}{which} is not supported.", CURE
        )


def canonical_name(name: str) -> str:
    """llama.cpp's tensor name → the canonical name; unknown names are unchanged."""
    if name in _TOP:
        return _TOP[name]
    match = re.fullmatch(r"blk\.(\d+)\.(.+)", name)
    if match is None or match[2] not in _LAYER:
        return name
    return f"layers.{match[1]}.{_LAYER[match[2]]}"


def file_name(name: str) -> str:
    """The canonical name → llama.cpp's."""
    _, number, part = name.split(".") if name.startswith("layers.") else ("", "", name)
    known = {ours: theirs for theirs, ours in (_LAYER if number else _TOP).items()}
    return f"blk.{number}.{known[part]}" if number else known[part]


def half_split_rows(weight: NDArray[Any], heads: int) -> NDArray[Any]:
    """Undo `LlamaModel.permute` of llama.cpp's converter: rotary pairs (2i, 2i+1) → (i, i + head_size / 2)."""
    rest = weight.shape[1:]
    return weight.reshape(heads, -1, 2, *rest).swapaxes(1, 2).reshape(weight.shape)
