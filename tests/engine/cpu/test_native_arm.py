"""The compiled kernel's NEON on an emulated processor: products have the same bits as on x86, and attention over 8-bit keys and
values is exact. Skipped without a cross compiler and qemu."""

from __future__ import annotations

import shutil
import struct
import subprocess
from pathlib import Path
from typing import Final

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.engine.cpu.native_kernel import kernel
from tests.engine.cpu.test_native_formats import TYPES, drawn, product, random_part
from ttchat_tui.engine.cpu.native import build
from ttchat_tui.engine.cpu.native.library import MAX_ROWS
from ttchat_tui.engine.cpu.native.tiles import TYPE_NUMBERS

_COMPILER, _EMULATOR = shutil.which("aarch64-linux-gnu-gcc"), shutil.which("qemu-aarch64")
_OUTPUTS, _ROWS = 64, MAX_ROWS + 3
_SPEED: Final = ("-O0", "-static")
"""Compiling takes longer than running, and qemu has no libraries of the processor."""

pytestmark = pytest.mark.skipif(
    _COMPILER is None or _EMULATOR is None, reason="aarch64-linux-gnu-gcc or qemu-aarch64 is missing"
)


@pytest.mark.parametrize("processor", ["armv8.2-a+dotprod", "armv8.6-a"])
def test_neon_gives_the_same_bits(processor: str, tmp_path: Path) -> None:
    program = _compiled("products.c", processor, tmp_path)
    parts, x = [random_part(kind, _OUTPUTS, 6) for kind in TYPES], drawn(_ROWS)
    requests = b"".join(
        struct.pack("<5i", TYPE_NUMBERS[part.kind], *part.shape, _ROWS, len(part.data))
        + part.data.tobytes()
        + x.tobytes()
        for part in parts
    )
    found = _answer(program, requests).reshape(len(parts), _ROWS, _OUTPUTS)
    library = kernel()
    for part, products in zip(parts, found, strict=True):
        np.testing.assert_array_equal(products, product(library, library.pack([part]), x), part.kind)


@pytest.mark.parametrize(("heads", "size", "positions"), [(3, 64, 300), (2, 96, 31), (1, 256, 33)])
def test_neon_attends_to_8_bit_keys_and_values(heads: int, size: int, positions: int, tmp_path: Path) -> None:
    generator = np.random.default_rng(positions)
    q = generator.standard_normal((heads, size)).astype(np.float32)
    # Numbers that codes hold exactly: whole ones up to 127 for values; and for keys, one element in each run that is mixed.
    values = generator.integers(-127, 128, (positions, size)).astype(np.float32)
    values[:, 0] = 127
    keys = np.zeros((positions, size), np.float32)
    run = size & -size
    keys[np.arange(positions), np.arange(positions) % run] = generator.uniform(-1, 1, positions)
    program = _compiled("attention.c", "armv8.2-a+dotprod", tmp_path)
    request = struct.pack("<3i", heads, size, positions) + b"".join(x.tobytes() for x in (q, keys, values))
    found = _answer(program, request).reshape(heads, size)
    # A scale is a float16 number.
    keys = np.sign(keys) * 127 * (np.abs(keys) / 127).astype(np.float16).astype(np.float64)
    scores = q.astype(np.float64) @ keys.T
    weights = np.exp(scores - scores.max(axis=1, keepdims=True))
    expected = weights @ values / weights.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(found, expected, rtol=0, atol=127 * 2e-4)


def _compiled(source: str, processor: str, folder: Path) -> Path:
    program = folder / source.removesuffix(".c")
    sources = Path(build.__file__).parent
    flags = [flag for flag in build._FLAGS if flag not in ("-O3", "-shared", "-fPIC")]  # pyright: ignore[reportPrivateUsage]
    command = [str(_COMPILER), f"-march={processor}", *flags, *_SPEED, f"-I{sources}"]
    subprocess.run([*command, str(Path(__file__).with_name(source)), "-o", str(program), "-lm"], check=True)
    return program


def _answer(program: Path, request: bytes) -> NDArray[np.float32]:
    run = subprocess.run([str(_EMULATOR), str(program)], input=request, stdout=subprocess.PIPE, check=True)
    return np.frombuffer(run.stdout, np.float32)
