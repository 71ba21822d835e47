"""GGUF files with a part for images run as the model for text that they contain, also in the forms of Ollama's converter."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.engine.cpu.gguf_files import gguf_parts
from tests.engine.cpu.raw_gguf import (
    TensorToWrite,
    ValueOfType,
    gguf_bytes,
    ones,
    tiny_metadata,
    tiny_tensors,
    write_raw,
)
from tests.engine.cpu.test_described_families import TOLERANCE, check, drawn, reference
from tests.engine.cpu.test_families import stepper_of
from tests.engine.cpu.test_gguf_parts import read
from tests.engine.cpu.test_gguf_rules import opened, refusal
from tests.engine.cpu.tiny_models import described
from ttchat_tui.domain.chat import ChatMessage
from ttchat_tui.domain.model_spec import CpuOptions, ModelSpec
from ttchat_tui.engine.cpu.checkpoints.checkpoint import TEXT_ONLY
from ttchat_tui.engine.cpu.checkpoints.gguf_container import GgufContainer
from ttchat_tui.engine.cpu.checkpoints.gguf_file import GgufFile
from ttchat_tui.engine.cpu.checkpoints.gguf_text_part import text_part
from ttchat_tui.engine.cpu.loading import load_model
from ttchat_tui.engine.cpu.local_count import LocalCounter
from ttchat_tui.engine.text.template import ChatTemplate

Parts = tuple[dict[str, Any], dict[str, TensorToWrite]]
VISION: dict[str, Any] = {
    "vision.block_count": 1, "vision.embedding_length": 4, "vision.feed_forward_length": 8, "vision.image_size": 8,
    "vision.patch_size": 4, "vision.num_channels": 3, "vision.attention.head_count": 2,
    "vision.attention.layer_norm_epsilon": 1e-6, "vision.rope.freq_base": 1e4, "vision.fullatt_block_indexes": [7, 15],
    "vision.projector.scale_factor": 2, "audio.block_count": 1, "mm.tokens_per_image": 4, "mm.projector_bias": False,
    "mm.projector_hidden_act": "gelu", "image_token_index": 3, "image_token_id": 3, "image_start_token_id": 3,
    "video_end_token_id": 3, "vision_start_token_id": 3, "spatial_merge_size": 2,
}  # fmt: skip
"""Keys that Ollama's converters write, without the architecture before them."""
ENCODER = (
    "v.patch_embedding.weight", "v.patch_embedding.bias", "v.position_embedding.weight", "v.class_embd",
    "v.blk.0.attn_q.weight", "v.blk.0.attn_output.bias", "v.blk.0.layer_norm1.weight", "v.blk.0.mlp.fc1.weight",
    "v.blk.0.attn_norm.weight", "v.blk.0.ffn_gate.weight", "v.post_layernorm.weight", "v.patch_conv.weight",
    "v.merger.mlp.0.weight", "v.global.blk.0.attn_gate", "mm.mm_input_projection.weight", "mm.mm_soft_emb_norm.weight",
    "mm.linear_1.weight", "mm.patch_merger.merging_layer.weight", "mm.0.bias", "mm.a.fc.weight", "a.conv1d.1.weight",
    "a.blk.0.attn_q.weight", "resampler.query", "model.vision_tower.std_bias",
)  # fmt: skip
"""Tensors of encoders and projectors, by llama.cpp and by Ollama."""


def with_vision(metadata: dict[str, Any], tensors: dict[str, TensorToWrite]) -> Parts:
    architecture = metadata["general.architecture"]
    return (
        metadata | {f"{architecture}.{key}": value for key, value in VISION.items()},
        {**dict.fromkeys(ENCODER, ones(2, 2)), **tensors},
    )


def as_gemma3(metadata: dict[str, Any]) -> None:
    """4B to 27B."""
    for key in (
        "attention.layer_norm_rms_epsilon", "attention.sliding_window_pattern", "rope.freq_base", "rope.freq_base_swa",
        "rope.scaling.type", "rope.scaling.factor",
    ):  # fmt: skip
        del metadata[f"gemma3.{key}"]


def as_gemma3_1b(metadata: dict[str, Any]) -> None:
    metadata["gemma3.rope.global.freq_base"] = metadata.pop("gemma3.rope.freq_base")
    metadata["gemma3.rope.local.freq_base"] = metadata.pop("gemma3.rope.freq_base_swa")


def as_mistral3(metadata: dict[str, Any]) -> None:
    metadata["mistral3.rope.scaling.mscale_all_dim"] = metadata.pop(
        "mistral3.rope.scaling.yarn_log_multiplier"
    )
    metadata["mistral3.rope.scaling_beta"] = metadata.pop("mistral3.attention.temperature_scale")
    metadata |= {"mistral3.rope.scaling.beta_fast": 32.0, "mistral3.rope.scaling.beta_slow": 1.0}


def as_mistral3_without_rope(metadata: dict[str, Any]) -> None:
    """As of a config.json without `rope_parameters`."""
    metadata |= {"mistral3.rope.scaling.type": "", "mistral3.rope.scaling.factor": 0.0}
    metadata |= {"mistral3.rope.scaling.yarn_beta_fast": 0.0, "mistral3.rope.scaling.yarn_beta_slow": 0.0}


def as_qwen25vl(metadata: dict[str, Any]) -> None:
    for key in [key for key in metadata if key.startswith("qwen2.")]:
        metadata[key.replace("qwen2.", "qwen25vl.")] = metadata.pop(key)
    metadata |= {"general.architecture": "qwen25vl", "qwen25vl.rope.mrope_section": [2, 3, 3]}


GEMMA: dict[str, Any] = {
    "num_hidden_layers": 6, "layer_types": ["sliding_attention"] * 5 + ["full_attention"], "rms_norm_eps": 1e-6,
    "rope_parameters": {
        "sliding_attention": {"rope_type": "default", "rope_theta": 1e4},
        "full_attention": {"rope_type": "linear", "rope_theta": 1e6, "factor": 8.0},
    },
}  # fmt: skip
PLAIN = {"rope_type": "default", "rope_theta": 500.0}
STEADY = {"llama_4_scaling_beta": 0.0, "original_max_position_embeddings": 32}
FILES: dict[str, tuple[str, dict[str, Any], Callable[[dict[str, Any]], None]]] = {
    "gemma 3": ("gemma3", {**GEMMA, "max_position_embeddings": 131_072}, as_gemma3),
    "gemma 3 1b": ("gemma3", {}, as_gemma3_1b),
    "mistral 3 with yarn": ("ministral3", {}, as_mistral3),
    "mistral small 3.1": ("ministral3", {"rope_parameters": {**PLAIN, **STEADY}}, as_mistral3_without_rope),
    "qwen 2.5 vl": ("qwen2-yarn", {"rope_parameters": PLAIN}, as_qwen25vl),
}


@pytest.mark.parametrize("case", FILES)
def test_a_file_of_ollama_gives_the_logits_of_transformers(case: str, tmp_path: Path) -> None:
    name, shape, change = FILES[case]
    model = described(name, **shape)
    model.save_pretrained(tmp_path)
    metadata, tensors = gguf_parts(tmp_path)
    change(metadata)
    if case != "gemma 3 1b":
        metadata, tensors = with_vision(metadata, tensors)
    (tmp_path / "x.gguf").write_bytes(gguf_bytes(metadata, tensors))
    ids = drawn()
    check(stepper_of(tmp_path / "x.gguf"), ids, reference(model, ids), TOLERANCE)


@pytest.mark.parametrize("name", ENCODER)
def test_a_tensor_of_an_encoder_or_projector_is_left_out(name: str, tmp_path: Path) -> None:
    file = opened(tmp_path, tensors=tiny_tensors() | {name: ones(2, 2)})
    assert file.names == opened(tmp_path).names
    assert file.notes == (TEXT_ONLY,)


@pytest.mark.parametrize("key", VISION)
def test_a_key_of_an_encoder_or_projector_is_left_out(key: str, tmp_path: Path) -> None:
    file = opened(tmp_path, tiny_metadata() | {f"llama.{key}": VISION[key]})
    assert file.config == opened(tmp_path).config
    assert file.notes == ()


@pytest.mark.parametrize(
    "name", ["blk.0.v.weight", "blk.0.mm.weight", "value.weight", "mmx.weight", "vision.weight", "v", "output.v.weight"]
)  # fmt: skip
def test_an_unknown_tensor_of_the_text_part_is_refused_by_name(name: str, tmp_path: Path) -> None:
    metadata, tensors = with_vision(tiny_metadata(), tiny_tensors() | {name: ones(8)})
    assert f"the tensor {name}," in refusal(tmp_path, metadata, tensors)


@pytest.mark.parametrize("key", ["attention.vision", "mmproj", "visionary", "image_size", "something"])
def test_an_unknown_key_of_the_text_part_is_refused_by_name(key: str, tmp_path: Path) -> None:
    metadata, tensors = with_vision(tiny_metadata() | {f"llama.{key}": 3}, tiny_tensors())
    assert f"llama.{key} = 3" in refusal(tmp_path, metadata, tensors)


@pytest.mark.parametrize("name", list(tiny_tensors()))
def test_a_text_part_that_is_not_complete_is_refused_by_name(name: str, tmp_path: Path) -> None:
    metadata, tensors = with_vision(tiny_metadata(), tiny_tensors())
    del tensors[name]
    assert f"no tensor {name}" in refusal(tmp_path, metadata, tensors)


@pytest.mark.parametrize("architecture", ["llama", "gemma3", "mistral3", "clip"])
def test_a_file_with_a_part_for_images_alone_is_no_model(architecture: str, tmp_path: Path) -> None:
    metadata, tensors = with_vision({"general.architecture": architecture}, {})
    assert "the image or audio part of a model" in refusal(tmp_path, metadata, tensors)


@pytest.mark.parametrize(
    ("key", "usual"),
    [("gemma3.rope.local.freq_base", "rope.freq_base_swa"), ("mistral3.rope.scaling_beta", "attention.temperature_scale")],
)  # fmt: skip
def test_a_key_in_two_forms_is_refused_by_name(key: str, usual: str, tmp_path: Path) -> None:
    architecture = key.partition(".")[0]
    metadata = tiny_metadata(architecture) | {key: 7.0, f"{architecture}.{usual}": 8.0}
    assert f"{key} = 7.0" in refusal(tmp_path, metadata)


@pytest.mark.parametrize(("context", "factor"), [(32_768, None), (131_072, 8.0)])
def test_only_long_files_of_ollama_are_stretched(context: int, factor: float | None, tmp_path: Path) -> None:
    fields: dict[str, Any] = {"context_length": context, "attention__sliding_window": 8}
    metadata = tiny_metadata("gemma3", **fields, attention__layer_norm_rms_epsilon=None)
    path = write_raw(tmp_path / "x.gguf", metadata)
    found = text_part(GgufContainer(path)).metadata
    assert found.get("gemma3.rope.scaling.factor") == factor
    assert read("gemma3", **fields).rope_scaling is None  # llama.cpp's converter writes it.


def test_tokens_that_stand_for_images_have_no_id(tmp_path: Path) -> None:
    metadata, tensors = with_vision(tiny_metadata(), tiny_tensors() | {"token_embd.weight": ones(8, 8)})
    metadata["tokenizer.ggml.tokens"] = [*"abcdefg", "<|im_end|>", "<image_soft_token>"]
    metadata["tokenizer.ggml.token_type"] = ValueOfType(5, [1] * 7 + [3, 4])
    path = write_raw(tmp_path / "x.gguf", metadata, tensors)
    assert len(GgufFile(path).metadata["tokenizer.ggml.tokens"]) == 8
    assert LocalCounter(path).bias_ids({"c": 1.0}) == {2: 1.0}
    loaded = load_model(
        ModelSpec(name="x", path=str(path), options=CpuOptions(threads=1)), lambda _step: None
    )
    assert loaded.vocab_size == 8
    assert loaded.notes.count(TEXT_ONLY) == 1
    assert np.isfinite(loaded.stepper.prefill([0, 1, 2], lambda _done, _total: True)).all()


@pytest.mark.parametrize(("pre", "expected"), [("", "tekken"), ("default", "tekken"), ("qwen2", "qwen2")])
def test_how_mistral_3_splits_a_text_is_known(pre: str, expected: str, tmp_path: Path) -> None:
    metadata, tensors = with_vision(tiny_metadata("mistral3"), tiny_tensors())
    metadata["tokenizer.ggml.pre"] = pre
    assert opened(tmp_path, metadata, tensors).metadata["tokenizer.ggml.pre"] == expected


def test_a_gemma_3_of_ollama_without_a_template_has_the_turns_of_gemma(tmp_path: Path) -> None:
    metadata, tensors = with_vision(tiny_metadata("gemma3"), tiny_tensors("gemma3"))
    path = write_raw(tmp_path / "x.gguf", metadata, tensors)
    source = text_part(GgufContainer(path)).metadata["tokenizer.chat_template"]
    messages = [
        ChatMessage("system", "Be brief. "), ChatMessage("user", "Hi"), ChatMessage("assistant", "Yes?"), ChatMessage("user", " Go"),
    ]  # fmt: skip
    template = ChatTemplate(source, {"bos_token": "<bos>"}, ["<bos>", "<start_of_turn>", "<end_of_turn>"])
    assert template.render(messages) == (
        "<bos><start_of_turn>user\nBe brief.\n\nHi<end_of_turn>\n<start_of_turn>model\nYes?<end_of_turn>\n"
        "<start_of_turn>user\nGo<end_of_turn>\n<start_of_turn>model\n"
    )
    assert template.render(messages, continue_last=True).endswith("user\nGo")
    named = metadata | {"tokenizer.chat_template": "own"}
    path = write_raw(tmp_path / "y.gguf", named, tensors)
    assert text_part(GgufContainer(path)).metadata["tokenizer.chat_template"] == "own"
