"""GGUF files of tiny models, written as llama.cpp's converter writes them from a folder of safetensors."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import gguf
import numpy as np
from numpy.typing import NDArray

from tests.engine.cpu.raw_gguf import TensorToWrite, gguf_bytes
from ttchat_tui.engine.cpu.checkpoints.checkpoint import ModelConfig
from ttchat_tui.engine.cpu.checkpoints.safetensors_file import SafetensorsFolder
from ttchat_tui.engine.cpu.families import FAMILIES

_NAMES = {"embed": "token_embd", "norm": "output_norm", "head": "output", "o": "attn_output", "gate": "ffn_gate",
          "up": "ffn_up", "down": "ffn_down", "q": "attn_q", "k": "attn_k", "v": "attn_v", "attn_norm": "attn_norm",
          "ffn_norm": "ffn_norm", "q_norm": "attn_q_norm", "k_norm": "attn_k_norm", "qkv": "attn_qkv",
          "attn_post_norm": "post_attention_norm", "ffn_post_norm": "post_ffw_norm",
          "router": "ffn_gate_inp"}  # fmt: skip
_JOINED = {"phi3": {"attn_qkv": ("attn_q", "attn_k", "attn_v"), "ffn_up": ("ffn_gate", "ffn_up")},
           "glm4": {"ffn_up": ("ffn_gate", "ffn_up")}}  # fmt: skip
"""By architecture: tensors of which the converter writes one."""


def permuted(weight: NDArray[Any], heads: int) -> NDArray[Any]:
    """`LlamaModel.permute` of llama.cpp's converter, as it is written there."""
    return (
        weight.reshape(heads, 2, weight.shape[0] // heads // 2, *weight.shape[1:])
        .swapaxes(1, 2)
        .reshape(weight.shape)
    )


def write_gguf(
    folder: Path, path: Path, matrices: gguf.GGMLQuantizationType | None = None, **fields: Any
) -> None:
    """A tiny model in float32, its matrices in another type if one is named; `fields` are further numbers or strings, with `__` for the dots of their keys."""
    metadata, tensors = gguf_parts(folder, matrices)
    metadata |= {
        key.replace("__", "."): value if isinstance(value, str) else float(value)
        for key, value in fields.items()
    }
    path.write_bytes(gguf_bytes(metadata, tensors))


def gguf_parts(
    folder: Path, matrices: gguf.GGMLQuantizationType | None = None
) -> tuple[dict[str, Any], dict[str, TensorToWrite]]:
    """Metadata and tensors of `write_gguf`."""
    checkpoint = SafetensorsFolder(folder)
    config = checkpoint.config
    metadata = {"general.architecture": _architecture(config), **_hyperparameters(config)}
    metadata["tokenizer.ggml.tokens"] = ["a", "b"]
    return metadata, {
        name: _stored(weight, None if "ffn_gate_inp" in name else matrices)
        for name, weight in _tensors(checkpoint).items()
    }


def _stored(weight: NDArray[np.float32], kind: gguf.GGMLQuantizationType | None) -> TensorToWrite:
    if kind is None or weight.ndim == 1:
        return TensorToWrite(weight.shape, weight.tobytes())
    return TensorToWrite(weight.shape, gguf.quants.quantize(weight, kind).tobytes(), kind)


def _tensors(checkpoint: SafetensorsFolder) -> dict[str, NDArray[np.float32]]:
    """By the converter's names."""
    config, traits = checkpoint.config, checkpoint.config.traits
    found: dict[str, NDArray[np.float32]] = {}
    experts: dict[str, list[NDArray[np.float32]]] = {}
    for name in checkpoint.names:
        *layer, part = name.split(".")
        weight = checkpoint.tensor(name)
        base, bias, _ = part.partition("_bias")
        if base in ("q", "k") and (traits.has_pairs_in_gguf or traits.has_pairs):
            heads = config.heads if base == "q" else config.kv_heads
            by_head = weight.reshape(heads, config.head_size, *weight.shape[1:])
            turning, still = np.split(by_head, [config.rotary_size or config.head_size], axis=1)
            turning = permuted(turning.reshape(-1, *weight.shape[1:]), heads).reshape(turning.shape)
            weight = np.concatenate((turning, still), axis=1).reshape(weight.shape)
        full = f"{_NAMES[base]}.{'bias' if bias else 'weight'}"
        if "experts" in layer:
            experts.setdefault(f"blk.{layer[1]}.{_NAMES[base]}_exps.weight", []).append(weight)
        else:
            found[f"blk.{layer[1]}.{full}" if layer else full] = weight
    found |= {name: np.stack(parts) for name, parts in experts.items()}
    for index in range(config.layers):
        for joined, parts in _JOINED.get(_architecture(config), {}).items():
            names = [f"blk.{index}.{part}.weight" for part in parts]
            found[f"blk.{index}.{joined}.weight"] = np.concatenate([found.pop(name) for name in names])
    return found | _rope_factors(config)


def _rope_factors(config: ModelConfig) -> dict[str, NDArray[np.float32]]:
    scaling = config.rope_scaling
    if scaling is None or scaling.kind not in ("llama3", "longrope"):
        return {}
    if scaling.kind == "llama3":
        return {"rope_freqs.weight": llama3_factors(config)}
    return {
        "rope_factors_short.weight": np.array(scaling.short_factors, np.float32),
        "rope_factors_long.weight": np.array(scaling.long_factors, np.float32),
    }


def _architecture(config: ModelConfig) -> str:
    """Mistral and Mixtral are llamas."""
    architectures = config.traits.architectures or FAMILIES[config.family.rstrip("4")].architectures
    return architectures[0] if architectures else "llama"


def _hyperparameters(config: ModelConfig) -> dict[str, Any]:
    """Whole numbers are uint32, others float32."""
    found: dict[str, Any] = {
        "block_count": config.layers,
        "context_length": config.context_length,
        "embedding_length": config.hidden_size,
        "feed_forward_length": config.ffn_size,
        "attention.head_count": config.heads,
        "attention.head_count_kv": config.kv_heads,
        "attention.key_length": config.head_size,
        "attention.value_length": config.head_size,
        "attention.layer_norm_rms_epsilon": float(config.norm_eps),
        "rope.freq_base": float(config.rope_theta),
    }
    if config.sliding_window:
        found["attention.sliding_window"] = config.sliding_window
        if config.traits.full_every:
            found["attention.sliding_window_pattern"] = list(config.sliding_layers)
    if config.local_rope_theta and config.traits.local_theta:
        found["rope.freq_base_swa"] = float(config.local_rope_theta)
    if config.rotary_size:
        found["rope.dimension_count"] = config.rotary_size
    if config.routing is not None:
        found |= {"expert_count": config.routing.experts, "expert_used_count": config.routing.used}
        if config.family == "qwen3_moe":
            found["expert_feed_forward_length"] = config.routing.ffn_size
    found |= _scales(config) | _rope_scaling(config)
    return {f"{_architecture(config)}.{key}": value for key, value in found.items()}


def _scales(config: ModelConfig) -> dict[str, float]:
    """As the converters of Granite, Gemma 2 and Ministral 3 write them."""
    found: dict[str, float] = {}
    if config.family.startswith("granite"):
        found = {
            "embedding_scale": config.embedding_scale,
            "residual_scale": config.residual_scale,
            "attention.scale": config.attention_scale,
            "logit_scale": 1.0 / config.logit_scale,
        }
    if config.score_cap:
        found["attn_logit_softcapping"] = config.score_cap
    if config.logit_cap:
        found["final_logit_softcapping"] = config.logit_cap
    if config.query_growth:
        found["attention.temperature_scale"] = config.query_growth
    return found


def _rope_scaling(config: ModelConfig) -> dict[str, Any]:
    scaling = config.rope_scaling
    if scaling is None:
        return {}
    original = {"rope.scaling.original_context_length": scaling.original_context}
    match scaling.kind:
        case "linear":
            return {"rope.scaling.type": "linear", "rope.scaling.factor": scaling.factor}
        case "yarn":
            # With a magnitude of 1, mscale and mscale_all_dim are 1.
            equal = {"rope.scaling.yarn_log_multiplier": 1.0} if scaling.magnitude == 1.0 else {}
            named = {} if equal else {"rope.scaling.yarn_attn_factor": scaling.magnitude}
            return {
                "rope.scaling.type": "yarn", "rope.scaling.factor": scaling.factor, **original, **equal, **named
            }  # fmt: skip
        case "longrope":  # The type is not written.
            return {**original, "rope.scaling.attn_factor": scaling.magnitude}
        case "llama3":
            return {}


def llama3_factors(config: ModelConfig) -> np.ndarray:
    """`LlamaModel.generate_extra_tensors` of llama.cpp's converter: the frequencies' divisors, ready-made."""
    scaling = config.rope_scaling
    assert scaling is not None
    factors: list[float] = []
    for exponent in range(0, config.head_size, 2):
        wavelength = 2 * math.pi * config.rope_theta ** (exponent / config.head_size)
        if wavelength < scaling.original_context / scaling.high_freq_factor:
            factors.append(1.0)
        elif wavelength > scaling.original_context / scaling.low_freq_factor:
            factors.append(scaling.factor)
        else:
            smooth = (scaling.original_context / wavelength - scaling.low_freq_factor) / (
                scaling.high_freq_factor - scaling.low_freq_factor
            )
            factors.append(1 / ((1 - smooth) / scaling.factor + smooth))
    return np.array(factors, dtype=np.float32)
