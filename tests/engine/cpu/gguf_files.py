"""GGUF files of tiny models, written as llama.cpp's converter writes them from a folder of safetensors."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import gguf
import numpy as np
from numpy.typing import NDArray

from ttchat_tui.engine.cpu.checkpoints.checkpoint import ModelConfig
from ttchat_tui.engine.cpu.checkpoints.safetensors_file import SafetensorsFolder

_NAMES = {"embed": "token_embd", "norm": "output_norm", "head": "output", "o": "attn_output", "gate": "ffn_gate",
          "up": "ffn_up", "down": "ffn_down", "q": "attn_q", "k": "attn_k", "v": "attn_v", "attn_norm": "attn_norm",
          "ffn_norm": "ffn_norm", "q_norm": "attn_q_norm", "k_norm": "attn_k_norm"}  # fmt: skip
_ARCHITECTURES = {"llama": "llama", "mistral": "llama", "qwen2": "qwen2", "qwen3": "qwen3"}


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
    checkpoint = SafetensorsFolder(folder)
    config = checkpoint.config
    architecture = _ARCHITECTURES[config.family]
    writer = gguf.GGUFWriter(path, architecture)
    _write_config(writer, config)
    writer.add_token_list(["a", "b"])
    for key, value in fields.items():
        name = key.replace("__", ".")
        if isinstance(value, str):
            writer.add_string(name, value)
        else:
            writer.add_float32(name, value)
    for name in checkpoint.names:
        *layer, part = name.split(".")
        weight = checkpoint.tensor(name)
        if architecture == "llama" and part in ("q", "k", "q_bias", "k_bias"):
            weight = permuted(weight, config.heads if part[0] == "q" else config.kv_heads)
        base, bias, _ = part.partition("_bias")
        full = f"{_NAMES[base]}.{'bias' if bias else 'weight'}"
        place = f"blk.{layer[1]}.{full}" if layer else full
        if matrices is not None and weight.ndim == 2:
            writer.add_tensor(place, gguf.quants.quantize(weight, matrices), raw_dtype=matrices)
        else:
            writer.add_tensor(place, weight)
    if config.rope_scaling is not None and config.rope_scaling.kind == "llama3":
        writer.add_tensor("rope_freqs.weight", llama3_factors(config))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _write_config(writer: gguf.GGUFWriter, config: ModelConfig) -> None:
    writer.add_block_count(config.layers)
    writer.add_context_length(config.context_length)
    writer.add_embedding_length(config.hidden_size)
    writer.add_feed_forward_length(config.ffn_size)
    writer.add_head_count(config.heads)
    writer.add_head_count_kv(config.kv_heads)
    writer.add_key_length(config.head_size)
    writer.add_value_length(config.head_size)
    writer.add_layer_norm_rms_eps(config.norm_eps)
    writer.add_rope_freq_base(config.rope_theta)
    if config.sliding_window:
        writer.add_sliding_window(config.sliding_window)
    if config.rope_scaling is not None and config.rope_scaling.kind == "linear":
        writer.add_rope_scaling_type(gguf.RopeScalingType.LINEAR)
        writer.add_rope_scaling_factor(config.rope_scaling.factor)


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
