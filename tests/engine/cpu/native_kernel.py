"""The compiled decode kernel for tests: one for this machine's processor, one for AVX2, which most others have."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
from contextlib import suppress
from pathlib import Path

import pytest

from ttchat_tui.config.paths import find_paths
from ttchat_tui.engine.cpu.native import build, sealed
from ttchat_tui.engine.cpu.native.library import Library

PROCESSORS = ("native", "x86-64-v3")
KERNELS = find_paths(dict(os.environ)).kernels_dir
"""The user's: what is compiled once serves all test processes."""


def kernel_folder() -> Path:
    """With the kernel in it; skips the test where there is none."""
    kernel()
    return KERNELS


def kernel(processor: str = "native") -> Library:
    """Skips the test where there is none."""
    try:
        return Library(build.load(KERNELS, os.environ, processor))
    except build.Unavailable as reason:
        pytest.skip(f"no compiled kernel: {reason}")


def lend_kernel(cache: Path) -> None:
    """Put the user's kernels into a program's cache, where they are from its second start on."""
    with suppress(build.Unavailable):
        build.load(KERNELS, os.environ)
        shutil.copytree(KERNELS, cache / "kernels", dirs_exist_ok=True)


def remembering_compiler(folder: Path) -> str:
    """A command that compiles a kernel once for each set of flags and copies it from then on.

    It begins with those of the user's folder. A kernel takes seconds to compile; the tests are about what becomes of it.
    Skips the test without a C compiler.
    """
    command = build.compiler(os.environ)
    if command is None:
        pytest.skip("there is no C compiler here")
    for processor in PROCESSORS:
        _keep(folder, processor)
    path = folder / f"remembering-cc-{os.getpid()}"
    path.write_text(f"""#!/bin/sh
case "$*" in *-shared*decode.c*) ;; *) exec {shlex.join(command)} "$@" ;; esac
output=${{*#* -o }}
output=${{output% -lm}}
kept={shlex.quote(str(folder))}/$(printf %s "${{*%% -o *}}" | cksum | tr ' ' -).so
if [ ! -e "$kept" ]; then
    {shlex.join(command)} "$@" || exit
    cp "$output" "$kept.$$" && mv "$kept.$$" "$kept"
else
    cp "$kept" "$output"
fi
""")
    path.chmod(0o755)
    return str(path)


def _keep(folder: Path, processor: str) -> None:
    """Put the user's kernel, as it was before it was sealed, where the compiler keeps what `build` asks it for."""
    arguments = shlex.join((f"-march={processor}", *build._FLAGS, str(build._HERE / build._SOURCE)))  # pyright: ignore[reportPrivateUsage]
    key = subprocess.run(["cksum"], input=arguments, capture_output=True, text=True, check=True).stdout
    library = Path(build.load(KERNELS, os.environ, processor)._name)
    with suppress(FileNotFoundError):  # The user's folder is not used.
        copy = folder / f"copy-{os.getpid()}"
        copy.write_bytes(library.read_bytes()[: -sealed._SEAL_BYTES])  # pyright: ignore[reportPrivateUsage]
        copy.chmod(0o755)
        os.replace(copy, folder / f"{'-'.join(key.split())}.so")
