"""Model files on disk: which to load, and whether they are complete."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

import msgspec

from ttchat_tui.domain.decoding import decodable
from ttchat_tui.domain.shards import shards_of
from ttchat_tui.domain.special_files import special_file

GGUF_MAGIC: Final = b"GGUF"
LFS_POINTER: Final = b"version https://git-lfs"
"""Start of the pointer file that git leaves in place of a large file it did not fetch."""

INDEX: Final = "model.safetensors.index.json"


class _ShardIndex(msgspec.Struct):
    weight_map: dict[str, str]
    """Tensor name → file name, as transformers writes it."""


def find_weights(path: Path) -> Path:
    """The .gguf file or safetensors folder at `path`.

    Of a folder without safetensors and with exactly one .gguf model: that file. Of a model in shards: its first file.

    Raises:
        ValueError: with the end of a sentence (`has no config.json`).
    """
    if os.path.isdir(path):
        ggufs = sorted({shards_of(file)[0] for file in path.glob("*.gguf")})
        if len(ggufs) != 1 or any(path.glob("*.safetensors")):
            _check_folder(path, ggufs)
            return path
        path = ggufs[0]
    shards = shards_of(path)
    if not os.path.isfile(path) and not any(shard.is_file() for shard in shards):
        what = special_file(path)
        raise ValueError(f"is {what}" if what else "does not exist")
    for shard in shards:
        if not shard.is_file():
            raise ValueError(f"is one of {len(shards)} files, of which {shard.name} is missing")
        _check_gguf(shard)
    return shards[0]


def size_on_disk(path: Path) -> int:
    """Bytes of a file and its other shards, or of all files below a folder (links followed: the hub's cache is made of them)."""
    if path.is_file():
        return sum(shard.stat().st_size for shard in shards_of(path) if shard.is_file())
    return sum(file.stat().st_size for file in path.rglob("*") if file.is_file())


def _check_folder(folder: Path, ggufs: list[Path]) -> None:
    if not (folder / "config.json").is_file():
        names = f": {', '.join(file.name for file in ggufs)}; name one of them" if ggufs else ""
        raise ValueError(
            f"has {'several .gguf files' if ggufs else 'neither config.json nor a .gguf file'}{names}"
        )
    if not any(folder.glob("tokenizer*")):
        raise ValueError("has no tokenizer")
    shards = _shards(folder)
    if not shards:
        raise ValueError("has no .safetensors weights")
    for name in shards:
        if not (folder / name).is_file():
            raise ValueError(f"lacks {name}")
        if _head(folder / name, len(LFS_POINTER)) == LFS_POINTER:
            raise ValueError(f"has a git-lfs pointer in place of {name}; `git lfs pull` fetches the file")


def _shards(folder: Path) -> list[str]:
    """Names of the weight files the folder should have."""
    if not (folder / INDEX).is_file():
        return [file.name for file in sorted(folder.glob("*.safetensors"))]
    try:
        index = msgspec.json.decode((folder / INDEX).read_bytes(), type=decodable(_ShardIndex))
    except (msgspec.DecodeError, OSError) as error:
        raise ValueError(f"has a broken {INDEX} ({error})") from error
    return sorted(set(index.weight_map.values()))


def _check_gguf(path: Path) -> None:
    head = _head(path, len(LFS_POINTER))
    if head == LFS_POINTER:
        raise ValueError("is a git-lfs pointer; `git lfs pull` fetches the file itself")
    if not head.startswith(GGUF_MAGIC):
        raise ValueError("is not a GGUF file")


def _head(path: Path, size: int) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(size)
    except OSError as error:
        raise ValueError(f"cannot be read ({error.strerror})") from error
