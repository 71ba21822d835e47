"""Quantised files of the hub: which are fetched, verified, listed and found again, against a hub on loopback."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import msgspec
import pytest

from tests.models.builders import GGUF, ignore
from tests.models.hub_server import REPO, Hub, serving
from ttchat_tui.models.catalog import CatalogEntry, HubGguf, HuggingFace
from ttchat_tui.models.errors import ModelError
from ttchat_tui.models.fetch import pull
from ttchat_tui.models.hub_names import entry_for_hub_name
from ttchat_tui.models.hub_search import search
from ttchat_tui.models.library import installed, remove
from ttchat_tui.models.local import resolve

SHARDS = {f"Q8_0/toy-Q8_0-0000{number}-of-00002.gguf": GGUF + bytes([number]) for number in (1, 2)}
FILES = {"toy-Q4_K_M.gguf": GGUF, "toy-Q6_K.gguf": GGUF + b"6", "mmproj-F16.gguf": GGUF, **SHARDS}


@pytest.fixture
def hub() -> Iterator[Hub]:
    with serving(Hub(files=dict(FILES))) as hub:
        yield hub


@pytest.fixture
def environ(hub: Hub, tmp_path: Path) -> dict[str, str]:
    return {"HF_ENDPOINT": hub.endpoint, "HF_HOME": str(tmp_path / "hf"), "HOME": str(tmp_path)}


def entry(name: str) -> CatalogEntry:
    found = entry_for_hub_name(name)
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("name", "files"),
    [
        (f"{REPO}:Q6_K", ["toy-Q6_K.gguf"]),
        (f"{REPO}:Q8_0", [name.rpartition("/")[2] for name in SHARDS]),
        (f"{REPO}/Q8_0/toy-Q8_0-00002-of-00002.gguf", [name.rpartition("/")[2] for name in SHARDS]),
        (REPO, ["toy-Q4_K_M.gguf"]),
    ],
)
def test_the_files_of_one_model_are_fetched_and_found_listed_and_removed_by_the_same_name(
    tmp_path: Path, environ: dict[str, str], name: str, files: list[str]
) -> None:
    path = pull(entry(name), tmp_path / "models", ignore, environ)
    assert sorted(file.name for file in path.parent.glob("*.gguf")) == files
    assert resolve(name, tmp_path / "models", environ).path == path == path.parent / files[0]
    (row,) = installed(tmp_path / "models", environ)
    assert (row.path, row.size_bytes) == (path, sum(len(FILES.get(f, GGUF + b"1")) for f in files))
    assert resolve(row.name, tmp_path / "models", environ).path == path
    assert remove(row.name, tmp_path / "models", environ) > 0
    assert installed(tmp_path / "models", environ) == ()


ODD = [
    "toy model (1)",
    "100%",
    "50%20off",
    "a#b?c",
    "tóy 名前",
    "it's a=b;c&d",
    "a:b~c",
    "sub dir/toy",
    "x" * 180,
]


@pytest.mark.parametrize("odd", ODD)
def test_a_file_may_have_any_name_that_can_be_shown(
    odd: str, tmp_path: Path, hub: Hub, environ: dict[str, str]
) -> None:
    file = f"{odd}-Q5_K_M.gguf"
    hub.files[file] = GGUF + odd.encode()
    for name in (f"{REPO}:Q5_K_M", f"{REPO}/{file}", f"https://hf.co/{REPO}/blob/main/{quote(file)}"):
        path = pull(entry(name), tmp_path / "models", ignore, environ)
        assert path.read_bytes() == hub.files[file]
        assert resolve(name, tmp_path / "models", environ).path == path
    assert {row.path for row in installed(tmp_path / "models", environ)} >= {path}


@pytest.mark.parametrize(
    "file",
    [
        "../a",
        "a/../b",
        "/etc/a",
        ".a",
        "a/.b",
        "a\\b",
        "a\nb",
        "a\x1b[2J",
        "\u202ea",
        " a",
        "a//b",
        "x" * 300,
    ],
)
def test_a_name_that_is_not_below_the_folder_or_cannot_be_shown_is_not_fetched(
    file: str, tmp_path: Path, hub: Hub, environ: dict[str, str]
) -> None:
    hub.files = {f"{file}-Q5_K_M.gguf": GGUF, **FILES}
    with pytest.raises(ModelError, match="has no Q5_K_M"):
        pull(entry(f"{REPO}:Q5_K_M"), tmp_path / "models", ignore, environ)
    assert entry_for_hub_name(f"{REPO}/{file}.gguf") is None


def test_an_interrupted_file_resumes(tmp_path: Path, hub: Hub, environ: dict[str, str]) -> None:
    hub.break_after = [1000]
    path = pull(entry(f"{REPO}:Q6_K"), tmp_path / "models", ignore, environ)
    assert path.read_bytes() == FILES["toy-Q6_K.gguf"]
    assert [headers.get("range") for headers in hub.asked("toy-Q6_K.gguf")] == [None, "bytes=1000-"]


def test_a_quantisation_that_is_not_there_is_refused_with_those_that_are(
    tmp_path: Path, environ: dict[str, str]
) -> None:
    with pytest.raises(ModelError, match=r"has no Q5_0; it has Q4_K_M, Q6_K, Q8_0"):
        pull(entry(f"{REPO}:Q5_0"), tmp_path / "models", ignore, environ)


def pinned(sha256: str) -> CatalogEntry:
    source = HubGguf(repo=REPO, file="toy-Q6_K.gguf", sha256=sha256, size_bytes=len(GGUF) + 1)
    return CatalogEntry(alias="toy", name="Toy", sources=(source,))


def test_a_file_other_than_the_catalog_knows_is_refused_before_it_is_fetched(
    tmp_path: Path, hub: Hub, environ: dict[str, str]
) -> None:
    right = hashlib.sha256(FILES["toy-Q6_K.gguf"]).hexdigest()
    with pytest.raises(ModelError, match=r"has another toy-Q6_K\.gguf than the catalog knows"):
        pull(pinned("0" * 64), tmp_path / "models", ignore, environ)
    assert hub.asked("toy-Q6_K.gguf") == []
    hub.lies = True
    with pytest.raises(ModelError, match="is not the one that the hub lists"):
        pull(pinned(right), tmp_path / "models", ignore, environ)
    hub.lies = False
    path = pull(pinned(right), tmp_path / "models", ignore, environ)
    assert path == tmp_path / "models" / "toy" / "toy-Q6_K.gguf"


def test_a_model_that_does_not_fit_on_the_disk_is_refused_before_it_is_fetched(
    tmp_path: Path, hub: Hub, environ: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=1000))
    with pytest.raises(ModelError, match=r"needs 0 MB and .* has 0 MB left") as caught:
        pull(entry(f"{REPO}:Q6_K"), tmp_path / "models", ignore, environ)
    assert caught.value.info.kind == "disk_full"
    assert hub.asked("toy-Q6_K.gguf") == []


def test_a_card_and_a_chosen_precision_take_the_16_bit_folder(tmp_path: Path) -> None:
    both = CatalogEntry(
        alias="toy", name="Toy", sources=(HubGguf(repo="a/b-GGUF", file="b.gguf"), HuggingFace(repo="a/b"))
    )
    assert both.as_folder().sources == (HuggingFace(repo="a/b"),)
    alone = msgspec.structs.replace(both, sources=both.sources[:1])
    assert alone.as_folder() == alone
    found = resolve("Qwen/Qwen3-0.6B", tmp_path, {"HOME": str(tmp_path)}).entry
    assert found is not None
    assert found.sources == (HuggingFace(repo="Qwen/Qwen3-0.6B", size_bytes=1_503_264_768),)


def test_a_search_lists_models_with_their_sizes_by_the_names_that_pull_takes(environ: dict[str, str]) -> None:
    models = list(search("toy", environ))
    assert [(model.name, model.size_bytes) for model in models] == [
        (f"{REPO}:Q4_K_M", len(GGUF)),
        (f"{REPO}:Q6_K", len(GGUF) + 1),
        (f"{REPO}:Q8_0", 2 * len(GGUF) + 2),
    ]


def test_a_search_without_a_hub_is_offline(environ: dict[str, str]) -> None:
    for change in ({"HF_ENDPOINT": "http://127.0.0.1:9"}, {"HF_HUB_OFFLINE": "1"}):
        with pytest.raises(ModelError) as caught:
            list(search("toy", {**environ, **change}))
        assert caught.value.info.kind == "offline"
