"""sfpi, the compiler for the card's kernels: ttnn's wheel does not hold it, and wants one release of it."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from ttchat_tui.engine.doctor import Check
from ttchat_tui.engine.tenstorrent.environment import Checkout
from ttchat_tui.engine.tenstorrent.telemetry import System

RELEASES: Final = "https://github.com/tenstorrent/sfpi/releases"
_COMPILERS: Final = (
    "compiler/bin/riscv-tt-elf-g++",
    "compiler/bin/riscv32-tt-elf-g++",
    "compiler/bin/riscv32-unknown-elf-g++",
)
_WANTED: Final = re.compile(r"^sfpi_version='?v?([\d.]+)", re.MULTILINE)
_PRINTED: Final = re.compile(r"sfpi:v?(\d+(?:\.\d+)+)")
"""In the compiler's `--version`: `riscv-tt-elf-g++ (tenstorrent/sfpi:7.69.0[822]) 15.1.0`."""
_VERSION_TIMEOUT_S: Final = 5.0


def sfpi_check(system: System, environ: Mapping[str, str], checkout: Checkout | None) -> Check:
    """Whether the compiler is where ttnn looks for it, in the release that it was made with."""
    roots = _roots(environ, checkout)
    places = [*(root / "runtime/sfpi" for root in roots), system.root / "opt/tenstorrent/sfpi"]
    wanted = next((version for root in roots if (version := _wanted(root))), "")
    release = f"release {wanted}" if wanted else "the release of your ttnn"
    cure = f"Install {release} (a .deb or .rpm): {RELEASES}"
    compiler = next(
        (file for place in places for name in _COMPILERS if (file := place / name).is_file()), None
    )
    if compiler is None:
        return Check("sfpi", "wrong", f"not found in {' or '.join(map(str, places))}", cure)
    found, place = _found(compiler), compiler.parents[2]
    if found and found == wanted:
        return Check("sfpi", "ok", f"{found} in {place}, the release of this ttnn")
    if not wanted:
        return Check("sfpi", "ok", f"{found or 'of an unknown release'} in {place}")
    return Check(
        "sfpi", "note", f"{found or 'of an unknown release'} in {place}; this ttnn wants {wanted}", cure
    )


def _roots(environ: Mapping[str, str], checkout: Checkout | None) -> list[Path]:
    """Roots of tt-metal's own files, as ttnn looks for them: the named ones, the wheel, the checkout."""
    named = [environ.get("TT_METAL_RUNTIME_ROOT", ""), environ.get("TT_METAL_HOME", "")]
    spec = importlib.util.find_spec("ttnn")
    wheel = list(spec.submodule_search_locations or ()) if spec is not None else []
    found = [*named, *wheel, str(checkout.root) if checkout is not None else ""]
    return [Path(root) for root in dict.fromkeys(each for each in found if each)]


def _wanted(root: Path) -> str:
    """The release that tt-metal at `root` was made with; empty if it does not say."""
    match = _WANTED.search(_text(root / "tt_metal/sfpi-version"))
    return match[1] if match else ""


def _found(compiler: Path) -> str:
    """The release of an installed compiler, from the file beside it or from itself; empty if neither says."""
    if version := _text(compiler.parents[2] / "sfpi.version").strip().lstrip("v"):
        return version
    try:
        printed = subprocess.run(
            [os.fspath(compiler), "--version"],
            capture_output=True,
            text=True,
            errors="replace",
            stdin=subprocess.DEVNULL,
            timeout=_VERSION_TIMEOUT_S,
            check=False,
        ).stdout
    except (OSError, subprocess.TimeoutExpired):
        return ""
    match = _PRINTED.search(printed)
    return match[1] if match else ""


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
