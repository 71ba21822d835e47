"""A header that claims more than any model has is refused before it fills the memory. Such files may be sparse: they cost their
makers nothing."""

from __future__ import annotations

import os
import random
import struct
import tracemalloc
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from tests.engine.cpu.raw_gguf import gguf_bytes, tiny_metadata, tiny_tensors
from tests.engine.cpu.tiny_models import build, save
from tests.size import sized
from ttchat_tui.engine.base import ModelLoadError
from ttchat_tui.engine.cpu.checkpoints.gguf_file import GgufFile
from ttchat_tui.engine.cpu.checkpoints.safetensors_file import SafetensorsFolder
from ttchat_tui.engine.text.tokenizer_folder import template_from_folder, tokenizer_from_folder
from ttchat_tui.models.weights import find_weights, is_incomplete

FILE, MEMORY = 2**33, 2**25
"""Bytes."""


def grow(path: Path, start: bytes) -> Path:
    """A sparse file."""
    path.write_bytes(start)
    os.truncate(path, FILE)
    return path


def within_memory(action: Callable[[], object]) -> None:
    tracemalloc.start()
    try:
        action()
        assert tracemalloc.get_traced_memory()[1] < MEMORY
    finally:
        tracemalloc.stop()


def field(kind: int, *more: bytes) -> bytes:
    """A header with the one field `a`."""
    return b"GGUF" + struct.pack("<IQQQ", 3, 1, 1, 1) + b"a" + struct.pack("<I", kind) + b"".join(more)


GGUF = {
    "fields": b"GGUF" + struct.pack("<IQQ", 3, 1, 2**40),
    "tensors": b"GGUF" + struct.pack("<IQQ", 3, 2**40, 0),
    "a key": b"GGUF" + struct.pack("<IQQQ", 3, 1, 1, 2**32),
    "a string": field(8, struct.pack("<Q", 2**32)),
    "strings": field(9, struct.pack("<IQ", 8, 2**40)),
    "numbers": field(9, struct.pack("<IQ", 0, 2**32)),
    "lists": field(9, struct.pack("<IQ", 9, 2**40)),
}


@pytest.mark.parametrize("what", GGUF)
def test_a_gguf_header_without_measure_is_refused_at_once(what: str, tmp_path: Path) -> None:
    path = grow(tmp_path / "x.gguf", GGUF[what])

    def read() -> None:
        assert find_weights(path) == path
        is_incomplete(path)
        with pytest.raises(ModelLoadError, match=r"the file is damaged|is damaged or truncated"):
            GgufFile(path)

    within_memory(read)


def test_a_safetensors_header_without_measure_is_refused_at_once(tmp_path: Path) -> None:
    save(build("llama"), tmp_path)
    grow(tmp_path / "model.safetensors", struct.pack("<Q", 2**32) + b"{")

    def read() -> None:
        find_weights(tmp_path)
        with pytest.raises(ModelLoadError, match="claims a header of 4,294,967,296 bytes"):
            SafetensorsFolder(tmp_path)

    within_memory(read)


def open_folder(folder: Path) -> None:
    tokenizer_from_folder(folder)
    template_from_folder(folder)
    SafetensorsFolder(folder)


@pytest.mark.parametrize(
    "name",
    ["config.json", "tokenizer.json", "tokenizer_config.json", "generation_config.json", "chat_template.jinja",
     "special_tokens_map.json", "model.safetensors.index.json"],
)  # fmt: skip
def test_a_text_without_measure_is_refused_at_once(name: str, tmp_path: Path) -> None:
    save(build("llama"), tmp_path)
    grow(tmp_path / name, b"{")

    def read() -> None:
        with suppress(ValueError):  # `find_weights` names the index.
            find_weights(tmp_path)
        with pytest.raises(ModelLoadError, match=rf"{name} has {FILE:,} bytes"):
            open_folder(tmp_path)

    within_memory(read)


def test_a_header_with_any_bytes_changed_makes_a_model_or_a_refusal(tmp_path: Path) -> None:
    """Bits, sizes, types and offsets; nothing else is raised, and no memory is filled."""
    whole, draw = gguf_bytes(tiny_metadata(), tiny_tensors()), random.Random(3)
    sizes = [0, 1, 8, 255, 2**16, 2**31, 2**32 - 1, 2**40, 2**63, 2**64 - 1]
    path = tmp_path / "x.gguf"

    def read() -> None:
        with suppress(ModelLoadError):
            GgufFile(path).close()

    for _ in range(sized(300, 20_000)):
        data = bytearray(whole)
        for _ in range(draw.randint(1, 3)):
            at = draw.randrange(len(data) - 8)
            match draw.randrange(3):
                case 0:
                    data[at] ^= 1 << draw.randrange(8)
                case 1:
                    data[at : at + 8] = struct.pack("<Q", draw.choice(sizes))
                case _:
                    del data[at : at + draw.choice([1, 4, 100])]
        path.write_bytes(data)
        within_memory(read)
