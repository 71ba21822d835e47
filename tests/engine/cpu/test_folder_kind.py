"""Folders that do not run here are refused for what they are, with a way on."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from tests.engine.cpu.tiny_models import build, save
from ttchat_tui.domain.events import LoadProgress
from ttchat_tui.domain.model_spec import ModelSpec
from ttchat_tui.engine.base import ModelLoadError
from ttchat_tui.engine.cpu.checkpoints.folder_kind import check_folder_kind
from ttchat_tui.engine.cpu.checkpoints.safetensors_file import SafetensorsFolder
from ttchat_tui.engine.cpu.loading import load_model


def refusal(folder: Path, raw: dict[str, Any], name: str = "org/Model-7B") -> ModelLoadError:
    (folder / "model.safetensors").touch()
    with pytest.raises(ModelLoadError) as caught:
        check_folder_kind(folder, raw, name)
    assert caught.value.info.cure
    return caught.value


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        ({"quantization_config": {"quant_method": "gptq", "bits": 4}}, "quantised by GPTQ"),
        ({"quantization_config": {"quant_method": "awq"}}, "quantised by AWQ"),
        ({"quantization_config": {"quant_method": "fp8"}}, "quantised by FP8"),
        ({"quantization_config": {"quant_method": "compressed-tensors"}}, "compressed-tensors"),
        ({"quantization_config": {"quant_method": "of tomorrow"}}, "quantised by of tomorrow"),
        ({"quantization_config": {"load_in_4bit": True}}, "quantised by bitsandbytes"),
        ({"quantization_config": {"_load_in_8bit": True, "bits": 8}}, "quantised by bitsandbytes"),
        ({"quantization": {"group_size": 64, "bits": 4}}, "MLX in 4 bits"),
        ({"quantization": {"bits": 8}, "quantization_config": {"bits": 8}}, "MLX in 8 bits"),
        ({"architectures": ["BertForMaskedLM"]}, "a BertForMaskedLM, which writes no text"),
        ({"architectures": ["Qwen3ForSequenceClassification"]}, "writes no text"),
    ],
)
def test_weights_and_heads_of_other_kinds_are_named(raw: dict[str, Any], words: str, tmp_path: Path) -> None:
    assert words in str(refusal(tmp_path, raw))


@pytest.mark.parametrize(
    "name", ["org/Model-7B-GPTQ", "Model-7B-4bit", "org/Model-7B-AWQ-Int4", "Model-7B_fp8-dynamic", "Model-7B-mlx-8bit", "Model-7B"]
)  # fmt: skip
def test_the_cure_names_a_gguf_to_look_for(name: str, tmp_path: Path) -> None:
    raw = {"quantization_config": {"quant_method": "gptq"}}
    assert "search for Model-7B-GGUF" in refusal(tmp_path, raw, name).info.cure


@pytest.mark.parametrize(
    "raw",
    [
        {},
        {"quantization_config": None},
        {"quantization_config": {}},
        {"quantization_config": {"quant_method": "mxfp4"}},
        {"quantization": {}},
        {"architectures": ["LlamaForCausalLM"]},
        {"architectures": None},
        {"architectures": "LlamaForCausalLM"},
    ],
)
def test_other_folders_pass(raw: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").touch()
    check_folder_kind(tmp_path, raw, "x")


def test_weights_in_pickles_are_not_read(tmp_path: Path) -> None:
    (tmp_path / "pytorch_model.bin").touch()
    with pytest.raises(ModelLoadError, match=r"pytorch_model\.bin, which may contain programs"):
        check_folder_kind(tmp_path, {}, "x")


@pytest.mark.parametrize(
    ("name", "kind", "words"),
    [
        ("model.layers.0.self_attn.q_proj.weight", torch.float8_e4m3fn, "FP8"),
        ("lm_head.weight", torch.float8_e5m2, "FP8"),
        ("model.layers.0.mlp.up_proj.qweight", torch.int32, "a method"),
        ("model.layers.0.mlp.up_proj.weight_packed", torch.int32, "a method"),
        ("model.layers.0.mlp.up_proj.weight", torch.int8, "a method"),
        ("model.layers.0.mlp.up_proj.weight", torch.uint8, "a method"),
        ("model.layers.0.mlp.up_proj.weight", torch.uint32, "a method"),
    ],
)
def test_quantised_weights_of_which_the_config_says_nothing_are_named_with_a_gguf_to_take(
    name: str, kind: Any, words: str, tmp_path: Path
) -> None:
    save_file({"model.norm.weight": torch.ones(2)}, tmp_path / "a.safetensors")
    save_file({name: torch.ones(2, 2).to(kind)}, tmp_path / "b.safetensors")
    with pytest.raises(ModelLoadError, match=f"quantised by {words}.*{re.escape(name)}") as caught:
        check_folder_kind(tmp_path, {}, "org/Model-7B")
    assert "Model-7B-GGUF" in caught.value.info.cure
    check_folder_kind(tmp_path, {"quantization_config": {"quant_method": "mxfp4"}}, "x")


def test_buffers_that_are_no_floats_are_no_quantised_weights(tmp_path: Path) -> None:
    buffers = {
        "h.0.attn.bias": torch.ones(2, 2, dtype=torch.uint8),
        "embeddings.position_ids": torch.ones(2, dtype=torch.int64),
    }
    save_file(buffers, tmp_path / "model.safetensors")
    check_folder_kind(tmp_path, {}, "x")


@pytest.mark.parametrize("name", ["adapter_model.safetensors", "adapter_model.bin"])
def test_an_adapter_beside_a_model_is_refused(name: str, tmp_path: Path) -> None:
    (tmp_path / name).touch()
    (tmp_path / "adapter_config.json").touch()
    assert "adapter_config.json" in str(refusal(tmp_path, {}))
    (tmp_path / "adapter_config.json").unlink()
    check_folder_kind(tmp_path, {}, "x")


@pytest.mark.parametrize(
    "name", ["config.json", "tokenizer.json", "tokenizer_config.json", "generation_config.json"]
)
def test_a_file_that_git_did_not_fetch_is_told_from_a_damaged_one(name: str, tmp_path: Path) -> None:
    save(build("llama"), tmp_path)
    (tmp_path / name).write_text("version https://git-lfs.github.com/spec/v1\noid sha256:1\nsize 1\n")
    with pytest.raises(ModelLoadError, match=f"{re.escape(name)} is a git-lfs pointer") as caught:
        load_model(ModelSpec(name="x", path=str(tmp_path), engine="cpu"), lambda _: None)
    assert "git lfs pull" in caught.value.info.cure


def test_a_tensor_in_two_files_without_an_index_is_refused(tmp_path: Path) -> None:
    save(build("llama"), tmp_path)
    (tmp_path / "model.safetensors").rename(tmp_path / "a.safetensors")
    assert SafetensorsFolder(tmp_path).config.layers == 3
    save_file({"model.norm.weight": torch.ones(96)}, tmp_path / "b.safetensors")
    with pytest.raises(
        ModelLoadError, match=r"the tensor model\.norm\.weight in several files, such as b\.safetensors"
    ):
        SafetensorsFolder(tmp_path)


@pytest.mark.parametrize("is_cut", [False, True])
def test_weights_that_are_written_while_they_are_read_make_no_model(is_cut: bool, tmp_path: Path) -> None:
    save(build("llama"), tmp_path)

    def report(progress: LoadProgress) -> None:
        if progress.detail == "chat template":
            with (tmp_path / "model.safetensors").open("r+b" if is_cut else "ab") as file:
                file.write(b"more")

    with pytest.raises(ModelLoadError, match="has changed while it was loaded"):
        load_model(ModelSpec(name="x", path=str(tmp_path), engine="cpu"), report)


def test_programs_in_a_folder_are_not_run_and_named(tmp_path: Path) -> None:
    save(build("llama"), tmp_path)
    raw = json.loads((tmp_path / "config.json").read_text())
    programs = {"AutoConfig": "configuration_own.C", "AutoModelForCausalLM": "modeling_own.M"}
    (tmp_path / "config.json").write_text(json.dumps({**raw, "model_type": "own", "auto_map": programs}))
    for name in ("configuration_own.py", "modeling_own.py"):
        (tmp_path / name).write_text(f"open({str(tmp_path / 'run')!r}, 'w')")
    with pytest.raises(ModelLoadError, match="cannot load") as caught:
        load_model(ModelSpec(name="x", path=str(tmp_path), engine="cpu"), lambda _: None)
    assert "not run" in caught.value.info.cure
    assert not (tmp_path / "run").exists()
