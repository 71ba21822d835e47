"""Names of the files of a split model."""

from __future__ import annotations

from pathlib import Path

import pytest

from ttchat_tui.domain.shards import shards_of


def test_any_shard_names_all_of_them() -> None:
    names = ["m-Q4_K_M-00001-of-00002.gguf", "m-Q4_K_M-00002-of-00002.gguf"]
    for name in names:
        assert [path.name for path in shards_of(Path("models") / name)] == names
        assert {path.parent for path in shards_of(Path("models") / name)} == {Path("models")}


@pytest.mark.parametrize(
    "name", ["m.gguf", "m-1-of-2.gguf", "m-00001-of-00002.safetensors", "m-00001-of-00000.gguf"]
)
def test_a_whole_file_is_alone(name: str) -> None:
    assert shards_of(Path(name)) == [Path(name)]
