"""GGUF models in several files."""

from __future__ import annotations

from pathlib import Path

import gguf
import numpy as np
import pytest

from ttchat_tui.engine.base import ModelLoadError
from ttchat_tui.engine.cpu.checkpoints.gguf_container import GgufContainer
from ttchat_tui.engine.cpu.checkpoints.gguf_tensors import read_tensor

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


def test_a_part_of_a_joined_tensor_is_read_from_its_own_shard(shards: list[Path]) -> None:
    container = GgufContainer(shards[0])
    for name, weight in WEIGHTS.items():
        part = container.tensors[name].part(1, 1)
        np.testing.assert_array_equal(read_tensor(container.data, part), weight[1:])


def test_shards_whose_names_were_exchanged_are_refused(shards: list[Path]) -> None:
    shards[1].rename(shards[1].with_suffix(".x"))
    shards[2].rename(shards[1])
    shards[1].with_suffix(".x").rename(shards[2])
    with pytest.raises(ModelLoadError, match="another part of the model than its name says"):
        GgufContainer(shards[0])


def test_a_missing_shard_is_named(shards: list[Path]) -> None:
    shards[1].unlink()
    with pytest.raises(ModelLoadError, match=shards[1].name):
        GgufContainer(shards[0])


def test_a_shard_under_another_name_is_no_whole_model(shards: list[Path]) -> None:
    renamed = shards[0].rename(shards[0].with_name("model.gguf"))
    with pytest.raises(ModelLoadError, match="one of 3 files"):
        GgufContainer(renamed)
