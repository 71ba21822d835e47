"""Folders in Hugging Face's layout: every spelling of the same setting in config.json, and broken folders."""

from __future__ import annotations

import json
import math
import os
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.engine.cpu.tiny_models import CHATML, build, save
from ttchat_tui.engine.base import ModelLoadError
from ttchat_tui.engine.cpu.checkpoints.checkpoint import RopeScaling
from ttchat_tui.engine.cpu.checkpoints.gguf_file import GgufFile
from ttchat_tui.engine.cpu.checkpoints.hf_config import read_config, why_not_own
from ttchat_tui.engine.cpu.checkpoints.safetensors_file import SafetensorsFolder
from ttchat_tui.engine.text.tokenizer_folder import template_from_folder, tokenizer_from_folder

BASE: dict[str, Any] = {
    "model_type": "llama", "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 4,
    "num_attention_heads": 8, "vocab_size": 100, "max_position_embeddings": 2048, "rms_norm_eps": 1e-5,
}  # fmt: skip
LLAMA3 = {
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 8192,
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return save(build("llama"), tmp_path / "model")


def test_defaults_are_those_of_the_first_llamas() -> None:
    config = read_config(BASE)
    assert (config.kv_heads, config.head_size, config.rope_theta) == (8, 8, 10_000.0)
    assert not config.is_head_tied


@pytest.mark.parametrize(
    "fields",
    [
        {"rope_parameters": {"rope_type": "llama3", "rope_theta": 5e5, **LLAMA3}},
        {"rope_theta": 5e5, "rope_scaling": {"rope_type": "llama3", **LLAMA3}},
        {"rope_theta": 5e5, "rope_scaling": {"type": "llama3", **LLAMA3}},
    ],
)
def test_rope_scaling_is_read_in_every_spelling(fields: dict[str, Any]) -> None:
    config = read_config({**BASE, **fields})
    assert config.rope_theta == 5e5
    assert config.rope_scaling == RopeScaling(kind="llama3", factor=8.0, original_context=8192)


@pytest.mark.parametrize(
    ("fields", "windows"),
    [
        ({"model_type": "mistral", "sliding_window": 4096}, [4096] * 4),
        ({"model_type": "mistral", "sliding_window": None}, [0] * 4),
        ({"model_type": "qwen2", "use_sliding_window": False, "sliding_window": 4096}, [0] * 4),
        ({"model_type": "qwen2", "use_sliding_window": True, "sliding_window": 9, "max_window_layers": 3}, [0, 0, 0, 9]),
        (
            {
                "model_type": "qwen3", "use_sliding_window": True, "sliding_window": 9,
                "layer_types": ["full_attention", "sliding_attention", "full_attention", "sliding_attention"],
            },
            [0, 9, 0, 9],
        ),
    ],
)  # fmt: skip
def test_sliding_windows_are_those_of_the_family(fields: dict[str, Any], windows: list[int]) -> None:
    config = read_config({**BASE, **fields})
    assert [config.window_of(layer) for layer in range(4)] == windows


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"model_type": "gpt2"}, "'gpt2'"),
        ({"quantization_config": {"bits": 4}}, "quantised"),
        ({"hidden_act": "gelu"}, "'gelu'"),
        ({"use_bidirectional_attention": True}, "both directions"),
        ({"rope_scaling": {"rope_type": "dynamic"}}, "'dynamic'"),
        ({"rope_scaling": {"rope_type": "default", "mrope_section": [16, 24, 24]}}, "another kind"),
    ],
)
def test_what_our_forward_does_not_compute_is_left_to_transformers(
    fields: dict[str, Any], reason: str
) -> None:
    assert reason in why_not_own({**BASE, **fields})
    assert why_not_own(BASE) == ""


def test_weights_in_several_files_are_found(folder: Path) -> None:
    whole = SafetensorsFolder(folder)
    parts: dict[str, dict[str, torch.Tensor]] = {"a.safetensors": {}, "b.safetensors": {}}
    index: dict[str, str] = {}
    rounded = {name: torch.from_numpy(whole.tensor(name)).bfloat16() for name in whole.names}
    for n, name in enumerate(sorted(whole.names)):
        key = whole._parts[name].tensor  # pyright: ignore[reportPrivateUsage]
        file = sorted(parts)[n % 2]
        parts[file][key] = rounded[name]
        index[key] = file
    (folder / "model.safetensors").unlink()
    for file, tensors in parts.items():
        save_file(tensors, folder / file)
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": index}))
    split = SafetensorsFolder(folder)
    for name, weight in rounded.items():
        assert torch.equal(torch.from_numpy(split.tensor(name)), weight.float())
        raw = split.raw(name)
        assert (raw.kind, raw.shape) == ("BF16", tuple(weight.shape))
        assert raw.data.tobytes() == weight.view(torch.uint8).numpy().tobytes()


def test_a_missing_weight_is_named(folder: Path) -> None:
    with pytest.raises(ModelLoadError, match=r"model\.layers\.9\.self_attn\.q_proj\.weight"):
        SafetensorsFolder(folder).tensor("layers.9.q")


@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
def test_a_missing_or_broken_file_is_refused(folder: Path, name: str) -> None:
    (folder / name).write_bytes(b"{")
    with pytest.raises(ModelLoadError, match=name):
        SafetensorsFolder(folder)
    (folder / name).unlink()
    with pytest.raises(ModelLoadError):
        SafetensorsFolder(folder)


@pytest.mark.parametrize(
    "name",
    [
        "config.json", "generation_config.json", "model.safetensors", "model.safetensors.index.json",
        "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "chat_template.jinja", "chat_template.json",
    ],
)  # fmt: skip
@pytest.mark.parametrize("kind", ["a named pipe", "a device"])
def test_a_special_file_is_refused_and_not_read(folder: Path, name: str, kind: str) -> None:
    """Opening a pipe waits for a writer, and /dev/zero has no end."""
    (folder / name).unlink(missing_ok=True)
    if kind == "a device":
        (folder / name).symlink_to("/dev/zero")
    else:
        os.mkfifo(folder / name)
    with pytest.raises(ModelLoadError, match=f"{name} cannot be read: it is {kind}"):
        [read(folder) for read in (SafetensorsFolder, tokenizer_from_folder, template_from_folder)]


def test_a_pipe_in_place_of_a_gguf_file_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "x.gguf")
    with pytest.raises(ModelLoadError, match="it is a named pipe"):
        GgufFile(tmp_path / "x.gguf")


def test_a_file_that_was_cut_short_is_refused(folder: Path) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(ModelLoadError, match=r"model\.safetensors .*truncated"):
        SafetensorsFolder(folder)


def test_a_type_without_a_conversion_is_refused_by_name(folder: Path) -> None:
    save_file({"model.norm.weight": torch.ones(96, dtype=torch.int8)}, folder / "model.safetensors")
    checkpoint = SafetensorsFolder(folder)
    assert checkpoint.raw("norm").data.tolist() == [1] * 96
    with pytest.raises(ModelLoadError, match=r"'model\.norm\.weight' .* I8"):
        checkpoint.tensor("norm")


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("model.norm.weight", (4,)),
        ("model.embed_tokens.weight", (260, 95)),
        ("model.layers.0.self_attn.q_proj.weight", (96,)),
    ],
)
def test_a_weight_of_another_shape_than_config_gives_is_refused_by_name(
    name: str, shape: tuple[int, ...], folder: Path
) -> None:
    save_file({name: torch.ones(shape)}, folder / "model.safetensors")
    with pytest.raises(ModelLoadError, match=f"{re.escape(name)} .* config.json"):
        SafetensorsFolder(folder)


def test_a_weight_that_is_not_a_number_is_refused_by_name(folder: Path) -> None:
    save_file({"model.norm.weight": torch.full((96,), torch.nan)}, folder / "model.safetensors")
    with pytest.raises(ModelLoadError, match=r"model\.norm\.weight is infinite or not a number"):
        SafetensorsFolder(folder).tensor("norm")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("num_hidden_layers", 2**63),
        ("max_position_embeddings", 2**63),
        ("rms_norm_eps", math.nan),
        ("rms_norm_eps", -1.0),
    ],
)
def test_numbers_beyond_measure_make_no_model(field: str, value: float) -> None:
    with pytest.raises(ModelLoadError, match="makes no model"):
        read_config({**BASE, field: value})


def test_a_config_that_lacks_a_size_names_it() -> None:
    with pytest.raises(ModelLoadError, match="hidden_size"):
        read_config({key: value for key, value in BASE.items() if key != "hidden_size"})


def test_all_end_of_turn_ids_are_collected(folder: Path) -> None:
    (folder / "generation_config.json").write_text(json.dumps({"eos_token_id": [11, 12]}))
    tokenizer = tokenizer_from_folder(folder)
    # generation_config's two, config.json's and tokenizer_config's 258: <|im_end|>.
    assert tokenizer.end_ids == {11, 12, 258}


def test_special_tokens_are_read_as_text_or_as_objects(folder: Path) -> None:
    template = template_from_folder(folder)
    assert template.source == CHATML
    assert template.special == {"bos_token": "<s>", "eos_token": "<|im_end|>"}


def test_a_template_file_comes_before_the_one_in_the_config(folder: Path) -> None:
    (folder / "chat_template.jinja").write_text("from the file")
    assert template_from_folder(folder).source == "from the file"


def test_of_named_templates_the_default_is_taken(folder: Path) -> None:
    named = [{"name": "tool_use", "template": "t"}, {"name": "default", "template": "d"}]
    (folder / "tokenizer_config.json").write_text(json.dumps({"chat_template": named}))
    assert template_from_folder(folder).source == "d"


def test_a_folder_without_a_tokenizer_is_refused(folder: Path) -> None:
    (folder / "tokenizer.json").write_text("{}")
    with pytest.raises(ModelLoadError, match=r"tokenizer\.json"):
        tokenizer_from_folder(folder)
    (folder / "tokenizer.json").unlink()
    with pytest.raises(ModelLoadError, match=r"no tokenizer\.json"):
        tokenizer_from_folder(folder)


def test_an_index_that_is_left_over_beside_a_whole_file_is_not_read(folder: Path) -> None:
    names = set(SafetensorsFolder(folder).names)
    index = {"weight_map": {"model.norm.weight": "model-00001-of-00002.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    (folder / "consolidated.safetensors").write_bytes(b"of another kind")
    assert set(SafetensorsFolder(folder).names) == names


@pytest.mark.parametrize("weight_map", ["text", {"a": 1}, ["x"]])
def test_a_damaged_index_is_refused_by_name(folder: Path, weight_map: Any) -> None:
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": weight_map}))
    with pytest.raises(ModelLoadError, match=r"model\.safetensors\.index\.json is damaged"):
        SafetensorsFolder(folder)


def test_weights_of_a_model_that_was_saved_without_its_head_have_no_prefix(folder: Path) -> None:
    whole = SafetensorsFolder(folder)
    tensors = {
        key.removeprefix("model."): value for key, value in load_file(folder / "model.safetensors").items()
    }
    save_file(tensors, folder / "model.safetensors")
    bare = SafetensorsFolder(folder)
    assert (set(bare.names), bare.unread) == (set(whole.names), "")
    del tensors["lm_head.weight"]
    save_file(tensors, folder / "model.safetensors")
    with pytest.raises(ModelLoadError, match=r"no tensor lm_head\.weight"):
        SafetensorsFolder(folder).tensor("head")


@pytest.mark.parametrize(
    "name",
    [
        "model.layers.0.self_attn.sinks", "model.layers.9.mlp.up_proj.weight", "model.layers.0.post_feedforward_layernorm.weight",
        "model.layers.0.mlp.gate.weight", "model.layers.0.mlp.up_proj.scales", "lm_head.bias", "model.embed_positions.weight", "extra",
    ],
)  # fmt: skip
def test_a_tensor_that_our_forward_does_not_read_is_named(folder: Path, name: str) -> None:
    assert SafetensorsFolder(folder).unread == ""
    tensors = load_file(folder / "model.safetensors")
    save_file({**tensors, name: torch.ones(2)}, folder / "model.safetensors")
    assert SafetensorsFolder(folder).unread == name


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("num_attention_heads", 0), ("num_attention_heads", "four"), ("hidden_size", None), ("head_dim", "x"), ("rope_scaling", [1]),
        ("rope_scaling", {"rope_type": "linear", "factor": "x"}), ("layer_types", 7), ("sliding_window", "wide"), ("rope_theta", "x"),
        ("rope_scaling", {"rope_type": "llama3"}), ("num_hidden_layers", None), ("model_type", ["llama"]),
    ],
)  # fmt: skip
def test_a_config_with_a_value_of_another_kind_is_refused_in_words(key: str, value: Any) -> None:
    config = {**BASE, "use_sliding_window": True, "sliding_window": 4, "model_type": "qwen2", key: value}
    try:
        assert why_not_own(config), "transformers would say what is wrong"
    except (AssertionError, ModelLoadError):
        with pytest.raises(ModelLoadError, match=r"config\.json") as caught:
            read_config(config)
        assert caught.value.info.cure
