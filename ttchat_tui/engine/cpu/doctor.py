"""The CPU engine's lines of `doctor`."""

from __future__ import annotations

import importlib.util
import platform
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from ttchat_tui.domain.given_settings import setting
from ttchat_tui.domain.installation import install_command
from ttchat_tui.domain.telemetry import SYSTEM_ROOT
from ttchat_tui.engine.cpu.native import build
from ttchat_tui.engine.declaration import DoctorRequest
from ttchat_tui.engine.doctor import Check, version_of

PACKAGES: Final = ("torch", "tokenizers", "gguf", "safetensors", "numpy")


def checks(request: DoctorRequest) -> Iterator[Check]:
    """The engine's packages, and the compiler for its decode kernel."""
    yield _packages(request)
    yield _compiler(request.environ)


def _packages(request: DoctorRequest) -> Check:
    missing = [name for name in PACKAGES if version_of(name) is None]
    found = ", ".join(f"{name} {version_of(name)}" for name in PACKAGES if name not in missing)
    if not missing:
        return Check("cpu engine", "ok", found)
    has_another = _has_another(request.environ)
    # tt-metal's own venv has all that a card needs, and no reader of GGUF files.
    is_enough = missing == ["gguf"] and has_another
    return Check(
        "cpu engine",
        "wrong" if request.is_chosen or not has_another else "note",
        f"not installed: {', '.join(missing)}" + (f" (installed: {found})" if found else ""),
        f"{install_command('gguf')}, for GGUF files on the CPU"
        if is_enough
        else install_command("ttchat-tui[cpu]"),
    )


def _has_another(environ: Mapping[str, str]) -> bool:
    """Whether models can run on a Tenstorrent card here, so that nobody needs this engine."""
    card = Path(environ.get(SYSTEM_ROOT) or "/") / "dev/tenstorrent"
    return card.exists() or importlib.util.find_spec("ttnn") is not None


def _compiler(environ: Mapping[str, str]) -> Check:
    machine = platform.machine()
    if machine.lower() in build.UNMEASURED:
        fact = f"torch's own; the compiled one was never measured on {machine}"
        return Check("decode kernel", "ok", fact, setting("cpu.kernel", '"on"') + " uses it.")
    if machine.lower() not in build.MACHINES:
        return Check("decode kernel", "ok", f"torch's own; the compiled kernel does not support {machine}")
    command = build.compiler(environ)
    if command is None:
        fact = "no C compiler on the PATH: 4-bit models run at about half their speed"
        cure = (
            f"Debian and Ubuntu: sudo apt install gcc. Without root: {install_command('ttchat-tui[kernel]')}."
        )
        return Check("decode kernel", "note", fact, cure)
    return Check("decode kernel", "ok", f"compiled for this processor by {build.name_of(command)}")
