"""A folder in Hugging Face's layout (config.json, safetensors, optionally an index) as a `Checkpoint`."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
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
from ttchat_tui.engine.cpu.checkpoints.safetensors_container import SafetensorsContainer
from ttchat_tui.engine.text.json_file import read_json, read_json_if_there

_TOP: Final = {"model.embed_tokens.weight": "embed", "model.norm.weight": "norm", "lm_head.weight": "head"}
_LAYER: Final = {
    "input_layernorm.weight": "attn_norm",
    "self_attn.q_proj.weight": "q",
    "self_attn.k_proj.weight": "k",
    "self_attn.v_proj.weight": "v",
    "self_attn.o_proj.weight": "o",
    "self_attn.q_proj.bias": "q_bias",
    "self_attn.k_proj.bias": "k_bias",
    "self_attn.v_proj.bias": "v_bias",
    "self_attn.o_proj.bias": "o_bias",
    "self_attn.q_norm.weight": "q_norm",
    "self_attn.k_norm.weight": "k_norm",
    "post_attention_layernorm.weight": "ffn_norm",
    "mlp.gate_proj.weight": "gate",
    "mlp.up_proj.weight": "up",
    "mlp.down_proj.weight": "down",
}
_IGNORED: Final = re.compile(r".*\.rotary_emb\.inv_freq")


class SafetensorsFolder:
    """A `Checkpoint`."""

    def __init__(self, folder: Path) -> None:
        """
        Raises:
            ModelLoadError: the folder is unreadable or incomplete, or the model is not supported.
        """
        self._folder = folder
        raw = read_json(folder / "config.json")
        reason = why_not_own(raw)
        if reason:
            raise ModelLoadError(f"{folder} contains {reason}, which our own forward does not run.")
        self._places = _locate_tensors(folder)
        self.config = read_config(raw)
        self.rope_factors: NDArray[np.float32] | None = None
        self.generation_config: Mapping[str, Any] = read_json_if_there(folder / "generation_config.json")

    @property
    def names(self) -> Collection[str]:
        return self._places.keys()

    def tensor(self, name: str) -> NDArray[np.float32]:
        file, key = self._place(name)
        weight = file.float32(key)
        file.release(key)
        return weight

    def raw(self, name: str) -> RawTensor:
        file, key = self._place(name)
        return file.raw(key)

    def release(self, name: str) -> None:
        file, key = self._place(name)
        file.release(key)

    def _place(self, name: str) -> tuple[SafetensorsContainer, str]:
        if name not in self._places:
            raise ModelLoadError(f"{self._folder} has no tensor {name!r}.", "Download the model again.")
        return self._places[name]

    @property
    def stored_bits(self) -> Literal[4, 8, 16]:
        return 16

    def int4_blocks(self, name: str) -> None:
        """None: these folders have no 4-bit blocks."""


def why_not_own(raw: Mapping[str, Any]) -> str:
    """Why `forward/model.py` does not run this config.json, as the object of a sentence; empty if it does."""
    model_type = raw.get("model_type", "")
    if model_type not in FAMILIES:
        return f"a model of type {model_type!r}"
    if raw.get("quantization_config"):
        return "quantised safetensors"
    if raw.get("hidden_act", "silu") != "silu":
        return f"a model with the activation {raw['hidden_act']!r}"
    if raw.get("mlp_bias"):
        return "a model with biases in its feed-forward layers"
    if _rope(raw).get("partial_rotary_factor", raw.get("partial_rotary_factor", 1.0)) != 1.0:
        return "a model with partial rotary embeddings"
    if _rope_kind(raw) not in ("default", "linear", "llama3"):
        return f"a model with {_rope_kind(raw)!r} rope scaling"
    return ""


def read_config(raw: Mapping[str, Any]) -> ModelConfig:
    """config.json → `ModelConfig`.

    Raises:
        ModelLoadError: a field is missing.
    """
    try:
        heads, hidden, rope = raw["num_attention_heads"], raw["hidden_size"], _rope(raw)
        window, sliding = _sliding(raw)
        return ModelConfig(
            family=cast(Family, raw["model_type"]),
            hidden_size=hidden,
            ffn_size=raw["intermediate_size"],
            layers=raw["num_hidden_layers"],
            heads=heads,
            kv_heads=raw.get("num_key_value_heads") or heads,
            head_size=raw.get("head_dim") or hidden // heads,
            vocab_size=raw["vocab_size"],
            context_length=raw["max_position_embeddings"],
            norm_eps=raw["rms_norm_eps"],
            rope_theta=float(rope.get("rope_theta", raw.get("rope_theta", 10_000.0))),
            rope_scaling=_rope_scaling(raw),
            is_head_tied=bool(raw.get("tie_word_embeddings", False)),
            sliding_window=window,
            sliding_layers=sliding,
        )
    except KeyError as error:
        raise ModelLoadError(f"config.json has no {error}.", "Download the model again.") from error


def _rope(raw: Mapping[str, Any]) -> Mapping[str, Any]:
    """transformers 5 writes `rope_parameters`, which include theta; earlier versions `rope_scaling`."""
    return raw.get("rope_parameters") or raw.get("rope_scaling") or {}


def _rope_kind(raw: Mapping[str, Any]) -> str:
    rope = _rope(raw)
    return str(rope.get("rope_type", rope.get("type", "default")))


def _rope_scaling(raw: Mapping[str, Any]) -> RopeScaling | None:
    rope, kind = _rope(raw), _rope_kind(raw)
    if kind == "linear":
        return RopeScaling(kind="linear", factor=float(rope["factor"]))
    if kind == "llama3":
        return RopeScaling(
            kind="llama3",
            factor=float(rope["factor"]),
            low_freq_factor=float(rope["low_freq_factor"]),
            high_freq_factor=float(rope["high_freq_factor"]),
            original_context=int(rope["original_max_position_embeddings"]),
        )
    return None


def _sliding(raw: Mapping[str, Any]) -> tuple[int, tuple[bool, ...]]:
    """The window and the layers that use it (empty: all)."""
    window = raw.get("sliding_window") or 0
    if raw["model_type"] == "llama" or not raw.get("use_sliding_window", raw["model_type"] == "mistral"):
        return 0, ()
    kinds: list[str] = raw.get("layer_types") or []
    if kinds:
        return window, tuple(kind == "sliding_attention" for kind in kinds)
    first = raw.get("max_window_layers", 0) if raw["model_type"] != "mistral" else 0
    return window, tuple(layer >= first for layer in range(raw["num_hidden_layers"]))


def _locate_tensors(folder: Path) -> dict[str, tuple[SafetensorsContainer, str]]:
    """Canonical name → file and the name in it."""
    index = folder / "model.safetensors.index.json"
    if index.exists():
        weight_map: dict[str, str] = read_json(index).get("weight_map", {})
        files = {name: SafetensorsContainer(folder / name) for name in set(weight_map.values())}
        places = {key: files[name] for key, name in weight_map.items()}
    else:
        containers = [SafetensorsContainer(path) for path in sorted(folder.glob("*.safetensors"))]
        places = {key: file for file in containers for key in file.names}
    if not places:
        raise ModelLoadError(f"{folder} contains no safetensors files.", "Download the model again.")
    return {_canonical(key): (file, key) for key, file in places.items() if not _IGNORED.fullmatch(key)}


def _canonical(key: str) -> str:
    if key in _TOP:
        return _TOP[key]
    match = re.fullmatch(r"model\.layers\.(\d+)\.(.+)", key)
    return f"layers.{match[1]}.{_LAYER[match[2]]}" if match and match[2] in _LAYER else key
