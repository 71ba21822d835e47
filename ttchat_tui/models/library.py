"""Models on this machine, with size and source: the data of `ttchat-tui models list|path|rm`."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec

from ttchat_tui.domain.user_paths import shortened
from ttchat_tui.models import hub_settings
from ttchat_tui.models.catalog import CatalogEntry, HuggingFace, catalog, entry_for_repo
from ttchat_tui.models.elsewhere import FoundModel, Program, found_elsewhere, program_of
from ttchat_tui.models.errors import ModelNameError
from ttchat_tui.models.fetch import LOCKS, PARTIAL, origin_of, read_origin
from ttchat_tui.models.gguf_names import quantisation_of
from ttchat_tui.models.hub_names import entry_for_hub_name
from ttchat_tui.models.local import find_local, find_pulled, resolve
from ttchat_tui.models.lock import exclusive
from ttchat_tui.models.weights import is_incomplete, size_on_disk

TABLE_HEADER: Final = ("model", "state", "size", "parameters", "context", "licence", "source")


_OWN_WAY: Final[dict[Program | None, str]] = {
    "Ollama": "It belongs to Ollama: `ollama rm {name}` deletes it.",
    "LM Studio": "It belongs to LM Studio: delete it there, under My Models.",
    "llama.cpp": "It belongs to llama.cpp's cache: delete the file yourself.",
    "Hugging Face cache": "`hf cache` shows and clears the Hugging Face cache.",
    None: "Delete it there yourself (`hf cache` shows and clears the Hugging Face cache).",
}


class ModelRow(msgspec.Struct, frozen=True, kw_only=True):
    """One model, on this machine or in the catalog."""

    name: str
    """What --model takes."""
    is_default: bool = False
    path: Path | None = None
    """The path that an engine loads; None if the model is not on this machine."""
    size_bytes: int = 0
    """Size on disk, or after a pull; 0 if unknown."""
    source: str = ""
    """Where it came from, or would be pulled from."""
    quantisation: str = ""
    """`Q4_K_M` and so on; empty for 16-bit weights and where it is unknown."""
    parameters: int = 0
    context_length: int = 0
    licence: str = ""
    is_gated: bool = False
    endpoint: str = ""
    """The server that has it; empty for a model that runs on this machine's engines."""

    @property
    def is_here(self) -> bool:
        return self.path is not None


def list_models(models_dir: Path, environ: Mapping[str, str]) -> tuple[ModelRow, ...]:
    """What is on this machine first. In both parts the catalog in its order, then by name what is not in it: our own
    downloads and models of other programs, each file once."""
    known = catalog()
    rows = [
        _row(entry, models_dir, environ, is_default=entry.alias == known.default) for entry in known.models
    ]
    others = [_row(entry, models_dir, environ) for entry in _outside_catalog(models_dir, environ)]
    listed = {row.path for row in (*rows, *others)}
    foreign = (_foreign_row(found) for found in found_elsewhere(environ) if found.path not in listed)
    here = [*(row for row in others if row.is_here), *foreign]
    every = (*rows, *sorted(here, key=lambda row: row.name.casefold()))
    return tuple(sorted(every, key=lambda row: not row.is_here))


def installed(models_dir: Path, environ: Mapping[str, str]) -> tuple[ModelRow, ...]:
    """The models on this machine."""
    return tuple(row for row in list_models(models_dir, environ) if row.is_here)


def model_path(name: str, models_dir: Path, environ: Mapping[str, str]) -> Path:
    """The path of `name`.

    Raises:
        ModelNameError: `model_missing`: it is not on this machine; and what `resolve` raises.
    """
    found = resolve(name, models_dir, environ)
    if found.path is None:
        raise ModelNameError(
            f"{found.name} is not on this machine.",
            kind="model_missing",
            cure=f"`ttchat-tui models pull {found.name}` fetches it.",
        )
    return found.path


def remove(name: str, models_dir: Path, environ: Mapping[str, str]) -> int:
    """Delete our copy of `name` and its unfinished downloads; return the freed bytes.

    A process that has the model loaded keeps it until it ends. Nothing outside `models_dir` is ever deleted.

    Raises:
        ModelNameError: `model_not_ours`: files of the user or of the Hugging Face cache; `model_missing`: there are no files;
            and what `resolve` raises.
    """
    found = resolve(name, models_dir, environ)
    if found.entry is None:
        raise _not_ours(found.name, found.path, found.program)
    folders = [models_dir / found.entry.folder, models_dir / PARTIAL / found.entry.folder]
    with exclusive(models_dir / LOCKS / found.entry.folder, waiting=lambda: None):
        there = [folder for folder in folders if folder.is_dir()]
        if not there:
            raise _not_ours(found.name, found.path)
        freed = sum(size_on_disk(folder) for folder in there)
        for folder in there:
            shutil.rmtree(folder)
    return freed


def table_rows(rows: Sequence[ModelRow]) -> list[tuple[str, ...]]:
    """`rows` as text cells under `TABLE_HEADER`, ready to be aligned and printed. Reads the headers of .gguf files."""
    return [
        (
            row.name,
            f"{_state(row)}, default" if row.is_default else _state(row),
            format_size(row.size_bytes),
            format_count(row.parameters),
            f"{row.context_length:,}" if row.context_length else "",
            f"{row.licence}{' (gated)' if row.is_gated else ''}",
            row.source,
        )
        for row in rows
    ]


def as_json(row: ModelRow) -> dict[str, Any]:
    """What is unknown is None. Sizes are bytes."""
    return {
        "name": row.name,
        "state": _state(row),
        "is_default": row.is_default,
        "size_bytes": row.size_bytes or None,
        "quantisation": row.quantisation or None,
        "parameters": row.parameters or None,
        "context_length": row.context_length or None,
        "licence": row.licence or None,
        "is_gated": row.is_gated,
        "source": row.source,
        "path": None if row.path is None else str(row.path),
    }


def format_size(size_bytes: int) -> str:
    """Decimal units, as disks and downloads are counted: `98 MB`, `1.50 GB`; empty for 0."""
    if size_bytes <= 0:
        return ""
    return f"{size_bytes / 1e9:.2f} GB" if size_bytes >= 999.5e6 else f"{max(size_bytes / 1e6, 0.1):.3g} MB"


def format_count(parameters: int) -> str:
    """`135M`, `1.24B`; empty for 0."""
    if parameters <= 0:
        return ""
    return f"{parameters / 1e9:.2f}B" if parameters >= 999.5e6 else f"{parameters / 1e6:.0f}M"


def _state(row: ModelRow) -> str:
    return "to pull" if row.path is None else "incomplete" if is_incomplete(row.path) else "here"


def _row(
    entry: CatalogEntry, models_dir: Path, environ: Mapping[str, str], *, is_default: bool = False
) -> ModelRow:
    path = find_local(entry, models_dir, environ)
    return ModelRow(
        name=entry.alias,
        is_default=is_default,
        path=path,
        size_bytes=size_on_disk(path) if path else entry.size_bytes,
        source=_source(entry, path, models_dir, environ),
        parameters=entry.parameters,
        context_length=entry.context_length,
        licence=entry.licence,
        is_gated=entry.gated and isinstance(entry.sources[0], HuggingFace),
        quantisation=quantisation_of(path.name) if path and path.is_file() else entry.quantisation,
    )


def _foreign_row(found: FoundModel) -> ModelRow:
    return ModelRow(
        name=found.name,
        path=found.path,
        size_bytes=size_on_disk(found.path),
        source=f"{found.program}: {shortened(str(found.path))}",
        quantisation=quantisation_of(found.path.name) or quantisation_of(found.name),
    )


def _source(entry: CatalogEntry, path: Path | None, models_dir: Path, environ: Mapping[str, str]) -> str:
    if path is None:
        return entry.sources[0].label
    if find_pulled(entry, models_dir) is None:
        program = program_of(path, environ)
        return program if program == "Hugging Face cache" else f"{program}: {shortened(str(path))}"
    return origin_of(models_dir / entry.folder) or "copied by hand"


def _outside_catalog(models_dir: Path, environ: Mapping[str, str]) -> Iterator[CatalogEntry]:
    """Entries for names on the hub outside the catalog that our cache or the hub's has a folder for."""
    folders = models_dir.iterdir() if models_dir.is_dir() else ()
    for folder in folders:
        origin = read_origin(folder) if "--" in folder.name else None
        name = (origin.name if origin else "") or folder.name.replace("--", "/")
        copied = folder.name.replace("--", "/", 1)  # by hand, under a name that the hub may not have
        entry = entry_for_hub_name(name) or (entry_for_repo(copied) if copied.count("/") == 1 else None)
        if entry is not None and entry.folder == folder.name and catalog().find(name) is None:
            yield entry
    for repo in hub_settings.cached_repos(environ):
        if (
            catalog().find(repo) is None
            and repo.count("/") == 1
            and not (models_dir / repo.replace("/", "--")).is_dir()
        ):
            yield entry_for_repo(repo)


def _not_ours(name: str, path: Path | None, program: Program | None = None) -> ModelNameError:
    if path is None:
        return ModelNameError(
            f"There are no files of {name} to delete.",
            kind="model_missing",
            cure="`ttchat-tui models list --here` shows the models of this machine.",
        )
    return ModelNameError(
        f"{name} was not pulled by ttchat-tui: it is at {path}.",
        kind="model_not_ours",
        cure=_OWN_WAY[program].format(name=name.partition(":")[2]),
    )
