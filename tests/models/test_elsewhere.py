"""Models of other programs: found in their folders, loaded in place, never deleted."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from tests.models.builders import GGUF
from ttchat_tui.models.errors import ModelError
from ttchat_tui.models.library import installed, remove
from ttchat_tui.models.local import resolve

COMMIT = "abc123"
SHARDS = ("big-Q8_0-00001-of-00002.gguf", "big-Q8_0-00002-of-00002.gguf")


def gguf(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(GGUF)
    return path


def ollama(root: Path, manifest: str, digest: str, *more: str) -> Path:
    layers = [{"mediaType": f"application/vnd.ollama.image.{kind}", "digest": "sha256:0"} for kind in more]
    layers.append({"mediaType": "application/vnd.ollama.image.model", "digest": f"sha256:{digest}"})
    file = root / "manifests" / manifest
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps({"schemaVersion": 2, "layers": layers}))
    return gguf(root / "blobs" / f"sha256-{digest}")


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    home = tmp_path / "home"
    hub = home / ".cache" / "huggingface" / "hub" / "models--org--two"
    (hub / "refs").mkdir(parents=True)
    (hub / "refs" / "main").write_text(COMMIT)
    for name in ("two-Q4_K_M.gguf", "two-Q8_0.gguf", *(f"big/{shard}" for shard in SHARDS)):
        gguf(hub / "snapshots" / COMMIT / name)
    gguf(home / ".lmstudio" / "models" / "pub" / "repo" / "a-q4_0.gguf")
    gguf(home / ".lmstudio" / "models" / "pub" / "repo" / SHARDS[0])  # without its second shard
    gguf(home / ".cache" / "lm-studio" / "models" / "pub" / "old" / "b.gguf")
    gguf(home / ".cache" / "llama.cpp" / "ggml-org_tiny-GGUF_tiny-Q8_0.gguf")
    (home / ".cache" / "llama.cpp" / "broken.gguf").write_bytes(b"GG")
    ollama(home / ".ollama" / "models", "registry.ollama.ai/library/qwen2.5/0.5b", "aa", "template")
    ollama(home / ".ollama" / "models", "registry.ollama.ai/library/llama3/latest", "bb")
    ollama(home / ".ollama" / "models", "registry.ollama.ai/someone/tuned/v1", "cc")
    ollama(home / ".ollama" / "models", "hf.co/org/repo/Q4_K_M", "dd")
    ollama(home / ".ollama" / "models", "registry.ollama.ai/library/lora/latest", "ee", "adapter")
    (home / ".ollama" / "models" / "manifests" / "junk").write_text("no JSON")
    return {"HOME": str(home), "HF_HOME": str(home / ".cache" / "huggingface")}


def test_models_of_other_programs_are_listed_with_program_and_place(
    tmp_path: Path, environ: dict[str, str]
) -> None:
    rows = {row.name: row for row in installed(tmp_path / "models", environ)}
    assert list(rows) == [
        "llama.cpp:ggml-org_tiny-GGUF_tiny-Q8_0.gguf",
        "lmstudio:pub/old/b.gguf",
        "lmstudio:pub/repo/a-q4_0.gguf",
        "ollama:hf.co/org/repo:Q4_K_M",
        "ollama:llama3",
        "ollama:qwen2.5:0.5b",
        "ollama:someone/tuned:v1",
        "org/two",
        f"org/two/big/{SHARDS[0]}",
        "org/two/two-Q8_0.gguf",
    ]
    assert rows[f"org/two/big/{SHARDS[0]}"].size_bytes == 2 * len(GGUF)
    assert rows["lmstudio:pub/repo/a-q4_0.gguf"].quantisation == "Q4_0"
    assert rows["ollama:hf.co/org/repo:Q4_K_M"].quantisation == "Q4_K_M"
    assert rows["ollama:llama3"].source.startswith("Ollama: ")
    assert rows["ollama:llama3"].source.endswith("/.ollama/models/blobs/sha256-bb")


def test_every_listed_name_resolves_to_its_file_where_it_is(tmp_path: Path, environ: dict[str, str]) -> None:
    for row in installed(tmp_path / "models", environ):
        assert resolve(row.name, tmp_path / "models", environ).path == row.path
    assert not (tmp_path / "models").exists()


@pytest.mark.parametrize(
    ("name", "end"),
    [
        ("ollama:llama3:latest", "blobs/sha256-bb"),
        ("org/two:Q8_0", "two-Q8_0.gguf"),
        ("org/two", "two-Q4_K_M.gguf"),
        ("pub/repo/a-q4_0.gguf", ".lmstudio/models/pub/repo/a-q4_0.gguf"),
        ("pub/repo:Q4_0", ".lmstudio/models/pub/repo/a-q4_0.gguf"),
        ("ggml-org/tiny-GGUF/tiny-Q8_0.gguf", "llama.cpp/ggml-org_tiny-GGUF_tiny-Q8_0.gguf"),
    ],
)
def test_names_on_the_hub_are_found_in_the_folders_of_other_programs(
    tmp_path: Path, environ: dict[str, str], name: str, end: str
) -> None:
    assert str(resolve(name, tmp_path / "models", environ).path).endswith(end)


def test_their_folders_may_be_elsewhere(tmp_path: Path) -> None:
    blob = ollama(tmp_path / "o", "registry.ollama.ai/library/x/1b", "ff")
    file = gguf(tmp_path / "l" / "y.gguf")
    environ = {
        "HOME": str(tmp_path),
        "OLLAMA_MODELS": str(tmp_path / "o"),
        "LLAMA_CACHE": str(tmp_path / "l"),
    }
    assert resolve("ollama:x:1b", tmp_path / "m", environ).path == blob
    assert resolve("llama.cpp:y.gguf", tmp_path / "m", environ).path == file


@pytest.mark.parametrize("is_pointed", [False, True])
def test_the_models_folder_that_a_user_chose_in_lm_studio_is_searched(
    is_pointed: bool, tmp_path: Path
) -> None:
    home = tmp_path / "elsewhere" if is_pointed else tmp_path / ".lmstudio"
    if is_pointed:
        (tmp_path / ".lmstudio-home-pointer").write_text(f"{home}\n")
    usual, chosen = (gguf(folder / "pub/repo/a.gguf") for folder in (home / "models", tmp_path / "disk"))
    environ = {"HOME": str(tmp_path)}
    assert resolve("lmstudio:pub/repo/a.gguf", tmp_path / "m", environ).path == usual
    (home / "settings.json").write_text(json.dumps({"downloadsFolder": str(tmp_path / "disk"), "x": 1}))
    assert resolve("lmstudio:pub/repo/a.gguf", tmp_path / "m", environ).path == chosen


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b"\xff",
        b'{"downloadsFolder": 7}',
        b'{"downloadsFolder": "a"}',
        b"[" * 9999,
        b'{"downloadsFolder": "/\\u0000"}',
        b'{"downloadsFolder": "/\\ud800"}',
    ],
)
def test_damaged_settings_of_lm_studio_hide_no_model(content: bytes, tmp_path: Path) -> None:
    file = gguf(tmp_path / ".lmstudio" / "models" / "pub" / "repo" / "a.gguf")
    (tmp_path / ".lmstudio" / "settings.json").write_bytes(content)
    (tmp_path / ".lmstudio-home-pointer").write_bytes(content)
    assert resolve("lmstudio:pub/repo/a.gguf", tmp_path / "m", {"HOME": str(tmp_path)}).path == file


@pytest.mark.parametrize(
    ("name", "cure"),
    [
        ("ollama:qwen2.5:0.5b", "ollama rm qwen2.5:0.5b"),
        ("lmstudio:pub/old/b.gguf", "LM Studio"),
        ("org/two:Q8_0", "hf cache"),
    ],
)
def test_they_are_never_deleted(tmp_path: Path, environ: dict[str, str], name: str, cure: str) -> None:
    with pytest.raises(ModelError, match="was not pulled by ttchat-tui") as caught:
        remove(name, tmp_path / "models", environ)
    assert caught.value.info.kind == "model_not_ours"
    assert cure in caught.value.info.cure
    assert resolve(name, tmp_path / "models", environ).path is not None


def test_a_model_that_another_program_does_not_have_is_missing(
    tmp_path: Path, environ: dict[str, str]
) -> None:
    with pytest.raises(ModelError, match="no model ollama:nothing") as caught:
        resolve("ollama:nothing", tmp_path / "models", environ)
    assert caught.value.info.kind == "model_missing"


@pytest.mark.parametrize("typed", ["qwen2.5:0.5b", "Qwen2.5:0.5B"])
def test_a_name_as_its_program_has_it_is_recognised(
    tmp_path: Path, environ: dict[str, str], typed: str
) -> None:
    with pytest.raises(ModelError) as refused:
        resolve(typed, tmp_path / "models", environ)
    assert refused.value.info.cure.startswith("Did you mean ollama:qwen2.5:0.5b or qwen2.5-0.5b-instruct")


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("smollm2:135m", "smollm2-135m-instruct"),
        ("llama3.2:1b", "llama-3.2-1b-instruct"),
        ("qwen3:4b", "qwen3-4b"),
    ],
)
def test_a_name_of_ollama_that_is_not_here_leads_to_the_catalog(
    tmp_path: Path, typed: str, meant: str
) -> None:
    with pytest.raises(ModelError) as refused:
        resolve(typed, tmp_path / "models", {"HOME": str(tmp_path)})
    assert meant in refused.value.info.cure


MODEL = {"mediaType": "application/vnd.ollama.image.model", "digest": "sha256:aa"}


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b"\xff\x00",
        b"[" * 100_000,
        *(
            json.dumps({"layers": layers}).encode()
            for layers in (
                None, [None], {}, [], [{}], [{**MODEL, "digest": 3}], [{**MODEL, "digest": "aa"}], [{**MODEL, "digest": "sha256:gone"}],
                [{**MODEL, "digest": "sha256:../../secret"}], [{**MODEL, "digest": "sha256:/etc/passwd"}], [MODEL, MODEL],
            )
        ),
    ],
    ids=range(17),
)  # fmt: skip
def test_a_damaged_manifest_is_no_model_and_hides_no_other(content: bytes, tmp_path: Path) -> None:
    root = tmp_path / ".ollama" / "models"
    ollama(root, "registry.ollama.ai/library/good/latest", "aa")
    gguf(root / "secret")
    damaged = root / "manifests" / "registry.ollama.ai" / "library" / "damaged" / "latest"
    damaged.parent.mkdir()
    damaged.write_bytes(content)
    (row,) = installed(tmp_path / "models", {"HOME": str(tmp_path), "HF_HOME": str(tmp_path)})
    assert row.name == "ollama:good"


def test_a_manifest_without_measure_is_not_read(tmp_path: Path) -> None:
    root = tmp_path / ".ollama" / "models"
    ollama(root, "registry.ollama.ai/library/good/latest", "aa")
    large = root / "manifests" / "registry.ollama.ai" / "library" / "good" / "large"
    large.write_bytes((large.parent / "latest").read_bytes() + b" " * 2**20)
    os.mkfifo(large.with_name("pipe"))
    assert [
        row.name for row in installed(tmp_path / "models", {"HOME": str(tmp_path), "HF_HOME": str(tmp_path)})
    ] == ["ollama:good"]
