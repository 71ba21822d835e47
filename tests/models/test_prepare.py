"""Preparation of a load: from a name to a ModelSpec."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.models.builders import GGUF, cancel, ignore, write_folder
from tests.models.hub_server import REPO, Hub, serving
from ttchat_tui.domain.model_spec import CpuOptions, ModelSource
from ttchat_tui.models.catalog import PypiWheel, catalog
from ttchat_tui.models.errors import ModelError
from ttchat_tui.models.prepare import Preparer


def test_a_local_model_is_described_without_a_pull(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "qwen3-0.6b")
    options = CpuOptions(precision="f16", threads=2)
    prepare = Preparer(models_dir=tmp_path, options_of=lambda _: options, context_length=4096, environ={})
    spec = prepare("Qwen3-0.6B", cancel)
    entry = catalog().find("qwen3-0.6b")
    assert entry is not None
    assert (spec.name, spec.path, spec.recommended) == ("qwen3-0.6b", str(folder), entry.recommended)
    assert (spec.engine, spec.options, spec.context_length) == ("cpu", options, 4096)


def test_the_users_own_file_comes_without_recommendation(tmp_path: Path) -> None:
    file = tmp_path / "mine.gguf"
    file.write_bytes(GGUF)
    spec = Preparer(models_dir=tmp_path, environ={})(str(file), cancel)
    assert (spec.name, spec.path, spec.recommended) == ("mine.gguf", str(file), None)


@pytest.mark.parametrize("way", ["its path", "a link", "a copy"])
def test_a_model_of_the_catalog_has_its_recommendation_by_its_path_too(tmp_path: Path, way: str) -> None:
    """Switching from the alias to the path must not move the sampling settings."""
    entry = catalog().find("smollm2-135m-instruct")
    assert entry is not None
    source = entry.sources[0]
    assert isinstance(source, PypiWheel)
    file = tmp_path / "models" / entry.folder / source.file_name
    other = tmp_path / "other" / ("renamed.gguf" if way == "a link" else source.file_name)
    for made in (file, other) if way == "a copy" else (file,):
        made.parent.mkdir(parents=True, exist_ok=True)
        made.write_bytes(b"GGUF")
        os.truncate(made, source.size_bytes)
    if way == "a link":
        other.parent.mkdir()
        other.symlink_to(file)
    spec = Preparer(models_dir=tmp_path / "models", environ={})(
        str(file if way == "its path" else other), cancel
    )
    assert spec.recommended == entry.recommended is not None
    assert spec.name == (file if way == "its path" else other).name


def test_a_file_goes_to_the_cpu_unless_the_card_was_asked_for(tmp_path: Path) -> None:
    """A card's engine reads folders. If the app chose it, the file goes to the CPU; if the user did, the load says why."""
    file = tmp_path / "own.gguf"
    file.write_bytes(b"GGUF")

    sources: dict[str, ModelSource] = {"cpu": "files", "tt": "folders"}
    by_us = Preparer(models_dir=tmp_path, engine="tt", is_automatic=True, sources=sources, environ={})
    by_the_user = Preparer(models_dir=tmp_path, engine="tt", sources=sources, environ={})

    assert by_us(str(file), cancel).engine == "cpu"
    assert by_the_user(str(file), cancel).engine == "tt"
    assert by_us(f"tt:{file}", cancel).engine == "tt"


def test_a_model_that_is_not_here_is_pulled(tmp_path: Path) -> None:
    with serving(Hub()) as hub:
        environ = {"HF_ENDPOINT": hub.endpoint, "HF_HOME": str(tmp_path)}
        spec = Preparer(models_dir=tmp_path / "models", environ=environ)(REPO, ignore)
    assert (spec.name, spec.path) == (REPO, str(tmp_path / "models" / "maker--toy"))


def test_an_error_has_kind_and_cure(tmp_path: Path) -> None:
    with pytest.raises(ModelError) as caught:
        Preparer(models_dir=tmp_path, environ={})("no such model", ignore)
    assert caught.value.info.kind == "model_unknown"
    assert str(caught.value) == caught.value.info.message


def test_httpx_is_imported_only_for_a_pull_from_the_hub() -> None:
    script = "import sys, ttchat_tui.models.prepare, ttchat_tui.models.library; print(*sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    ).stdout.split()
    assert not {"httpx", "torch", "numpy", "transformers", "ssl"} & set(loaded)


@pytest.mark.model
def test_the_default_model_has_the_catalog_s_hash(default_model_path: Path) -> None:
    spec = Preparer(models_dir=default_model_path.parents[1], environ={})(catalog().default, cancel)
    assert spec.path == str(default_model_path)
    with default_model_path.open("rb") as file:
        assert file.read(4) == b"GGUF"
