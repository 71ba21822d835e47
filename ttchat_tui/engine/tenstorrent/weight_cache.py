"""Cache folders for converted weights: one for each model.

tt_transformers only appends the card's name to TT_CACHE_PATH, names files by tensor, and ttnn loads a cached file without
checking its shape. If two models shared a folder, the second would run with the weights of the first.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from ttchat_tui.domain.given_settings import setting
from ttchat_tui.engine.base import ModelLoadError

_DESCRIPTIONS: Final = ("config.json", "model.safetensors.index.json")
_WEIGHTS: Final = frozenset({".safetensors", ".bin", ".pt", ".pth"})
_SAMPLE_BYTES: Final = 16 << 10
_SAMPLES: Final = 16
"""Samples read from each weights file, the first being its header. Fine-tunes of one model differ in them even if sizes and
times are equal."""
_DIGITS: Final = 16
_LONGEST_NAME: Final = 100
"""Characters. File systems allow 255 bytes, and the fingerprint follows the name."""
_OWN: Final = re.compile(rf".+-[0-9a-f]{{{_DIGITS}}}")


def folder_for(parent: Path, name: str, model: Path, rows: int = 1) -> Path:
    """The folder in `parent` for the weights of the checkpoint in `model`. It is not created.

    Other weights, another configuration or rewritten files get another folder; a checkpoint that was moved keeps its own.

    Args:
        name: for people who look at the folder.
        rows: of the mesh. tt_transformers only knows the number of chips, but 2x2 splits weights in another way than 1x4.
    Raises:
        ModelLoadError: the checkpoint cannot be read.
    """
    safe = re.sub(r"[^\w.-]", "_", name, flags=re.ASCII)[:_LONGEST_NAME]
    on_rows = f"-{rows}rows" if rows > 1 else ""
    return parent / f"{safe}{on_rows}-{_fingerprint(model)}"


def make(folder: Path) -> Path:
    """`folder`, created if it does not exist.

    Raises:
        ModelLoadError: it cannot be created.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ModelLoadError(
            f"Converted weights cannot be kept in {folder.parent} ({error.strerror}).",
            f"Set TT_CACHE_PATH or {setting('tt.cache_dir')} to a writable folder.",
        ) from error
    return folder


def shared_caches(parent: Path) -> list[Path]:
    """Folders in `parent` with converted weights of an unknown model: only the card's name identifies them."""
    try:
        children = sorted(child for child in parent.iterdir() if not _OWN.fullmatch(child.name))
        return [child for child in children if _holds_weights(child)]
    except OSError:  # It does not exist yet, or is not readable.
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
    """Samples of a file at even distances, including its start and its end."""
    last = max(0, size - _SAMPLE_BYTES)
    with file.open("rb") as stream:
        for index in range(_SAMPLES):
            stream.seek(last * index // (_SAMPLES - 1))
            yield stream.read(_SAMPLE_BYTES)
