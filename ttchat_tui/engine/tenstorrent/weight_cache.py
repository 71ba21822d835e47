"""Where a model's converted weights are kept: a folder of its own, for tt_transformers goes by tensor names alone.

tt_transformers appends no more than the card's name to TT_CACHE_PATH, and ttnn loads a cached file without a look at
its shape: two models in one folder means that the second runs with the weights of the first.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from ttchat_tui.engine.base import ModelLoadError

_DESCRIPTIONS: Final = ("config.json", "model.safetensors.index.json")
_WEIGHTS: Final = frozenset({".safetensors", ".bin", ".pt", ".pth"})
_SAMPLE_BYTES: Final = 16 << 10
_SAMPLES: Final = 16
"""Stretches read of each file of weights, the first one being its header: fine-tunes of one model differ in them even
where sizes and times are the same."""
_DIGITS: Final = 16
_LONGEST_NAME: Final = 100
"""Characters: file systems take 255 bytes, and the fingerprint goes behind it."""
_OWN: Final = re.compile(rf".+-[0-9a-f]{{{_DIGITS}}}")


def folder_for(parent: Path, name: str, model: Path, rows: int = 1) -> Path:
    """The folder in `parent` for the weights of the checkpoint in `model`. Nothing is made.

    Other weights, another configuration or files written anew have another folder; a checkpoint that was moved keeps
    its own.

    Args:
        name: for people who look at the folder.
        rows: of the mesh: tt_transformers goes by the number of chips, and 2x2 cuts weights otherwise than 1x4.
    Raises:
        ModelLoadError: the checkpoint cannot be read.
    """
    safe = re.sub(r"[^\w.-]", "_", name, flags=re.ASCII)[:_LONGEST_NAME]
    on_rows = f"-{rows}rows" if rows > 1 else ""
    return parent / f"{safe}{on_rows}-{_fingerprint(model)}"


def make(folder: Path) -> Path:
    """`folder`, made if it is not there.

    Raises:
        ModelLoadError: it cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ModelLoadError(
            f"Converted weights cannot be kept in {folder.parent} ({error.strerror}).",
            "Name a folder that can be written in TT_CACHE_PATH or [tt] cache_dir.",
        ) from error
    return folder


def shared_caches(parent: Path) -> list[Path]:
    """Folders in `parent` that hold converted weights under the card's name only: any model's."""
    try:
        children = sorted(child for child in parent.iterdir() if not _OWN.fullmatch(child.name))
        return [child for child in children if _holds_weights(child)]
    except OSError:  # Not there yet, or not ours to look into: then nothing was kept in it.
        return []


def _holds_weights(folder: Path) -> bool:
    patterns = ("tensor_cache*", "hf_rope/tensor_cache*")
    return folder.is_dir() and any(True for pattern in patterns for _ in folder.glob(pattern))


def _fingerprint(model: Path) -> str:
    digest = hashlib.sha256()
    try:
        for file in sorted(model.iterdir()):
            if file.name in _DESCRIPTIONS:
                digest.update(f"{file.name}\0".encode() + hashlib.sha256(file.read_bytes()).digest())
            elif file.suffix in _WEIGHTS:
                stat = file.stat()
                digest.update(f"{file.name}\0{stat.st_size}\0{stat.st_mtime_ns}\0".encode())
                for sample in _samples(file, stat.st_size):
                    digest.update(sample)
    except OSError as error:
        raise ModelLoadError(
            f"{error.filename or model} cannot be read ({error.strerror}).",
            "Check the file's permissions, or fetch the model again (`ttchat-tui models pull`).",
        ) from error
    return digest.hexdigest()[:_DIGITS]


def _samples(file: Path, size: int) -> Iterator[bytes]:
    """Stretches of a file, spread evenly: its beginning is among them, and its end."""
    last = max(0, size - _SAMPLE_BYTES)
    with file.open("rb") as stream:
        for index in range(_SAMPLES):
            stream.seek(last * index // (_SAMPLES - 1))
            yield stream.read(_SAMPLE_BYTES)
