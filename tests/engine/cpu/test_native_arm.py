"""The compiled kernel's NEON on an emulated processor: the same bits as on x86. Skipped without a cross compiler and qemu."""

from __future__ import annotations

import shutil
import struct
import subprocess
from pathlib import Path
from typing import Final

import numpy as np
import pytest

from tests.engine.cpu.native_kernel import kernel
from tests.engine.cpu.test_native_formats import TYPES, drawn, product, random_part
from ttchat_tui.engine.cpu.native import build
from ttchat_tui.engine.cpu.native.tiles import TYPE_NUMBERS

_COMPILER, _EMULATOR = shutil.which("aarch64-linux-gnu-gcc"), shutil.which("qemu-aarch64")
_OUTPUTS, _ROWS = 64, 7
_SPEED: Final = ("-O0", "-static")
"""Compiling takes longer than running, and qemu has no libraries of the processor."""

pytestmark = pytest.mark.skipif(
    _COMPILER is None or _EMULATOR is None, reason="aarch64-linux-gnu-gcc or qemu-aarch64 is missing"
)


@pytest.mark.parametrize("processor", ["armv8.2-a+dotprod", "armv8.6-a"])
def test_neon_gives_the_same_bits(processor: str, tmp_path: Path) -> None:
    program = tmp_path / "products"
    source, sources = Path(__file__).with_name("products.c"), Path(build.__file__).parent
    flags = [flag for flag in build._FLAGS if flag not in ("-O3", "-shared", "-fPIC")]  # pyright: ignore[reportPrivateUsage]
    command = [str(_COMPILER), f"-march={processor}", *flags, *_SPEED, f"-I{sources}", str(source)]
    subprocess.run([*command, "-o", str(program), "-lm"], check=True)
    parts, x = [random_part(kind, _OUTPUTS, 6) for kind in TYPES], drawn(_ROWS)
    requests = b"".join(
        struct.pack("<5i", TYPE_NUMBERS[part.kind], *part.shape, _ROWS, len(part.data))
        + part.data.tobytes()
        + x.tobytes()
        for part in parts
    )
    answer = subprocess.run(
        [str(_EMULATOR), str(program)], input=requests, stdout=subprocess.PIPE, check=True
    )
    found = np.frombuffer(answer.stdout, np.float32).reshape(len(parts), _ROWS, _OUTPUTS)
    library = kernel()
    for part, products in zip(parts, found, strict=True):
        np.testing.assert_array_equal(products, product(library, library.pack([part]), x), part.kind)
