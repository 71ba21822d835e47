"""Folders that do not run here are refused for what they are, with a way on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ttchat_tui.engine.base import ModelLoadError
from ttchat_tui.engine.cpu.checkpoints.folder_kind import check_folder_kind


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
