"""GGUF models in several files, and folders that are quantised for other machines."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest

from ttchat_tui.engine.base import ModelLoadError
from ttchat_tui.engine.cpu.checkpoints.gguf_container import GgufContainer
from ttchat_tui.engine.cpu.checkpoints.gguf_tensors import read_tensor
from ttchat_tui.engine.cpu.checkpoints.quantized_folder import refuse_quantized

WEIGHTS = {f"blk.{n}.attn_q.weight": np.full((2, 32), n, np.float32) for n in range(5)}


@pytest.fixture
def shards(tmp_path: Path) -> list[Path]:
    """Written by gguf-py's own splitter: the first file has the metadata and two tensors."""
    writer = gguf.GGUFWriter(tmp_path / "m.gguf", "llama", split_max_tensors=2)
    writer.add_block_count(5)
    for name, weight in WEIGHTS.items():
        writer.add_tensor(name, weight)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return sorted(tmp_path.glob("*.gguf"))


def test_shards_open_as_one_from_any_of_them(shards: list[Path]) -> None:
    assert len(shards) == 3
    for shard in shards:
        container = GgufContainer(shard)
        assert container.metadata["llama.block_count"] == 5
        for name, weight in WEIGHTS.items():
            np.testing.assert_array_equal(read_tensor(container.data, container.tensors[name]), weight)


def test_a_missing_shard_is_named(shards: list[Path]) -> None:
    shards[1].unlink()
    with pytest.raises(ModelLoadError, match=shards[1].name):
        GgufContainer(shards[0])


def test_a_shard_under_another_name_is_no_whole_model(shards: list[Path]) -> None:
    renamed = shards[0].rename(shards[0].with_name("model.gguf"))
    with pytest.raises(ModelLoadError, match="one of 3 files"):
        GgufContainer(renamed)


@pytest.mark.parametrize(
    ("stated", "named", "instead"),
    [
        ({"quant_method": "gptq", "bits": 4}, "GPTQ", "Qwen2.5-7B-Q4_K_M.gguf"),
        ({"quant_method": "gptq", "bits": 8}, "GPTQ", "Qwen2.5-7B-Q8_0.gguf"),
        ({"quant_method": "awq"}, "AWQ", "Q4_K_M"),
        ({"quant_method": "fp8"}, "FP8", "Q8_0"),
        ({"quant_method": "bitsandbytes", "load_in_8bit": True}, "bitsandbytes", "Q8_0"),
    ],
)
def test_a_folder_quantised_for_cards_is_refused_with_the_file_to_take(
    stated: dict[str, Any], named: str, instead: str
) -> None:
    with pytest.raises(ModelLoadError, match=named) as caught:
        refuse_quantized(Path("/models/Qwen2.5-7B-GPTQ-Int4"), {"quantization_config": stated})
    assert instead in caught.value.info.cure


@pytest.mark.parametrize("stated", [None, {}, {"quant_method": "mxfp4"}, "4"])
def test_other_folders_pass(stated: Any) -> None:
    refuse_quantized(Path("/models/x"), {"quantization_config": stated})
