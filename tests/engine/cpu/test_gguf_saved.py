"""GGUF files that llama.cpp saved from its memory, as its finetune does: they have every hyperparameter that any architecture has."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any

import pytest

from tests.engine.cpu.raw_gguf import tiny_metadata
from tests.engine.cpu.test_gguf_rules import refusal
from ttchat_tui.engine.base import ModelLoadError
from ttchat_tui.engine.cpu.checkpoints.checkpoint import ModelConfig
from ttchat_tui.engine.cpu.checkpoints.gguf_config import GgufConfig
from ttchat_tui.engine.cpu.checkpoints.gguf_rules import COMPUTED, check_keys
from ttchat_tui.engine.cpu.families import FAMILIES

SAVED: dict[str, Any] = {
    "activation.situ_beta": 1.0, "activation.situ_linear_beta": 0.0, "attention.causal": True, "attention.clamp_kqv": 0.0,
    "attention.compress_ratios": 0, "attention.compress_rope_freq_base": 0.0, "attention.decay_lora_rank": 0,
    "attention.gate_lora_rank": 0, "attention.group_norm_epsilon": 0.0, "attention.group_norm_groups": 0,
    "attention.iclr_lora_rank": 0, "attention.indexer.block_size": 0, "attention.indexer.head_count": 0,
    "attention.indexer.key_length": 0, "attention.indexer.kpool": 0, "attention.indexer.kpool_select_tail": True,
    "attention.indexer.local_blocks": 0, "attention.indexer.top_k": 0, "attention.indexer.types": 0,
    "attention.key_length": 4, "attention.key_length_mla": 0, "attention.key_length_mla_swa": 0, "attention.key_length_swa": 4,
    "attention.kv_lora_rank": 0, "attention.kv_lora_rank_swa": 0, "attention.layer_norm_epsilon": 0.0,
    "attention.max_alibi_bias": 0.0, "attention.output_group_count": 0, "attention.output_lora_rank": 0,
    "attention.output_scale": 0.0, "attention.q_lora_rank": 0, "attention.recurrent_layers": 0,
    "attention.relative_buckets_count": 0, "attention.rope_pattern": 1, "attention.scale": 0.0,
    "attention.sliding_window": 0, "attention.temperature_length": 0, "attention.temperature_scale": 0.0,
    "attention.value_length": 4, "attention.value_length_mla": 0, "attention.value_length_mla_swa": 0,
    "attention.value_length_swa": 4, "attention.value_residual_mix_lora_rank": 0, "attention.value_scale": 0.0,
    "attn_logit_softcapping": 50.0, "attn_res.block_size": 0, "convnext.block_count": 0, "convnext.embedding_length": 0,
    "decoder_block_count": 0, "decoder_start_token_id": -1, "deepstack_mapping": [-1] * 512, "dense_2_feat_in": 0,
    "dense_2_feat_out": 0, "dense_3_feat_in": 0, "dense_3_feat_out": 0, "embedding_scale": 0.0,
    "expert_chunk_feed_forward_length": 0, "expert_count": 0, "expert_feed_forward_length": 0, "expert_gating_func": 0,
    "expert_group_count": 0, "expert_group_scale": 0.05, "expert_group_used_count": 0, "expert_latent_length": 0,
    "expert_shared_count": 0, "expert_shared_feed_forward_length": 0, "expert_used_count": 0, "expert_weights_norm": False,
    "expert_weights_scale": 0.0, "experts_per_group": 0, "final_logit_softcapping": 30.0, "hash_layer_count": 0,
    "hrm.h_cycles": 0, "hrm.l_cycles": 0, "hrm.layers_per_stack": 0, "hrm.prefix_lm": False, "hyper_connection.count": 0,
    "hyper_connection.epsilon": 0.0, "hyper_connection.low_rank": 0, "hyper_connection.magnitude": 0.0,
    "hyper_connection.sinkhorn_iterations": 0, "interleave_moe_layer_step": 0, "kda.gate_lower_bound": -math.inf,
    "kda.head_dim": 0, "kda.safe_gate": False, "leading_dense_block_count": 0, "logit_scale": 0.0, "moe_every_n_layers": 0,
    "n_deepstack_layers": 0, "nextn_predict_layers": 0, "pooling_type": 0, "posnet.block_count": 0,
    "posnet.embedding_length": 0, "rescale_every_n_layers": 0, "residual_scale": 0.0, "rope.dimension_count": 4,
    "rope.dimension_count_swa": 4, "rope.dimension_sections": [0] * 4, "rope.freq_base": 5e5, "rope.freq_base_swa": 1e4,
    "rope.scaling.attn_factor": 1.0, "rope.scaling.factor": 0.0, "rope.scaling.finetuned": False,
    "rope.scaling.original_context_length": 16, "rope.scaling.type": "linear", "rope.scaling.yarn_attn_factor": 1.0,
    "rope.scaling.yarn_beta_fast": 32.0, "rope.scaling.yarn_beta_slow": 1.0, "rope.scaling.yarn_ext_factor": -1.0,
    "rope.scaling.yarn_log_multiplier": 0.0, "router_logit_softcapping": 30.0, "shortconv.l_cache": 0, "ssm.conv_kernel": 0,
    "ssm.dt_b_c_rms": False, "ssm.group_count": 0, "ssm.inner_size": 0, "ssm.state_size": 0, "ssm.time_step_rank": 0,
    "swiglu_clamp_exp": [0.0], "swiglu_clamp_shexp": [0.0], "swin_norm": False, "time_decay_extra_dim": 0,
    "time_mix_extra_dim": 0, "token_shift_count": 2, "use_parallel_residual": False, "vocab_size": 4, "wkv.head_size": 0,
}  # fmt: skip
"""What `add_kv_from_model` of llama.cpp's src/llama-model-saver.cpp writes beside `tiny_metadata`: defaults of src/llama-hparams.h."""
_WINDOWED: dict[str, Any] = {
    "attention.sliding_window": 4096, "attention.sliding_window_pattern": [1], "rope.freq_base_swa": 5e5,
}  # fmt: skip
OF_LOADER: dict[str, dict[str, Any]] = {
    "gemma2": {**_WINDOWED, "attention.scale": 0.5}, "gemma3": {"final_logit_softcapping": 0.0, "attention.scale": 0.5},
    "granite": {"logit_scale": 8.0, "rope.scaling.finetuned": True}, "exaone4": _WINDOWED,
    "qwen3moe": {"expert_count": 4, "expert_used_count": 2, "expert_feed_forward_length": 12},
    "glm4": {"rope.dimension_count": 2, "rope.dimension_count_swa": 2},
}  # fmt: skip
"""What its `load_arch_hparams` sets, or the file has."""
ARCHITECTURES = [each for family in FAMILIES.values() for each in family.architectures]


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_file_that_llama_cpp_saved_is_the_model_that_it_loaded(architecture: str) -> None:
    of_loader = OF_LOADER.get(architecture, {})
    plain = {key: value for key, value in of_loader.items() if not key.endswith("_swa")} | {
        "rope.freq_base": 5e5
    }
    configs: list[ModelConfig] = []
    for keys in (plain, {**SAVED, **of_loader}):
        fields = GgufConfig(
            tiny_metadata(architecture) | {f"{architecture}.{key}": each for key, each in keys.items()}
        )
        configs.append(
            fields.read(
                4,
                most_layers=9,
                is_head_tied=True,
                short_factors=None,
                long_factors=None,
                has_rope_factors=False,
            )
        )
        check_keys(fields.metadata, architecture, fields.computed_keys)
    assert configs[0] == configs[1]


WITHOUT_EFFECT = {
    "attention.relative_buckets_count", "rope.freq_base_swa", "rope.scaling.finetuned", "vocab_size",
}  # fmt: skip
"""With any value; the second without a window."""


@pytest.mark.parametrize("key", sorted(SAVED.keys() - COMPUTED - WITHOUT_EFFECT))
def test_another_value_than_the_one_that_llama_cpp_saves_is_refused(key: str) -> None:
    metadata = tiny_metadata() | {f"llama.{name}": each for name, each in SAVED.items()}
    with pytest.raises(ModelLoadError, match=re.escape(f"llama.{key} = 7")):
        check_keys(metadata | {f"llama.{key}": 7}, "llama")


def read(architecture: str, **fields: Any) -> ModelConfig:
    fields_of_file = GgufConfig(tiny_metadata(architecture, **fields))
    config = fields_of_file.read(
        4, most_layers=99, is_head_tied=True, short_factors=None, long_factors=None, has_rope_factors=False
    )
    check_keys(fields_of_file.metadata, architecture, fields_of_file.computed_keys)
    return config


@pytest.mark.parametrize("fields", [{}, {"attention__sliding_window": 8}])
def test_the_rope_of_layers_with_a_window_is_refused_where_it_is_another(
    fields: dict[str, Any], tmp_path: Path
) -> None:
    """Gemma 2 has windows, whether a file says it or not."""
    metadata = tiny_metadata("gemma2", **fields, rope__freq_base_swa=5_000.0)
    assert "gemma2.rope.freq_base_swa = 5000.0" in refusal(tmp_path, metadata)


@pytest.mark.parametrize(("architecture", "layers"), [("gemma2", 46), ("gemma3", 62)])
def test_the_scale_of_27b_may_be_said(architecture: str, layers: int) -> None:
    fields = {"block_count": layers, "attention__key_length": 8}
    assert read(architecture, **fields) == read(architecture, **fields, attention__scale=0.5)
    with pytest.raises(ModelLoadError, match=r"attention\.scale = 0\.25"):
        read(architecture, **fields, attention__scale=0.25)
