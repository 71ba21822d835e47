"""The CPU engine's lines of `doctor`."""

from __future__ import annotations

import importlib.util
import platform
from collections.abc import Iterator, Mapping
from typing import Final

from ttchat_tui.engine.cpu.native import build
from ttchat_tui.engine.declaration import DoctorRequest
from ttchat_tui.engine.doctor import Check, version_of

PACKAGES: Final = ("torch", "tokenizers", "gguf", "safetensors", "numpy")


def checks(request: DoctorRequest) -> Iterator[Check]:
    """The engine's packages, and the compiler for its decode kernel."""
    yield _packages()
    yield _compiler(request.environ)


def _packages() -> Check:
    missing = [name for name in PACKAGES if version_of(name) is None]
    found = ", ".join(f"{name} {version_of(name)}" for name in PACKAGES if name not in missing)
    if not missing:
        return Check("cpu engine", "ok", found)
    # tt-metal's own venv has all that a card needs, and no reader of GGUF files.
    is_enough = missing == ["gguf"] and importlib.util.find_spec("ttnn") is not None
    return Check(
        "cpu engine",
        "note" if is_enough else "wrong",
        f"not installed: {', '.join(missing)}" + (f" (installed: {found})" if found else ""),
        "pip install gguf, for GGUF files on the CPU" if is_enough else "pip install 'ttchat-tui[cpu]'",
    )


def _compiler(environ: Mapping[str, str]) -> Check:
    machine = platform.machine()
    if machine.lower() not in build.MACHINES:
        return Check("decode kernel", "ok", f"torch's own; the compiled kernel does not support {machine}")
    command = build.compiler(environ)
    if command is None:
        fact = "no C compiler on the PATH: 4-bit models run at about half their speed"
        return Check("decode kernel", "note", fact, "Debian and Ubuntu: sudo apt install gcc; or set CC.")
    return Check("decode kernel", "ok", f"compiled for this processor by {command[0]}")
