"""Converted weights of one model never serve another."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ttchat_tui.engine.base import ModelLoadError
from ttchat_tui.engine.tenstorrent.weight_cache import folder_for, make, shared_caches

NAME = "Llama-3.2-1B-Instruct"
CACHE = Path("/cache")


def checkpoint(parent: Path, weights: bytes = b"weights" * 100_000, config: str = "{}") -> Path:
    """A folder as two users' fine-tunes have it: one name, one size, one time stamp."""
    folder = parent / NAME
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(config)
    (folder / "model.safetensors").write_bytes(weights)
    os.utime(folder / "model.safetensors", (1, 1))
    return folder


def test_a_model_keeps_its_folder_wherever_it_is_moved(tmp_path: Path) -> None:
    model = checkpoint(tmp_path / "one")
    before = folder_for(CACHE, NAME, model)
    assert before.parent == CACHE
    assert before.name.startswith(f"{NAME}-")
    assert folder_for(CACHE, NAME, model) == before
    (model / "README.md").write_text("Notes")
    assert folder_for(CACHE, NAME, model.rename(tmp_path / "moved")) == before


@pytest.mark.parametrize(
    "weights",
    [b"weighty" * 100_000, b"weights" * 99_999 + b"weighty", b"weighty" + b"weights" * 99_999, b"weights"],
    ids=["all", "the end", "the beginning", "the size"],
)
def test_other_weights_have_another_folder(tmp_path: Path, weights: bytes) -> None:
    one, other = checkpoint(tmp_path / "one"), checkpoint(tmp_path / "other", weights)
    assert folder_for(CACHE, NAME, one) != folder_for(CACHE, NAME, other)


def test_another_configuration_or_a_rewritten_file_has_another_folder(tmp_path: Path) -> None:
    one = checkpoint(tmp_path / "one")
    before = folder_for(CACHE, NAME, one)
    assert folder_for(CACHE, NAME, checkpoint(tmp_path / "other", config='{"rope_theta": 1}')) != before
    os.utime(one / "model.safetensors", (2, 2))
    changed = folder_for(CACHE, NAME, one)
    assert changed != before
    (one / "model.safetensors.index.json").write_text("{}")
    assert folder_for(CACHE, NAME, one) not in (before, changed)


def test_files_in_a_hub_cache_are_read_through_their_links(tmp_path: Path) -> None:
    folders: list[Path] = []
    for name in ("one", "other"):
        blob = tmp_path / f"blob-{name}"
        blob.write_bytes(name.encode() * 40_000)
        os.utime(blob, (1, 1))
        snapshot = tmp_path / name / NAME
        snapshot.mkdir(parents=True)
        (snapshot / "model.safetensors").symlink_to(blob)
        folders.append(snapshot)
    assert folder_for(CACHE, NAME, folders[0]) != folder_for(CACHE, NAME, folders[1])


def test_a_name_cannot_leave_the_cache(tmp_path: Path) -> None:
    assert folder_for(CACHE, "../a b/..", checkpoint(tmp_path)).parent == CACHE


@pytest.mark.parametrize("name", ["x" * 300, "語" * 150, "né à/b\n\x1b", "-", "$(id)"])
def test_any_name_gives_a_model_folder(tmp_path: Path, name: str) -> None:
    folder = make(folder_for(tmp_path / "cache", name, checkpoint(tmp_path)))
    (folder / "tensor_cache_bfp8").mkdir()
    assert folder.parent == tmp_path / "cache"
    assert shared_caches(tmp_path / "cache") == []


def test_a_mesh_of_several_rows_has_weights_of_its_own(tmp_path: Path) -> None:
    model = checkpoint(tmp_path)
    assert len({folder_for(CACHE, NAME, model, rows) for rows in (1, 2, 8)}) == 3


def test_a_folder_that_cannot_be_created_is_named_with_its_setting(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ModelLoadError, match=r"cannot be kept in .*file") as caught:
        make(tmp_path / "file" / "model")
    assert "TT_CACHE_PATH" in caught.value.info.cure


def test_a_checkpoint_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    model = checkpoint(tmp_path)
    (model / "model-2.safetensors").symlink_to(tmp_path / "gone")
    with pytest.raises(ModelLoadError, match=r"model-2\.safetensors"):
        folder_for(CACHE, NAME, model)


def test_caches_without_a_model_are_found_and_a_models_own_are_not(tmp_path: Path) -> None:
    assert shared_caches(tmp_path / "none") == []
    for folder in ("N150", "N300/hf_rope"):
        (tmp_path / folder / "tensor_cache_instruct_bfp8").mkdir(parents=True)
    own = folder_for(tmp_path, NAME, checkpoint(tmp_path / "models"))
    (own / "N150" / "tensor_cache_instruct_bfp8").mkdir(parents=True)
    (own / "tensor_cache_instruct_bfp8").mkdir()  # As the package keeps it: no card's name between.
    for other in ("names", "native"):
        (tmp_path / other).mkdir()
    assert shared_caches(tmp_path) == [tmp_path / "N150", tmp_path / "N300"]
