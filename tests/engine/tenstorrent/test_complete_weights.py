"""A checkpoint without some of its weights is refused, where transformers would fill them with random numbers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file, save_file

from ttchat_tui.engine.base import ModelLoadError
from ttchat_tui.engine.tenstorrent.complete_weights import refuse_missing_weights

transformers: Any = pytest.importorskip("transformers")


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny Llama whose head is its embedding, so that the file has none."""
    folder = tmp_path_factory.mktemp("whole")
    config = transformers.LlamaConfig(
        hidden_size=32, intermediate_size=32, num_hidden_layers=2, num_attention_heads=2, vocab_size=64,
        tie_word_embeddings=True,
    )  # fmt: skip
    transformers.LlamaForCausalLM(config).save_pretrained(folder)
    return folder


def without(whole: Path, folder: Path, *endings: str) -> Path:
    for name in ("config.json", "generation_config.json"):
        (folder / name).write_bytes((whole / name).read_bytes())
    tensors = load_file(whole / "model.safetensors")
    kept = {name: each for name, each in tensors.items() if not name.endswith(endings)}
    save_file(kept, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


def test_a_whole_checkpoint_loads_as_ever(whole: Path) -> None:
    with refuse_missing_weights():
        model = transformers.AutoModelForCausalLM.from_pretrained(whole)
        again, info = transformers.LlamaForCausalLM.from_pretrained(whole, output_loading_info=True)
    assert type(model) is type(again) is transformers.LlamaForCausalLM
    assert not info["missing_keys"]


def test_missing_weights_are_named(whole: Path, tmp_path: Path) -> None:
    folder = without(whole, tmp_path, "1.mlp.down_proj.weight", "1.input_layernorm.weight")
    with refuse_missing_weights(), pytest.raises(ModelLoadError) as caught:
        transformers.AutoModelForCausalLM.from_pretrained(folder)
    assert str(caught.value) == f"{folder} has no weights model.layers.1.input_layernorm.weight and 1 more."
    # Elsewhere transformers does what it does.
    assert transformers.AutoModelForCausalLM.from_pretrained(folder) is not None
