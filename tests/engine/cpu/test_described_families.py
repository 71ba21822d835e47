"""Every family that `families.py` describes gives transformers' float32 logits: prompts, steps, cut caches and batches, from
files of both kinds, by torch and by the compiled kernel."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import gguf
import msgspec
import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.engine.cpu.gguf_files import write_gguf
from tests.engine.cpu.native_kernel import PROCESSORS, kernel
from tests.engine.cpu.test_families import go_on, stepper_of
from tests.engine.cpu.test_native_step import stepper_of_8_bits
from tests.engine.cpu.tiny_models import DESCRIBED, VOCAB, build, described, save
from tests.late_transformers import from_transformers
from ttchat_tui.domain.model_spec import CpuOptions, ModelSpec
from ttchat_tui.engine.cpu.checkpoints.checkpoint import TEXT_ONLY, ModelConfig, Routing
from ttchat_tui.engine.cpu.checkpoints.safetensors_file import SafetensorsFolder
from ttchat_tui.engine.cpu.families import FAMILIES
from ttchat_tui.engine.cpu.loading import load_model
from ttchat_tui.engine.cpu.stepper import CachedStepper
from ttchat_tui.engine.cpu.weights.memory import needed_bytes
from ttchat_tui.engine.cpu.weights.precision import WeightPlan

pytestmark = pytest.mark.usefixtures("one_thread")

LENGTH, COMMON = 70, 20
TOLERANCE, NATIVE_TOLERANCE = 1e-4, 1e-2
"""The kernel has keys and values in float16. Logits spread by 1."""


def drawn() -> list[list[int]]:
    """Two conversations with a common beginning."""
    ids = torch.randint(0, VOCAB, (2, LENGTH), generator=torch.Generator().manual_seed(3))
    ids[1, :COMMON] = ids[0, :COMMON]
    return ids.tolist()


def reference(model: Any, ids: list[list[int]]) -> Any:
    """transformers' logits at each position of each conversation."""
    with torch.inference_mode():
        return model(torch.tensor(ids), use_cache=False).logits.numpy()


def written(name: str, folder: Path) -> tuple[Any, Path]:
    """A model, saved in `folder`, and its GGUF file."""
    model = described(name)
    model.save_pretrained(folder)
    write_gguf(folder, folder / "x.gguf", gguf.GGMLQuantizationType.Q8_0)
    return model, folder / "x.gguf"


def check(stepper: CachedStepper, ids: list[list[int]], expected: Any, tolerance: float) -> None:
    def agree(got: Any, wanted: Any) -> None:
        np.testing.assert_allclose(got, wanted, atol=tolerance, rtol=0)

    agree(stepper.prefill(ids[0][:60], go_on), expected[0, 59])
    steps = [stepper.step(token_id).copy() for token_id in ids[0][60:64]]
    agree(steps, expected[0, 60:64])
    stepper.crop(60)
    together = stepper.step_many(ids[0][60:64])
    agree(together, steps)
    assert tolerance == TOLERANCE or np.array_equal(together, steps)
    # Back to the common beginning, and on with the other conversation, in a batch at last.
    agree(stepper.prefill(ids[1][:50], go_on), expected[1, 49])
    stepper.fork(2)
    rows = stepper.step_rows([5, ids[1][50]]).copy()
    stepper.join()
    agree(rows[1], expected[1, 50])
    assert tolerance == TOLERANCE or np.array_equal(rows[1], stepper.step(ids[1][50]))


@pytest.mark.parametrize("name", DESCRIBED)
def test_a_described_family_gives_the_logits_of_transformers(name: str, tmp_path: Path) -> None:
    model, file = written(name, tmp_path)
    ids = drawn()
    expected = reference(model, ids)
    assert np.abs(expected).max() > 2.0  # Logits near zero would agree with anything.
    check(stepper_of(tmp_path, chunk=37), ids, expected, TOLERANCE)
    check(stepper_of(file, chunk=37), ids, expected, TOLERANCE)
    for processor in PROCESSORS:
        check(stepper_of_8_bits(file, kernel(processor)), ids, expected, NATIVE_TOLERANCE)


def test_a_conversation_that_crosses_the_original_context_of_longrope_is_computed_anew(
    tmp_path: Path,
) -> None:
    model, _ = written("phi4-mini", tmp_path)
    stepper, (ids, _) = stepper_of(tmp_path), drawn()

    def agree(got: Any, length: int) -> None:
        np.testing.assert_allclose(got, reference(model, [ids[:length]])[0, -1], atol=TOLERANCE, rtol=0)

    agree(stepper.prefill(ids[:31], go_on), 31)
    agree(stepper.step(ids[31]), 32)
    agree(stepper.step(ids[32]), 33)
    stepper.crop(30)  # Drafts that were refused.
    drafts = stepper.step_many(ids[30:34])
    for row in range(4):
        agree(drafts[row], 31 + row)
    assert stepper.cached_prefix(ids[:20]) == 0
    agree(stepper.prefill(ids[:20], go_on), 20)
    assert stepper.cached_prefix(ids[:32]) == 20
    agree(stepper.prefill(ids[:40], go_on), 40)


@pytest.mark.parametrize("kept", ["q_proj", "k_proj", "up_proj", "gate_proj"])
def test_a_bias_that_only_one_of_the_weights_in_a_fused_matrix_has(kept: str, tmp_path: Path) -> None:
    model = described("llama-mlp-bias")
    lacking = {
        name for name, weight in model.named_parameters()
        if name.endswith("bias") and f".{kept}." not in name and weight.data.zero_() is not None
    }  # fmt: skip
    save(model, tmp_path)
    weights = load_file(tmp_path / "model.safetensors")
    save_file(
        {name: weight for name, weight in weights.items() if name not in lacking},
        tmp_path / "model.safetensors",
        {"format": "pt"},
    )
    write_gguf(tmp_path, tmp_path / "x.gguf", gguf.GGMLQuantizationType.Q8_0)
    ids = drawn()
    expected = reference(model, ids)
    check(stepper_of(tmp_path), ids, expected, TOLERANCE)
    check(stepper_of_8_bits(tmp_path / "x.gguf", kernel()), ids, expected, NATIVE_TOLERANCE)


def test_the_text_part_of_a_model_that_sees_images_is_the_model_for_text(tmp_path: Path) -> None:
    described("gemma3").save_pretrained(tmp_path)
    alone = SafetensorsFolder(tmp_path)
    raw = json.loads((tmp_path / "config.json").read_text())
    for name in ("query_pre_attn_scalar", "rms_norm_eps"):
        del raw[name]
    weights = load_file(tmp_path / "model.safetensors")
    for prefix in ("language_model.model.", "model.language_model.", ""):
        seeing = {key.replace("model.", prefix, 1): weight for key, weight in weights.items()}
        save_file(
            {**seeing, "vision_tower.layers_norm.weight": torch.ones(2)}, tmp_path / "model.safetensors"
        )
        (tmp_path / "config.json").write_text(json.dumps({"model_type": "gemma3", "text_config": raw}))
        part = SafetensorsFolder(tmp_path)
        assert (part.unread, part.notes) == ("", (TEXT_ONLY,))
        assert msgspec.structs.replace(alone.config, attention_scale=1 / 16, norm_eps=1e-6) == part.config
        assert all(np.array_equal(part.tensor(name), alone.tensor(name)) for name in alone.names)
    assert (alone.config.attention_scale, alone.notes) == (1 / 4, ())


def test_a_folder_with_a_tensor_that_no_description_has_runs_through_transformers(tmp_path: Path) -> None:
    save(build("llama"), tmp_path)
    weights = load_file(tmp_path / "model.safetensors")
    save_file(
        {**weights, "model.layers.0.self_attn.sinks": torch.ones(6)},
        tmp_path / "model.safetensors",
        {"format": "pt"},
    )
    assert SafetensorsFolder(tmp_path).unread == "model.layers.0.self_attn.sinks"
    spec = ModelSpec(name="tiny", path=str(tmp_path), options=CpuOptions(threads=1))
    loaded = load_model(spec, lambda _progress: None)
    assert loaded.label == "cpu transformers fp32"
    assert any("layers.0.self_attn.sinks" in note for note in loaded.notes)


def test_experts_count_as_weights_and_are_converted_one_by_one() -> None:
    config = ModelConfig(
        family="qwen3_moe", hidden_size=2048, ffn_size=6144, layers=48, heads=32, kv_heads=4, head_size=128,
        vocab_size=151_936, context_length=40_960, norm_eps=1e-6, rope_theta=1e6,
        routing=Routing(experts=128, used=8, ffn_size=768, is_normed=True),
    )  # fmt: skip
    assert config.parameters() == pytest.approx(30.5e9, rel=0.01)  # Qwen3-30B-A3B.
    plan = WeightPlan(format="int4", is_native=True)
    assert needed_bytes(config, plan) < 24e9


_READ = frozenset(
    [
        "attention_multiplier",
        "attn_logit_softcapping",
        "embedding_multiplier",
        "final_logit_softcapping",
        "head_dim",
        "hidden_act",
        "hidden_activation",
        "hidden_size",
        "intermediate_size",
        "layer_types",
        "logits_scaling",
        "max_position_embeddings",
        "max_window_layers",
        "moe_intermediate_size",
        "no_rope_layer_interval",
        "no_rope_layers",
        "norm_topk_prob",
        "num_attention_heads",
        "num_experts",
        "num_experts_per_tok",
        "num_hidden_layers",
        "num_key_value_heads",
        "num_local_experts",
        "original_max_position_embeddings",
        "position_embedding_type",
        "query_pre_attn_scalar",
        "residual_multiplier",
        "rms_norm_eps",
        "rope_parameters",
        "shared_intermediate_size",
        "sliding_window",
        "sliding_window_pattern",
        "tie_word_embeddings",
        "use_bidirectional_attention",
        "use_sliding_window",
        "vocab_size",
    ]
)
_BY_TENSORS = frozenset({"attention_bias", "mlp_bias", "decoder_sparse_step", "mlp_only_layers"})
"""What they say shows in the weights that a layer has."""
_WITHOUT_EFFECT = frozenset(
    [
        "attention_dropout",
        "bos_token_id",
        "embd_pdrop",
        "eos_token_id",
        "initializer_range",
        "output_router_logits",
        "pad_token_id",
        "pretraining_tp",
        "resid_pdrop",
        "router_aux_loss_coef",
        "router_jitter_noise",
        "use_cache",
        "time_step_limit",
    ]
)
"""Of training, of the tokenizer, of how numbers are added, and of layers that the dense models do not have."""


def test_every_field_of_the_families_configurations_is_read_or_changes_nothing() -> None:
    """A field that transformers adds fails here, until `hf_config.py` reads it or it is known to change nothing."""
    mapping = from_transformers("CONFIG_MAPPING")
    common = {field.name for field in dataclasses.fields(from_transformers("PreTrainedConfig"))}
    for family in FAMILIES.values():
        for model_type in family.model_types:
            fields = {field.name for field in dataclasses.fields(mapping[model_type])} - common
            unknown = {field for field in fields if not field.startswith("mamba_")}
            assert unknown <= _READ | _BY_TENSORS | _WITHOUT_EFFECT, model_type
