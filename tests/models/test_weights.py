"""Complete and incomplete models on disk."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.engine.cpu.raw_gguf import ValueOfType, gguf_bytes, tiny_metadata, tiny_tensors
from tests.models.builders import GGUF, write_folder
from tests.size import sized
from ttchat_tui.models.gguf_head import is_truncated
from ttchat_tui.models.weights import find_weights, is_incomplete, size_on_disk


def test_a_gguf_file_is_its_own_weights(tmp_path: Path) -> None:
    file = tmp_path / "model.gguf"
    file.write_bytes(GGUF)
    assert find_weights(file) == file


def test_a_folder_with_config_tokenizer_and_safetensors_is_complete(tmp_path: Path) -> None:
    assert find_weights(write_folder(tmp_path / "m")) == tmp_path / "m"


def test_a_folder_with_one_gguf_file_means_that_file(tmp_path: Path) -> None:
    (tmp_path / "only.gguf").write_bytes(GGUF)
    (tmp_path / "config.json").write_text("{}")  # GGUF repositories often carry one
    assert find_weights(tmp_path) == tmp_path / "only.gguf"


def test_a_folder_with_several_gguf_files_asks_for_one(tmp_path: Path) -> None:
    for name in ("q4.gguf", "q8.gguf"):
        (tmp_path / name).write_bytes(GGUF)
    with pytest.raises(ValueError, match=r"several .gguf files: q4.gguf, q8.gguf"):
        find_weights(tmp_path)


def test_a_model_in_shards_is_one_from_any_of_them_or_their_folder(tmp_path: Path) -> None:
    first, second = (tmp_path / f"m-0000{n}-of-00002.gguf" for n in (1, 2))
    first.write_bytes(GGUF)
    with pytest.raises(ValueError, match=r"one of 2 files, of which m-00002-of-00002\.gguf is missing"):
        find_weights(tmp_path)
    second.write_bytes(GGUF + b"more")
    assert find_weights(first) == find_weights(second) == find_weights(tmp_path) == first
    assert size_on_disk(first) == 2 * len(GGUF) + 4
    first.unlink()
    with pytest.raises(ValueError, match=r"m-00001-of-00002\.gguf is missing"):
        find_weights(second)
    with pytest.raises(ValueError, match="does not exist"):
        find_weights(tmp_path / "other-00001-of-00002.gguf")


@pytest.mark.parametrize(
    ("missing", "complaint"),
    [
        ("config.json", "neither config.json nor"),
        ("tokenizer.json", "no tokenizer"),
        ("model-00002-of-00003.safetensors", "lacks model-00002-of-00003.safetensors"),
    ],
)
def test_a_missing_file_of_a_folder_is_named(tmp_path: Path, missing: str, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        find_weights(write_folder(tmp_path, shards=3, missing=missing))


def test_a_folder_without_weights_is_no_model(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"no \.safetensors weights"):
        find_weights(write_folder(tmp_path, missing="model-00001-of-00001.safetensors"))


def test_a_broken_shard_index_is_reported(tmp_path: Path) -> None:
    folder = write_folder(tmp_path, shards=2)
    (folder / "model.safetensors.index.json").write_text("{")
    with pytest.raises(ValueError, match=r"broken model.safetensors.index.json"):
        find_weights(folder)


@pytest.mark.parametrize("name", ["x.gguf", "model-00001-of-00001.safetensors"])
def test_a_git_lfs_pointer_is_recognised(tmp_path: Path, name: str) -> None:
    folder = tmp_path if name.endswith("gguf") else write_folder(tmp_path)
    (folder / name).write_text("version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n")
    with pytest.raises(ValueError, match="git lfs pull"):
        find_weights(folder)


def test_a_file_that_is_not_gguf_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "model.gguf"
    file.write_bytes(b"<html>not found</html>")
    with pytest.raises(ValueError, match="not a GGUF file"):
        find_weights(file)


def test_a_folder_with_a_named_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "model.gguf")
    with pytest.raises(ValueError, match="is a named pipe"):
        find_weights(tmp_path)
    assert not is_truncated(tmp_path / "model.gguf")


@pytest.mark.parametrize("name", ["m.Q6_K.gguf.part1of2", "m.gguf.part2of2", "m.gguf-split-a"])
def test_a_part_of_a_file_that_was_cut_says_how_to_join_it(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(GGUF if "1" in name else b"the rest")
    with pytest.raises(ValueError, match="join the parts in order"):
        find_weights(tmp_path / name)


def test_a_missing_path_is_reported(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="does not exist"):
        find_weights(tmp_path / "gone.gguf")


def test_the_size_of_a_folder_counts_all_files_and_follows_links(tmp_path: Path) -> None:
    (tmp_path / "blob").write_bytes(b"x" * 1000)
    folder = tmp_path / "snapshot"
    folder.mkdir()
    (folder / "linked").symlink_to(tmp_path / "blob")
    (folder / "own").write_bytes(b"y" * 10)
    assert size_on_disk(folder) == 1010


def head(**general: str) -> bytes:
    """The beginning of a GGUF file with these keys and a vocabulary."""
    keys: dict[str, object] = {f"general.{name}": value for name, value in general.items()}
    keys |= {"general.tags": ["a", "b"], "general.sampling.top_k": 40, "tokenizer.ggml.tokens": ["a"]}
    return gguf_bytes(keys, {})


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({"architecture": "clip"}, "image or audio part"),
        ({"architecture": "clip", "type": "mmproj"}, "image or audio part"),
        ({"type": "adapter", "architecture": "llama"}, r"adapter \(LoRA\)"),
        ({"type": "imatrix"}, "statistics"),
        ({"type": "vocab", "architecture": "llama"}, "vocabulary without weights"),
        ({"architecture": "nomic-bert"}, "embedding"),
        ({"architecture": "gemma-embedding"}, "embedding"),
        ({"architecture": "t5encoder"}, "encoder"),
        ({"name": "A Draft", "architecture": "eagle3"}, "draft"),
    ],
)
def test_a_file_beside_a_model_is_no_second_model(keys: dict[str, str], words: str, tmp_path: Path) -> None:
    model, other = tmp_path / "model-Q4_K_M.gguf", tmp_path / "another.gguf"
    model.write_bytes(head(architecture="llama", type="model"))
    other.write_bytes(head(**keys))
    assert find_weights(tmp_path) == model
    with pytest.raises(ValueError, match=f"is .*{words}"):
        find_weights(other)


@pytest.mark.parametrize("size", [4, 20, 24, 30, 60])
def test_a_file_whose_head_cannot_be_read_is_left_to_the_engine(size: int, tmp_path: Path) -> None:
    file = tmp_path / "model.gguf"
    file.write_bytes(head(architecture="clip")[:size])
    assert find_weights(file) == file


def test_a_folder_with_only_pickles_says_why_they_are_not_read(tmp_path: Path) -> None:
    folder = write_folder(tmp_path, missing="model-00001-of-00001.safetensors")
    (folder / "pytorch_model.bin").write_bytes(b"PK")
    with pytest.raises(ValueError, match=r"pytorch_model\.bin, which may contain programs"):
        find_weights(folder)


def test_an_index_beside_a_whole_file_is_left_over(tmp_path: Path) -> None:
    folder = write_folder(tmp_path, shards=2, missing="model-00002-of-00002.safetensors")
    with pytest.raises(ValueError, match="lacks"):
        find_weights(folder)
    (folder / "model.safetensors").write_text("weights")
    assert find_weights(folder) == folder


def test_an_adapter_is_no_model(tmp_path: Path) -> None:
    folder = write_folder(tmp_path, missing="config.json")
    (folder / "adapter_config.json").write_text("{}")
    with pytest.raises(ValueError, match="adapter"):
        find_weights(folder)


def test_a_safetensors_file_that_was_cut_short_is_named(tmp_path: Path) -> None:
    folder, header = (
        write_folder(tmp_path),
        b'{"__metadata__":{},"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}',
    )
    file = folder / "model-00001-of-00001.safetensors"
    file.write_bytes(len(header).to_bytes(8, "little") + header + bytes(8))
    assert find_weights(folder) == folder
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(ValueError, match=f"truncated {file.name}"):
        find_weights(folder)


# --- broken downloads


def _lacking(architecture: str, alignment: int) -> tuple[bytes, int]:
    """A file, and how many of its last bytes only fill the last block of the alignment."""
    tensors = tiny_tensors(architecture)
    metadata = tiny_metadata(architecture) | {"general.alignment": ValueOfType(4, alignment)}
    whole = gguf_bytes(metadata, tensors, alignment)
    return whole, -len(list(tensors.values())[-1].data) % alignment


@settings(max_examples=sized(60, 1_000), deadline=None)
@given(st.sampled_from(["llama", "qwen2"]), st.sampled_from([8, 32, 256]), st.data())
def test_a_gguf_file_that_was_cut_anywhere_is_incomplete(
    tmp_path_factory: pytest.TempPathFactory, architecture: str, alignment: int, data: st.DataObject
) -> None:
    whole, filling = _lacking(architecture, alignment)
    file = tmp_path_factory.mktemp("cut") / "model.gguf"
    file.write_bytes(whole)
    assert not is_incomplete(file)
    kept = data.draw(st.integers(5, len(whole)))
    file.write_bytes(whole[:kept])
    assert is_incomplete(file) == (kept < len(whole) - filling)


def test_a_shard_that_was_cut_makes_the_model_incomplete_and_other_damage_is_the_engines_to_explain(
    tmp_path: Path,
) -> None:
    whole = gguf_bytes(tiny_metadata(), tiny_tensors())
    first, second = (tmp_path / f"m-0000{number}-of-00002.gguf" for number in (1, 2))
    first.write_bytes(whole)
    second.write_bytes(whole)
    assert not is_incomplete(first)
    second.write_bytes(whole[:-40])
    assert is_incomplete(first)
    (tmp_path / "odd.gguf").write_bytes(GGUF)
    assert not is_incomplete(tmp_path / "odd.gguf")
    assert not is_incomplete(write_folder(tmp_path / "folder"))
