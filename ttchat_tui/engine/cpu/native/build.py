"""Compile the C of this folder for this machine, once, and load it: nothing but a C compiler is needed.

The result is kept under a name that stands for source, compiler and processor, so that a new version of any of them
compiles anew, and a folder that several machines share holds one for each. A file that is not as it was compiled is
replaced (`sealed.py`).
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import hashlib
import logging
import os
import platform
import shlex
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

from ttchat_tui.engine.cpu.native.sealed import NotOurs, fault_of, put, require_private, seal

_log = logging.getLogger(__name__)

_HERE: Final = Path(__file__).parent
_SOURCE: Final = "decode.c"
# Products and sums in the order that the source says; but no NaN is looked for, and none appears from weights without.
_FLAGS: Final = (
    "-std=gnu11", "-O3", "-fPIC", "-shared", "-pthread",
    "-fno-math-errno", "-fno-trapping-math", "-fno-signed-zeros", "-ffinite-math-only",
)  # fmt: skip
MACHINES: Final = ("x86_64", "amd64")
"""What `platform.machine` calls the processors that lanes.h is written for."""
_COMPILERS: Final = ("cc", "gcc", "clang")
_TIMEOUT_S: Final = 120.0
_SCRATCH: Final = "compiling-"
_ABANDONED_S: Final = 3600.0
_ROOM_BYTES: Final = 1 << 20
"""With less than that, a compiler that fails most probably had no room."""
_CPUINFO: Final = Path("/proc/cpuinfo")


class Unavailable(Exception):
    """There is no compiled kernel here; `str()` says why, in half a sentence."""


def compiler(environ: Mapping[str, str]) -> tuple[str, ...] | None:
    """The C compiler as a command: CC, else the first of the usual ones on the PATH; None where there is none."""
    try:
        wanted = shlex.split(environ.get("CC", ""))
    except ValueError:  # A quote that is not closed names none.
        return None
    for name in [wanted[0]] if wanted else _COMPILERS:
        if found := shutil.which(name, path=environ.get("PATH")):
            return (found, *wanted[1:])
    return None


def load(
    folder: Path,
    environ: Mapping[str, str],
    processor: str = "native",
    compiling: Callable[[], None] = lambda: None,
    refused: Callable[[str], None] = lambda reason: None,
) -> ctypes.CDLL:
    """The library from `folder`, compiled now if it is not there as it was compiled: some seconds.

    Where `folder` cannot be trusted or written, it is compiled into a temporary folder for this process alone.

    Args:
        processor: for `-march`: `native` is this machine's.
        compiling: called before it is compiled.
        refused: called with a sentence where `folder` is not used.
    Raises:
        Unavailable: no compiler, another processor than x86-64, or it does not compile.
    """
    if platform.machine().lower() not in MACHINES:
        raise Unavailable(f"it is written for x86-64, this is {platform.machine()}")
    command = compiler(environ)
    if command is None:
        raise Unavailable("there is no C compiler (cc, gcc or clang) on the PATH")
    full = (*command, f"-march={processor}")
    try:
        name = f"decode-{_digest(command, processor)}.so"
        try:
            require_private(folder)
            return _kept(folder / name, full, compiling)
        except (NotOurs, OSError) as reason:
            refused(f"The compiled decode kernel is not kept: {_words(reason)}.")
        with tempfile.TemporaryDirectory(prefix="ttchat-kernel-") as private:
            return _kept(Path(private) / name, full, compiling)
    except OSError as error:
        raise Unavailable(_words(error)) from error


def _kept(path: Path, command: Sequence[str], compiling: Callable[[], None]) -> ctypes.CDLL:
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
        path.unlink(missing_ok=True)  # Whole, and no library: the next load tries again.
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
    """What `-march=native` goes by."""
    try:
        lines = _CPUINFO.read_bytes().splitlines()
    except OSError:
        return platform.processor().encode()
    return b"\n".join(sorted({line for line in lines if line.startswith((b"flags", b"model name"))}))


def _compile(command: Sequence[str], path: Path) -> None:
    """To a name of its own first: two processes that compile at once do not disturb each other."""
    _tidy(path.parent)
    handle, scratch = tempfile.mkstemp(dir=path.parent, prefix=_SCRATCH, suffix=".so")
    os.close(handle)
    try:
        run = _run([*command, *_FLAGS, str(_HERE / _SOURCE), "-o", scratch, "-lm"])
        if run.returncode != 0:
            if shutil.disk_usage(path.parent).free < _ROOM_BYTES:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path.parent))
            raise Unavailable(f"{command[0]} does not compile it: {_first_error(run.stderr)}")
        seal(Path(scratch))
        put(Path(scratch), path)
    finally:
        Path(scratch).unlink(missing_ok=True)


def _tidy(folder: Path) -> None:
    """Take away what processes that were ended while they compiled have left."""
    for file in folder.glob(f"{_SCRATCH}*"):
        with contextlib.suppress(FileNotFoundError):  # Another process was faster.
            if time.time() - file.stat().st_mtime > _ABANDONED_S:
                file.unlink()


def _run(command: Sequence[str]) -> subprocess.CompletedProcess[str]:
    """
    Raises:
        Unavailable: the compiler takes too long.
        OSError: it cannot be started.
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
            output, complaints = process.communicate(timeout=_TIMEOUT_S)
        except subprocess.TimeoutExpired as error:
            os.killpg(process.pid, signal.SIGKILL)  # What it started as well: it would be waited for.
            raise Unavailable(f"{command[0]} takes more than {_TIMEOUT_S:g} s") from error
    return subprocess.CompletedProcess(command, process.returncode, output, complaints)


def _words(reason: Exception) -> str:
    if isinstance(reason, OSError) and reason.strerror:
        return f"{reason.filename}: {reason.strerror}" if reason.filename else reason.strerror
    return str(reason).rstrip(".")


def _first_error(output: str) -> str:
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    return next((line for line in lines if "error" in line), lines[0] if lines else "it says nothing")
