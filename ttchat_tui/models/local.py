"""Resolution of a model name (alias, hub id, folder or .gguf file) to files on this machine."""

from __future__ import annotations

import difflib
import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import msgspec

from ttchat_tui.domain.user_paths import expanded
from ttchat_tui.models import hub_settings
from ttchat_tui.models.catalog import Catalog, CatalogEntry, HubGguf, HuggingFace, PypiWheel, catalog
from ttchat_tui.models.elsewhere import Program, copy_of, find_elsewhere, found_elsewhere, is_elsewhere
from ttchat_tui.models.errors import ModelError, ModelNameError
from ttchat_tui.models.hub_names import entry_for_hub_name
from ttchat_tui.models.weights import find_weights, size_on_disk


class ResolvedModel(msgspec.Struct, frozen=True, kw_only=True):
    """A resolved model name."""

    name: str
    """As shown and recorded: the alias, the hub id, or the name of the file or folder."""
    path: Path | None
    """What an engine loads: a .gguf file or a folder. None: it must be pulled first."""
    entry: CatalogEntry | None
    """Its catalog entry; None for files of the user or of another program."""
    program: Program | None = None
    """The program that the files belong to, for a name such as `ollama:qwen2.5`."""
    sampling_of: CatalogEntry | None = None
    """The entry of the catalog whose files are at a path that the user gave: its recommendation applies to them too."""


def resolve(name: str, models_dir: Path, environ: Mapping[str, str]) -> ResolvedModel:
    """Find the model that `name` means; nothing is fetched.

    In order: alias (or hub id) of the catalog, model of another program (`ollama:…`), something on the disk, name on the
    hub (`org/name`, `org/name:Q4_K_M`, `org/name/file.gguf`). A file or folder named like an alias is reached as `./name`.

    Raises:
        ModelNameError: `model_unknown` (with near matches), or `model_missing` for a path to nothing.
        ModelError: `model_broken` for a path without a complete model.
    """
    name = name.strip()
    entry = catalog().find(name)
    if entry is not None and name.casefold() in (repo.casefold() for repo in entry.repos):
        entry = entry.as_folder()
    if entry is None and is_elsewhere(name):
        return _resolve_elsewhere(name, environ)
    is_near = os.path.exists(name) or (name.endswith(".gguf") and os.path.isdir(name.partition("/")[0]))
    on_hub = None if entry is not None or is_near else entry_for_hub_name(name)
    if entry is None and on_hub is None and _is_path(name):
        return _resolve_path(expanded(name), models_dir, environ)
    entry = entry or on_hub
    if entry is None:
        raise _unknown(name, catalog(), environ)
    return ResolvedModel(name=entry.alias, path=find_local(entry, models_dir, environ), entry=entry)


def lasting_name(name: str) -> str:
    """`name` as an argument of `--model` that means the same model from any folder; links are kept, which name the model."""
    kind, colon, path = name.partition(":")
    if colon and kind.isalpha() and path.startswith(("./", "../", "~")):  # `cpu:./model.gguf`
        return f"{kind}:{lasting_name(path)}"
    is_file = catalog().find(name) is None and _is_path(name) and os.path.exists(expanded(name))
    return os.path.abspath(expanded(name)) if is_file else name


def find_local(entry: CatalogEntry, models_dir: Path, environ: Mapping[str, str]) -> Path | None:
    """The path of a complete copy of `entry`, in our cache or that of another program; None without one."""
    if (own := find_pulled(entry, models_dir)) is not None:
        return own
    for source in entry.sources:
        match source:
            case HuggingFace():
                snapshot = hub_settings.cached_snapshot(source.repo, source.revision, environ)
                path = _complete(snapshot) if snapshot is not None else None
                path = path or copy_of(HubGguf(repo=source.repo, revision=source.revision), environ)
            case HubGguf():
                path = copy_of(source, environ)
            case PypiWheel():
                path = None
        if path is not None:
            return path
    return None


def find_pulled(entry: CatalogEntry, models_dir: Path) -> Path | None:
    """The complete copy of `entry` in our own cache, pulled or copied there by hand; None without one.

    A file from a wheel is complete if its size is right: its hash was checked after the download.
    """
    folder = models_dir / entry.folder
    for source in entry.sources:
        match source:
            case PypiWheel():
                file = folder / source.file_name
                if file.is_file() and file.stat().st_size == source.size_bytes:
                    return file
            case HubGguf():
                path = _complete(folder / source.file_name if source.file else folder)
                if path is not None and path.is_file() and _has_size(path, source):
                    return path
            case HuggingFace():
                path = _complete(folder)
                if path == folder or (
                    path is not None and len(entry.sources) == 1
                ):  # a repository of .gguf files
                    return path
    return None


def _has_size(path: Path, source: HubGguf) -> bool:
    return not source.size_bytes or size_on_disk(path) == source.size_bytes


def _complete(folder: Path) -> Path | None:
    try:
        return find_weights(folder)
    except ValueError:
        return None


def _is_path(name: str) -> bool:
    """Whether `name` is a path: it looks like one and not like a hub id, or it exists."""
    if not name:
        return False
    return name.startswith(("/", "./", "../", "~")) or name.endswith(".gguf") or os.path.exists(name)


def _resolve_elsewhere(name: str, environ: Mapping[str, str]) -> ResolvedModel:
    found = find_elsewhere(name, environ)
    if found is None:
        raise ModelNameError(
            f"There is no model {name} on this machine.",
            kind="model_missing",
            cure="`ttchat-tui models list --here` shows what is.",
        )
    return ResolvedModel(name=found.name, path=found.path, entry=None, program=found.program)


def _resolve_path(path: Path, models_dir: Path, environ: Mapping[str, str]) -> ResolvedModel:
    try:
        weights = find_weights(path)
    except ValueError as error:
        cure = "Give a .gguf file, or a folder with config.json, tokenizer and safetensors."
        if os.path.exists(path):
            raise ModelError(f"{path} {error}.", kind="model_broken", cure=cure) from error
        raise ModelNameError(f"{path} {error}.", kind="model_missing", cure=cure) from error
    known = (entry for entry in catalog().models if _is_copy(weights, find_local(entry, models_dir, environ)))
    return ResolvedModel(
        name=path.name or str(path), path=weights.absolute(), entry=None, sampling_of=next(known, None)
    )


def _is_copy(weights: Path, known: Path | None) -> bool:
    """Whether both are the same file or folder, or files with one name and size."""
    if known is None:
        return False
    with suppress(OSError):
        if weights.samefile(known):
            return True
    return weights.is_file() and (weights.name, size_on_disk(weights)) == (known.name, size_on_disk(known))


def _unknown(name: str, known: Catalog, environ: Mapping[str, str]) -> ModelNameError:
    wanted = name.removesuffix(":latest").casefold()
    here = [
        each.name for each in found_elsewhere(environ) if each.name.partition(":")[2].casefold() == wanted
    ]
    aliases, dashed = [entry.alias for entry in known.models], wanted.replace(":", "-")
    begun = [alias for alias in aliases if dashed and alias.startswith(dashed)][:1]
    close = difflib.get_close_matches(dashed, aliases, n=3, cutoff=0.5)
    near = list(dict.fromkeys([*here, *begun, *close]))[:3]
    cure = f"Did you mean {' or '.join(near)}? " if near else ""
    return ModelNameError(
        f"No model is called {name!r}.",
        kind="model_unknown",
        cure=cure
        + "`ttchat-tui models list` shows all; a hub id (org/name, org/name:Q4_K_M), a folder or a .gguf file also work.",
    )
