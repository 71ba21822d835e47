"""Model files on disk: which to load, and whether they are complete."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Final

import msgspec

from ttchat_tui.domain.decoding import decodable
from ttchat_tui.domain.model_files import (
    LARGEST_TEXT,
    LFS_POINTER,
    LONGEST_SAFETENSORS_HEADER,
    SINGLE_FILE,
    is_index_stale,
    without_safetensors,
)
from ttchat_tui.domain.shards import shards_of
from ttchat_tui.domain.special_files import special_file
from ttchat_tui.models.gguf_head import is_truncated, what_else

GGUF_MAGIC: Final = b"GGUF"
INDEX: Final = "model.safetensors.index.json"
_CUT: Final = re.compile(r"\.gguf[.-](part\d+of\d+|split-[a-z]+)$", re.IGNORECASE)
"""How files above the hub's limit of 50 GB are cut. Shards, in contrast, are files of their own."""
_LENGTH: Final = 8
"""Bytes of the length that opens a safetensors file."""


class _ShardIndex(msgspec.Struct):
    weight_map: dict[str, str]
    """Tensor name → file name, as transformers writes it."""


class _Entry(msgspec.Struct):
    """What the header of a safetensors file says of a tensor; its entry `__metadata__` has no offsets."""

    data_offsets: tuple[int, int] = (0, 0)
    """From the end of the header."""


def find_weights(path: Path) -> Path:
    """The .gguf file or safetensors folder at `path`.

    Of a folder without safetensors and with exactly one .gguf file that is a model: that file. Of a model in shards: its first file.

    Raises:
        ValueError: with the end of a sentence (`has no config.json`).
    """
    if os.path.isdir(path):
        files = (file for file in path.glob("*.gguf") if not what_else(file))
        ggufs = sorted({shards_of(file)[0] for file in files})
        if len(ggufs) != 1 or any(path.glob("*.safetensors")):
            _check_folder(path, ggufs)
            return path
        path = ggufs[0]
    shards = shards_of(path)
    if not os.path.isfile(path) and not any(os.path.isfile(shard) for shard in shards):
        what = special_file(path)
        raise ValueError(f"is {what}" if what else "does not exist")
    for shard in shards:
        if not shard.is_file():
            raise ValueError(f"is one of {len(shards)} files, of which {shard.name} is missing")
        _check_gguf(shard)
    return shards[0]


def is_incomplete(path: Path) -> bool:
    """Whether a .gguf file that `find_weights` has found, or another of its shards, is shorter than its header says. Reads the
    headers, which takes up to a tenth of a second; of folders `find_weights` has checked that."""
    return path.is_file() and any(map(is_truncated, shards_of(path)))


def size_on_disk(path: Path) -> int:
    """Bytes of a file and its other shards, or of all files below a folder (links followed: the hub's cache is made of them)."""
    if path.is_file():
        return sum(shard.stat().st_size for shard in shards_of(path) if shard.is_file())
    return sum(file.stat().st_size for file in path.rglob("*") if file.is_file())


def _check_folder(folder: Path, ggufs: list[Path]) -> None:
    if (folder / "adapter_config.json").is_file() and not (folder / "config.json").is_file():
        raise ValueError("is an adapter (LoRA), which needs the model that it was trained for")
    if not (folder / "config.json").is_file():
        names = f": {', '.join(file.name for file in ggufs)}; name one of them" if ggufs else ""
        raise ValueError(
            f"has {'several .gguf files' if ggufs else 'neither config.json nor a .gguf file'}{names}"
        )
    if not any(folder.glob("tokenizer*")):
        raise ValueError("has no tokenizer")
    shards = _shards(folder)
    if not shards:
        raise ValueError(without_safetensors([file.name for file in folder.iterdir()]))
    for name in shards:
        if not (folder / name).is_file():
            raise ValueError(f"lacks {name}")
        if _head(folder / name, len(LFS_POINTER)) == LFS_POINTER:
            raise ValueError(f"has a git-lfs pointer in place of {name}; `git lfs pull` fetches the file")
        _check_whole(folder / name)


def _shards(folder: Path) -> list[str]:
    """Names of the weight files the folder should have."""
    if not (folder / INDEX).is_file():
        return [file.name for file in sorted(folder.glob("*.safetensors"))]
    if (folder / INDEX).stat().st_size > LARGEST_TEXT:
        raise ValueError(f"has a broken {INDEX} (it is too large)")
    try:
        index = msgspec.json.decode((folder / INDEX).read_bytes(), type=decodable(_ShardIndex))
    except (msgspec.DecodeError, OSError) as error:
        raise ValueError(f"has a broken {INDEX} ({error})") from error
    named = set(index.weight_map.values())
    if is_index_stale(named, [file.name for file in folder.glob(SINGLE_FILE)]):
        return [SINGLE_FILE]
    return sorted(named)


def _check_whole(path: Path) -> None:
    """Raises ValueError if a safetensors file is shorter than its header says. A damaged header is the engine's to explain."""
    size = path.stat().st_size
    with path.open("rb") as file:
        length = int.from_bytes(file.read(_LENGTH), "little")
        header = file.read(length) if length < min(size, LONGEST_SAFETENSORS_HEADER) else b""
    try:
        entries = msgspec.json.decode(header, type=decodable(dict[str, _Entry]))
    except msgspec.DecodeError:
        return
    end = max((entry.data_offsets[1] for entry in entries.values()), default=0)
    if _LENGTH + length + end > size:
        raise ValueError(f"has a truncated {path.name}: download it again")


def _check_gguf(path: Path) -> None:
    if _CUT.search(path.name):
        raise ValueError(
            "is a part of a file that was cut for its upload: join the parts in order with `cat`"
        )
    head = _head(path, len(LFS_POINTER))
    if head == LFS_POINTER:
        raise ValueError("is a git-lfs pointer; `git lfs pull` fetches the file itself")
    if not head.startswith(GGUF_MAGIC):
        raise ValueError("is not a GGUF file")
    if what := what_else(path):
        raise ValueError(f"is {what}")


def _head(path: Path, size: int) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(size)
    except OSError as error:
        raise ValueError(f"cannot be read ({error.strerror})") from error
