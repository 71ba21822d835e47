"""GGUF files as they are published load: hyperparameters and general fields that the converters of llama.cpp write for each family,
beside those that our tests' files have, and those that quantising, splitting and uploading add."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.engine.cpu.gguf_files import write_gguf
from tests.engine.cpu.raw_gguf import TensorToWrite, ValueOfType, gguf_bytes
from tests.engine.cpu.tiny_models import DESCRIBED, described
from ttchat_tui.engine.cpu.checkpoints.checkpoint import ModelConfig
from ttchat_tui.engine.cpu.checkpoints.gguf_container import GgufContainer
from ttchat_tui.engine.cpu.checkpoints.gguf_file import GgufFile

Fields = dict[str, Any]
GENERAL: Fields = {
    "general.type": "model", "general.name": "A Model", "general.author": "x", "general.version": "v1", "general.basename": "A",
    "general.finetune": "Instruct", "general.size_label": "1B", "general.license": "apache-2.0",
    "general.license.link": "https://example.com", "general.tags": ["chat", "text-generation"], "general.languages": ["en", "de"],
    "general.base_model.count": 1, "general.base_model.0.name": "A", "general.base_model.0.organization": "B",
    "general.base_model.0.repo_url": "https://example.com", "general.dataset.count": 1, "general.dataset.0.name": "d",
    "general.quantized_by": "someone", "general.repo_url": "https://example.com", "general.file_type": 15,
    "general.quantization_version": 2, "general.sampling.temp": 0.7, "general.sampling.top_k": ValueOfType(5, 20),
    "general.sampling.top_p": 0.8, "quantize.imatrix.file": "imatrix.dat", "quantize.imatrix.dataset": "calibration.txt",
    "quantize.imatrix.entries_count": ValueOfType(5, 168), "quantize.imatrix.chunks_count": ValueOfType(5, 128),
    "split.no": ValueOfType(2, 0), "split.count": ValueOfType(2, 0), "split.tensors.count": ValueOfType(5, 0), "mradermacher.quantized_by": "x",
    "tokenizer.ggml.add_bos_token": True, "tokenizer.ggml.add_eos_token": False, "tokenizer.ggml.add_space_prefix": False,
    "tokenizer.ggml.eot_token_id": 1, "tokenizer.ggml.fim_pre_token_id": 1, "tokenizer.ggml.mask_token_id": 1,
    "tokenizer.ggml.seperator_token_id": 1, "tokenizer.chat_template.tool_use": "{{ messages }}",
}  # fmt: skip


def of_llama(config: ModelConfig) -> Fields:
    """Of Llama's converter, and of those that inherit from it."""
    return {"vocab_size": config.vocab_size, "rope.dimension_count": config.head_size}


def of_phi3(config: ModelConfig) -> Fields:
    return {
        "rope.dimension_count": config.rotary_size or config.head_size,
        "rope.scaling.original_context_length": 4096,
        "attention.sliding_window": 0,
    }


def of_granite4(config: ModelConfig) -> Fields:
    """The class of the converter is that of the hybrid models."""
    return of_llama(config) | {
        "expert_count": 0, "expert_used_count": 0, "expert_shared_feed_forward_length": config.ffn_size,
        "rope.scaling.finetuned": True, "ssm.conv_kernel": 4, "ssm.state_size": 256, "ssm.group_count": 1, "ssm.inner_size": 4096,
        "ssm.time_step_rank": 64,
    }  # fmt: skip


def of_ministral3(config: ModelConfig) -> Fields:
    return of_llama(config) | {
        "rope.scaling.type": "yarn", "rope.scaling.factor": 16.0, "rope.scaling.yarn_beta_fast": 32.0,
        "rope.scaling.yarn_beta_slow": 1.0, "rope.scaling.yarn_log_multiplier": 1.0,
        "rope.scaling.original_context_length": 16_384, "attention.temperature_scale": 0.1,
    }  # fmt: skip


def of_qwen3_moe(config: ModelConfig) -> Fields:
    return {
        "feed_forward_length": 6144,
        "rope.dimension_sections": ValueOfType(5, [0, 0, 0, 0]),
        "expert_gating_func": 1,
    }


def of_mixtral(config: ModelConfig) -> Fields:
    return of_llama(config) | {"expert_gating_func": 1, "attention.sliding_window": 0}


def of_rope_type(config: ModelConfig) -> Fields:
    """Converters of 2026 name the default."""
    return {
        "rope.scaling.type": "none",
        "rope.freq_base_swa": float(config.local_rope_theta or config.rope_theta),
    }


PUBLISHED: dict[str, Callable[[ModelConfig], Fields]] = {
    "llama-mlp-bias": of_llama, "granite": of_llama, "smollm3": of_llama, "exaone4-1.2b": of_llama, "mixtral": of_mixtral,
    "granite4": of_granite4, "ministral3": of_ministral3, "phi3": of_phi3, "phi4-mini": of_phi3, "qwen3-moe": of_qwen3_moe,
    "glm4": lambda config: {"rope.dimension_count": config.rotary_size}, "gemma": lambda _: {}, "olmo2": of_rope_type,
    "gemma2": lambda config: {"attention.sliding_window": 4096, "vocab_size": config.vocab_size}, "olmo3": lambda _: {},
    "gemma3": lambda _: {"rope.scaling.type": "linear", "rope.scaling.factor": 8.0, "rope.freq_base_swa": 10_000.0},
    "exaone4": of_llama, "qwen2-yarn": lambda _: {},
}  # fmt: skip


@pytest.mark.parametrize("name", DESCRIBED)
def test_a_file_as_it_is_published_loads(name: str, tmp_path: Path) -> None:
    path = tmp_path / "x.gguf"
    described(name).save_pretrained(tmp_path)
    write_gguf(tmp_path, path)
    plain, container = GgufFile(path), GgufContainer(path)
    architecture = container.metadata["general.architecture"]
    more = {f"{architecture}.{key}": value for key, value in PUBLISHED[name](plain.config).items()}
    typed = {
        key: ValueOfType(7, value) if key.endswith("pattern") else value
        for key, value in container.metadata.items()
    }
    tensors = {
        key: TensorToWrite(
            entry.shape, container.data[entry.offset : entry.offset + entry.size], entry.type_id
        )
        for key, entry in container.tensors.items()
    }
    counted = GENERAL | {"split.tensors.count": ValueOfType(5, len(tensors))}
    path.write_bytes(gguf_bytes({**typed, **counted, **more}, tensors))
    published = GgufFile(path)
    assert published.names == plain.names
    assert published.generation_config == {
        "temperature": pytest.approx(0.7),
        "top_k": 20,
        "top_p": pytest.approx(0.8),
    }
