"""Resolution of model names to files on this machine."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.models.builders import GGUF, write_folder
from ttchat_tui.models.catalog import PypiWheel, catalog
from ttchat_tui.models.choice import DEFAULT
from ttchat_tui.models.errors import ModelError
from ttchat_tui.models.local import ResolvedModel, lasting_name, resolve


@pytest.fixture
def models_dir(tmp_path: Path) -> Path:
    return tmp_path / "models"


def hub_snapshot(cache: Path, repo: str, commit: str = "abc123") -> Path:
    """A model as the hub's own client would have left it."""
    base = cache / f"models--{repo.replace('/', '--')}"
    (base / "refs").mkdir(parents=True)
    (base / "refs" / "main").write_text(commit)
    return write_folder(base / "snapshots" / commit)


def test_an_alias_without_files_resolves_to_its_sources(models_dir: Path) -> None:
    found = resolve("Qwen3-0.6B", models_dir, {})
    assert found == ResolvedModel(name="qwen3-0.6b", path=None, entry=catalog().find("qwen3-0.6b"))


def test_a_pulled_folder_is_found_by_alias_and_by_hub_id(models_dir: Path) -> None:
    folder = write_folder(models_dir / "qwen3-0.6b")
    assert resolve("qwen3-0.6b", models_dir, {}).path == folder
    assert resolve("Qwen/Qwen3-0.6B", models_dir, {}).path == folder


def test_a_file_copied_by_hand_is_found_when_its_size_is_right(models_dir: Path) -> None:
    default = catalog().find(catalog().default)
    assert default is not None
    wheel = default.sources[0]
    assert isinstance(wheel, PypiWheel)
    file = models_dir / default.folder / wheel.file_name
    file.parent.mkdir(parents=True)
    with file.open("wb") as output:
        output.truncate(wheel.size_bytes - 1)
    assert resolve(default.alias, models_dir, {}).path is None
    with file.open("r+b") as output:
        output.truncate(wheel.size_bytes)
    assert resolve(default.alias, models_dir, {}).path == file


def test_an_incomplete_folder_does_not_count(models_dir: Path) -> None:
    write_folder(models_dir / "qwen3-0.6b", shards=2, missing="model-00002-of-00002.safetensors")
    assert resolve("qwen3-0.6b", models_dir, {}).path is None


@pytest.mark.parametrize("variable", ["HF_HUB_CACHE", "HF_HOME"])
def test_a_hub_id_is_found_in_the_hubs_own_cache(models_dir: Path, tmp_path: Path, variable: str) -> None:
    cache = tmp_path if variable == "HF_HUB_CACHE" else tmp_path / "hub"
    snapshot = hub_snapshot(cache, "someone/some-model")
    found = resolve("someone/some-model", models_dir, {variable: str(tmp_path)})
    assert (found.name, found.path) == ("someone/some-model", snapshot)


def test_an_alias_is_found_in_the_hubs_own_cache_too(models_dir: Path, tmp_path: Path) -> None:
    snapshot = hub_snapshot(tmp_path, "Qwen/Qwen3-0.6B")
    assert resolve("qwen3-0.6b", models_dir, {"HF_HUB_CACHE": str(tmp_path)}).path == snapshot


def test_our_own_copy_comes_before_the_hubs(models_dir: Path, tmp_path: Path) -> None:
    hub_snapshot(tmp_path, "Qwen/Qwen3-0.6B")
    own = write_folder(models_dir / "qwen3-0.6b")
    assert resolve("qwen3-0.6b", models_dir, {"HF_HUB_CACHE": str(tmp_path)}).path == own


def test_a_hub_id_that_is_not_here_can_be_pulled(models_dir: Path) -> None:
    found = resolve("someone/some-model", models_dir, {})
    assert found.path is None
    assert found.entry is not None
    assert found.entry.repos == ("someone/some-model",)


def test_a_gguf_file_and_a_folder_are_the_users_own(models_dir: Path, tmp_path: Path) -> None:
    file = tmp_path / "mine.gguf"
    file.write_bytes(GGUF)
    folder = write_folder(tmp_path / "my model")
    assert resolve(str(file), models_dir, {}) == ResolvedModel(name="mine.gguf", path=file, entry=None)
    assert resolve(str(folder), models_dir, {}) == ResolvedModel(name="my model", path=folder, entry=None)


def test_a_link_to_a_gguf_file_keeps_its_name(models_dir: Path, tmp_path: Path) -> None:
    (tmp_path / "0123abcd").write_bytes(GGUF)
    link = tmp_path / "linked.gguf"
    link.symlink_to(tmp_path / "0123abcd")
    assert resolve(str(link), models_dir, {}).path == link


def test_a_relative_path_becomes_absolute(
    models_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    folder = write_folder(tmp_path / "org" / "model")
    assert resolve("org/model", models_dir, {}).path == folder
    assert resolve("./org/model", models_dir, {}).path == folder


def test_a_misspelled_name_gets_near_matches(models_dir: Path) -> None:
    with pytest.raises(ModelError, match="'smolm2-135m-instruct'") as caught:
        resolve("smolm2-135m-instruct", models_dir, {})
    assert caught.value.info.kind == "model_unknown"
    assert "smollm2-135m-instruct" in caught.value.info.cure


@pytest.mark.parametrize("name", ["", "  ", "what is this", "a/b/c"])
def test_an_impossible_name_is_refused(models_dir: Path, name: str) -> None:
    with pytest.raises(ModelError) as caught:
        resolve(name, models_dir, {})
    assert caught.value.info.kind == "model_unknown"


@pytest.mark.parametrize("name", ["/nowhere/model", "~/nowhere", "./nowhere", "nowhere.gguf"])
def test_a_path_to_nothing_says_so(models_dir: Path, name: str) -> None:
    with pytest.raises(ModelError, match="does not exist") as caught:
        resolve(name, models_dir, {})
    assert caught.value.info.kind == "model_missing"


def test_a_path_to_a_pipe_or_a_device_says_so(models_dir: Path, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "model.gguf")
    for name, what in ((tmp_path / "model.gguf", "is a named pipe"), ("/dev/zero", "is a device")):
        with pytest.raises(ModelError, match=what) as caught:
            resolve(str(name), models_dir, {})
        assert caught.value.info.kind == "model_broken"


def test_an_incomplete_model_names_what_is_missing(models_dir: Path, tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "half", missing="tokenizer.json")
    with pytest.raises(ModelError, match="has no tokenizer") as caught:
        resolve(str(folder), models_dir, {})
    assert caught.value.info.kind == "model_broken"


@pytest.mark.parametrize("kind", ["", "cpu:"])
def test_a_path_stays_the_same_from_any_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    (tmp_path / "blob").write_text("")
    (tmp_path / "model-00001-of-00002.gguf").symlink_to("blob")
    (tmp_path / DEFAULT).mkdir()
    monkeypatch.chdir(tmp_path)
    place = f"{kind}{tmp_path}/model-00001-of-00002.gguf"
    assert lasting_name(f"{kind}./model-00001-of-00002.gguf") == place
    assert lasting_name(place) == place
    for name in (DEFAULT, "remote:lab/llama", "remote:", "a-name"):
        assert lasting_name(name) == name


def test_a_mistyped_path_below_a_folder_that_is_here_is_no_name_on_the_hub(
    models_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert resolve("models/sub/a.gguf", models_dir, {}).entry is not None
    models_dir.mkdir()
    with pytest.raises(ModelError, match=r"models/sub/a\.gguf does not exist"):
        resolve("models/sub/a.gguf", models_dir, {})
