"""Compilation of the C sources of this folder, once for each machine, and loading of the library. Needs a C compiler.

The file name is a digest of sources, compiler and processor: a change of any of them compiles again, and machines may share
a folder. A file that was changed since it was compiled is replaced (`sealed.py`).
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import hashlib
import importlib.util
import logging
import os
import platform
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

from ttchat_tui.engine.cpu.native.sealed import NotPrivate, fault_of, install, require_private, seal

_log = logging.getLogger(__name__)

_HERE: Final = Path(__file__).parent
_SOURCE: Final = "decode.c"
# Products and sums keep the order of the source. NaN is not checked for: weights without NaN produce none.
_FLAGS: Final = (
    "-std=gnu11", "-O3", "-fPIC", "-shared", "-pthread",
    "-fno-math-errno", "-fno-trapping-math", "-fno-signed-zeros", "-ffinite-math-only",
)  # fmt: skip
MACHINES: Final = ("x86_64", "amd64")
"""Names in `platform.machine` of the processors that lanes.h supports."""
UNMEASURED: Final = ("aarch64", "arm64")
"""Those that lanes_neon.h supports: tested in emulation, so only by `kernel = "on"`."""
_COMPILERS: Final = ("cc", "gcc", "clang")
ZIG: Final = "ziglang"
"""A package that has a C compiler, clang with its own libraries, in a wheel: the extra `kernel`."""
_TIMEOUT_S: Final = 120.0
_SCRATCH: Final = "compiling-"
_ABANDONED_S: Final = 3600.0
_ROOM_BYTES: Final = 1 << 20
"""If a compiler fails with less free space than this, the space is the likely cause."""
_CPUINFO: Final = Path("/proc/cpuinfo")


class Unavailable(Exception):
    """There is no compiled kernel on this machine; `str()` is the reason, as a clause."""


def compiler(environ: Mapping[str, str]) -> tuple[str, ...] | None:
    """The C compiler as a command: `CC`, else the first usual one on the PATH, else that of the package `ziglang`.

    None if there is none.
    """
    try:
        configured = shlex.split(environ.get("CC", ""))
    except ValueError:  # An unclosed quote.
        return None
    for name in [configured[0]] if configured else _COMPILERS:
        if found := shutil.which(name, path=environ.get("PATH")):
            return (found, *configured[1:])
    if not configured and importlib.util.find_spec(ZIG):
        return (sys.executable, "-m", ZIG, "cc")
    return None


def name_of(command: Sequence[str]) -> str:
    """What to call a compiler."""
    return f"{ZIG}, from the package index" if ZIG in command else command[0]


def is_possible(environ: Mapping[str, str], *, is_asked_for: bool = False) -> bool:
    """Whether this machine may have the kernel: its processor is supported, and there is a compiler. Arguments as for `load`."""
    return _is_supported(is_asked_for) and compiler(environ) is not None


def load(
    folder: Path,
    environ: Mapping[str, str],
    processor: str = "native",
    compiling: Callable[[], None] = lambda: None,
    refused: Callable[[str], None] = lambda reason: None,
    *,
    is_asked_for: bool = False,
) -> ctypes.CDLL:
    """Load the library from `folder`; compile it first, in a few seconds, if it is missing or was changed.

    If `folder` cannot be trusted or written, the library is compiled into a temporary folder for this process only.

    Args:
        processor: the value of `-march`; `native` is this machine.
        compiling: called before compiling.
        refused: called with a sentence if `folder` is not used.
        is_asked_for: also on processors on which it was not measured.
    Raises:
        Unavailable: there is no compiler, the processor is not x86-64, or compiling fails.
    """
    if not _is_supported(is_asked_for):
        raise Unavailable(f"it needs x86-64, and this machine is {platform.machine()}")
    command = compiler(environ)
    if command is None:
        raise Unavailable("there is no C compiler (cc, gcc or clang) on the PATH, and no package ziglang")
    full = (*command, f"-march={processor}")
    try:
        name = f"decode-{_digest(command, processor)}.so"
        try:
            require_private(folder)
            return _load_or_compile(folder / name, full, compiling)
        except (NotPrivate, OSError) as reason:
            refused(f"The compiled decode kernel is not saved: {_words(reason)}.")
        with tempfile.TemporaryDirectory(prefix="ttchat-kernel-") as private:
            return _load_or_compile(Path(private) / name, full, compiling)
    except OSError as error:
        raise Unavailable(_words(error)) from error


def _is_supported(is_asked_for: bool) -> bool:
    return platform.machine().lower() in (*MACHINES, *(UNMEASURED if is_asked_for else ()))


def _load_or_compile(path: Path, command: Sequence[str], compiling: Callable[[], None]) -> ctypes.CDLL:
    try:
        fault = fault_of(path)
    except FileNotFoundError:
        fault = "there is none yet"
    except OSError as error:
        fault = str(error)
    if fault:
        _log.info("Compiling the kernel: %s.", fault)
        compiling()
        _compile(command, path)
    try:
        return ctypes.CDLL(str(path))
    except OSError:
        path.unlink(missing_ok=True)  # Intact, but not a library: the next load compiles again.
        raise


def _digest(command: Sequence[str], processor: str) -> str:
    version = _run([*command, "--version"])
    digest = hashlib.sha256()
    for part in (
        *(file.read_bytes() for file in _sources()),
        *(flag.encode() for flag in (*command, processor, *_FLAGS)),
    ):
        digest.update(part)
    digest.update(version.stdout.encode())
    digest.update(_processor())
    return digest.hexdigest()[:16]


def _sources() -> list[Path]:
    return sorted(file for file in _HERE.iterdir() if file.suffix in (".c", ".h"))


def _processor() -> bytes:
    """What `-march=native` depends on."""
    try:
        lines = _CPUINFO.read_bytes().splitlines()
    except OSError:
        return platform.processor().encode()
    return b"\n".join(sorted({line for line in lines if line.startswith((b"flags", b"model name"))}))


def _compile(command: Sequence[str], path: Path) -> None:
    """Compile to a temporary name, then rename: processes that compile at the same time do not collide."""
    _tidy(path.parent)
    handle, scratch = tempfile.mkstemp(dir=path.parent, prefix=_SCRATCH, suffix=".so")
    os.close(handle)
    try:
        run = _run([*command, *_FLAGS, str(_HERE / _SOURCE), "-o", scratch, "-lm"])
        if run.returncode != 0:
            if shutil.disk_usage(path.parent).free < _ROOM_BYTES:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path.parent))
            raise Unavailable(f"{name_of(command)} does not compile it: {_first_error(run.stderr)}")
        seal(Path(scratch))
        install(Path(scratch), path)
    finally:
        Path(scratch).unlink(missing_ok=True)


def _tidy(folder: Path) -> None:
    """Remove files that were left by processes killed while compiling."""
    for file in folder.glob(f"{_SCRATCH}*"):
        with contextlib.suppress(FileNotFoundError):  # Another process removed it.
            if time.time() - file.stat().st_mtime > _ABANDONED_S:
                file.unlink()


def _run(command: Sequence[str]) -> subprocess.CompletedProcess[str]:
    """
    Raises:
        Unavailable: the compiler takes too long.
        OSError: the compiler cannot be started.
    """
    with subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        encoding="utf-8",
        errors="replace",
        start_new_session=True,
    ) as process:
        try:
            output, errors = process.communicate(timeout=_TIMEOUT_S)
        except subprocess.TimeoutExpired as error:
            os.killpg(process.pid, signal.SIGKILL)  # Its children too, or `Popen` would wait for them.
            raise Unavailable(f"{name_of(command)} takes more than {_TIMEOUT_S:g} s") from error
    return subprocess.CompletedProcess(command, process.returncode, output, errors)


def _words(reason: Exception) -> str:
    if isinstance(reason, OSError) and reason.strerror:
        return f"{reason.filename}: {reason.strerror}" if reason.filename else reason.strerror
    return str(reason).rstrip(".")


def _first_error(output: str) -> str:
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    return next((line for line in lines if "error" in line), lines[0] if lines else "it prints no reason")
