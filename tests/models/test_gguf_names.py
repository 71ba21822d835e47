"""What file names of .gguf files say, and names of models on the hub."""

from __future__ import annotations

import pytest

from ttchat_tui.models.catalog import HubGguf, HuggingFace, catalog
from ttchat_tui.models.gguf_names import choose, models_among, quantisation_of
from ttchat_tui.models.hub_names import entry_for_hub_name

SHARDS = ["Q8_0/toy-Q8_0-00001-of-00002.gguf", "Q8_0/toy-Q8_0-00002-of-00002.gguf"]
REPOSITORY = ["README.md", "toy-Q4_K_M.gguf", "toy-Q5_K_S.gguf", "mmproj-toy-F16.gguf", *SHARDS]


@pytest.mark.parametrize(
    ("path", "quantisation"),
    [
        ("qwen2.5-0.5b-instruct-q4_k_m.gguf", "Q4_K_M"),
        ("SmolLM2-135M-Instruct.Q4_1.gguf", "Q4_1"),
        ("gemma-3-270m-it-qat-Q4_0.gguf", "Q4_0"),
        ("Qwen3-4B-UD-Q4_K_XL.gguf", "UD-Q4_K_XL"),
        ("model-IQ4_XS-00001-of-00003.gguf", "IQ4_XS"),
        ("gpt-oss-20b-mxfp4.gguf", "MXFP4"),
        ("BF16/model-00001-of-00002.gguf", "BF16"),
        ("Q2_K_fan-club-Q8_0.gguf", "Q8_0"),
        ("model.gguf", ""),
        ("q4.gguf", ""),
    ],
)
def test_the_quantisation_is_read_from_a_name(path: str, quantisation: str) -> None:
    assert quantisation_of(path) == quantisation


def test_every_file_of_the_catalog_names_its_quantisation() -> None:
    assert all(entry.quantisation for entry in catalog().models)


def test_shards_are_one_model_and_side_files_are_none() -> None:
    assert models_among(REPOSITORY) == {
        SHARDS[0]: SHARDS,
        "toy-Q4_K_M.gguf": ["toy-Q4_K_M.gguf"],
        "toy-Q5_K_S.gguf": ["toy-Q5_K_S.gguf"],
    }
    assert models_among(SHARDS[1:]) == {}


def test_the_file_the_quantisation_or_the_usual_one_is_taken() -> None:
    assert choose(REPOSITORY) == ["toy-Q4_K_M.gguf"]
    assert choose(REPOSITORY, quantisation="Q8_0") == SHARDS
    assert choose(REPOSITORY, file=SHARDS[1]) == SHARDS
    assert choose(["a-UD-Q4_K_XL.gguf", "odd.gguf"], quantisation="Q4_K_XL") == ["a-UD-Q4_K_XL.gguf"]
    assert choose(["odd.gguf"]) == ["odd.gguf"]


def test_what_a_repository_lacks_is_said_with_what_it_has() -> None:
    with pytest.raises(ValueError, match=r"has no Q6_K; it has Q4_K_M, Q5_K_S, Q8_0"):
        choose(REPOSITORY, quantisation="Q6_K")
    with pytest.raises(ValueError, match=r"has no file x\.gguf; it has .*toy-Q4_K_M\.gguf"):
        choose(REPOSITORY, file="x.gguf")
    with pytest.raises(ValueError, match=r"has no \.gguf files"):
        choose(["README.md"])


@pytest.mark.parametrize(
    ("name", "alias", "file", "quantisation"),
    [
        ("org/repo:Q4_K_M", "org/repo:Q4_K_M", "", "Q4_K_M"),
        ("org/repo:q4_k_m", "org/repo:Q4_K_M", "", "Q4_K_M"),
        ("hf.co/org/repo:Q8_0", "org/repo:Q8_0", "", "Q8_0"),
        ("hf.co/org/repo/Q8_0/a.gguf", "org/repo/Q8_0/a.gguf", "Q8_0/a.gguf", "Q8_0"),
        ("org/repo/a-q8_0.gguf", "org/repo/a-q8_0.gguf", "a-q8_0.gguf", "Q8_0"),
        ("org/repo/Q8_0/a.gguf", "org/repo/Q8_0/a.gguf", "Q8_0/a.gguf", "Q8_0"),
        (
            "https://huggingface.co/org/repo/resolve/main/a.gguf?download=true",
            "org/repo/a.gguf",
            "a.gguf",
            "",
        ),
    ],
)
def test_names_of_files_on_the_hub(name: str, alias: str, file: str, quantisation: str) -> None:
    entry = entry_for_hub_name(name)
    assert entry is not None
    assert entry.alias == alias
    assert entry.sources == (HubGguf(repo="org/repo", file=file, quantisation=quantisation),)


@pytest.mark.parametrize("name", ["https://huggingface.co/org/repo", "hf.co/org/repo:latest"])
def test_a_repository_alone_is_a_folder_or_its_usual_file(name: str) -> None:
    entry = entry_for_hub_name(name)
    assert entry is not None
    assert entry.sources == (HuggingFace(repo="org/repo"),)


@pytest.mark.parametrize(
    "name",
    [
        "",
        "repo",
        "a/b/c",
        "/org/repo/a.gguf",
        "./a/b/c.gguf",
        "org/repo:",
        "org/repo/../a.gguf",
        "~/a/b.gguf",
    ],
)
def test_other_texts_are_no_names_on_the_hub(name: str) -> None:
    assert entry_for_hub_name(name) is None
