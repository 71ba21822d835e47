"""Fetch a repository's files from the Hugging Face Hub over HTTP, with resume. The only module here with httpx."""

from __future__ import annotations

import contextlib
import fnmatch
import functools
import re
import shutil
import time
from collections.abc import Callable, Generator, Mapping
from http import HTTPStatus
from pathlib import Path
from typing import Final, Protocol
from urllib.parse import quote

import httpx
import msgspec

from ttchat_tui.domain.decoding import decodable
from ttchat_tui.domain.events import ProgressReporter
from ttchat_tui.models import hub_settings
from ttchat_tui.models.catalog import HubGguf, HuggingFace
from ttchat_tui.models.errors import ModelError, UnexpectedAnswer
from ttchat_tui.models.gguf_names import choose, is_plain
from ttchat_tui.models.space import require_space
from ttchat_tui.models.verify import ByteProgress, git_blob_id, sha256_of

ATTEMPTS: Final = 5
"""Failures in a row without a new byte before the pull fails."""

_PAUSES_S: Final = (0.5, 1.0, 2.0, 2.0, 2.0)
"""Before the next attempt. Short, because a cancellation waits for it."""

_PLAIN_NAME: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+-]{0,199}")
"""Of the files of a folder, which transformers names."""

_LONGEST_ANSWER: Final = 2**26
"""Bytes of a listing. Those of the largest repositories have a few megabytes."""

TIMEOUT: Final = httpx.Timeout(30.0, connect=10.0)


class _Lfs(msgspec.Struct, frozen=True):
    sha256: str


class _Sibling(msgspec.Struct, frozen=True, rename="camel"):
    """A file of a repository, as `/api/models/<repo>/revision/<rev>?blobs=true` lists it."""

    rfilename: str = msgspec.field(name="rfilename")
    size: int = 0
    blob_id: str = ""
    """git's id of the content; for LFS files that of the pointer."""
    lfs: _Lfs | None = None

    @property
    def name(self) -> str:
        """Its name on this machine: without the folders of the repository."""
        return self.rfilename.rpartition("/")[2]


class Repository(msgspec.Struct, frozen=True):
    sha: str
    """The commit of the revision."""
    siblings: tuple[_Sibling, ...] = ()


class _TransferInterrupted(Exception):
    """A transfer ended early, or the server is overloaded: retry."""


def fetch_repo(
    source: HuggingFace | HubGguf,
    work: Path,
    report: ProgressReporter,
    environ: Mapping[str, str],
    pause: Callable[[float], None] = time.sleep,
    *,
    name: str = "",
) -> Path:
    """Download and verify the files of `source` into `work/<commit>`, and return that folder. `name`: for `models pull`.

    The caller holds the lock on `work`. Complete and partial files of an earlier attempt at the same commit are reused.

    Raises:
        ModelError: `offline`, `model_gated`, `model_unknown`, `model_broken`, `download_failed`, `disk_full`.
        Whatever `report` raises.
    """
    if hub_settings.is_offline(environ):
        raise ModelError("HF_HUB_OFFLINE forbids asking the hub.", kind="offline")
    with connected(environ) as session_for:
        session = session_for(source, pause, name)
        with session.naming_failures():
            repository = session.repository()
            files = _files_to_fetch(source, repository)
            folder = _folder_for(work, repository.sha)
            missing = sum(file.size - min(file.size, _bytes_of(file, folder)) for file in files)
            require_space(missing, folder, source.label)
            progress = ByteProgress(report, "download", sum(file.size for file in files), source.label)
            done = 0
            for file in files:
                session.fetch(file, repository.sha, folder, progress, done)
                done += file.size
            for file in files:
                _verify(file, folder, report)
        return folder


@contextlib.contextmanager
def connected(environ: Mapping[str, str]) -> Generator[SessionMaker, None, None]:
    """Sessions with the user's hub over one client."""
    with httpx.Client(timeout=TIMEOUT, follow_redirects=True, headers=_headers(environ)) as client:
        yield functools.partial(Session, client, hub_settings.endpoint(environ))


class SessionMaker(Protocol):
    def __call__(
        self, source: HuggingFace | HubGguf, pause: Callable[[float], None] = time.sleep, name: str = ""
    ) -> Session: ...


class Session:
    """Requests for one repository, with their retries and errors."""

    def __init__(
        self,
        client: httpx.Client,
        endpoint: str,
        source: HuggingFace | HubGguf,
        pause: Callable[[float], None] = time.sleep,
        name: str = "",
    ) -> None:
        """`name`: what `models pull` takes; empty: the repository's id."""
        self._client = client
        self.endpoint = endpoint
        self._source = source
        self._pause = pause
        self._name = name or source.repo

    @contextlib.contextmanager
    def naming_failures(self) -> Generator[None, None, None]:
        """Turn httpx's errors with an address or a connection into `ModelError`."""
        try:
            yield
        except httpx.InvalidURL as error:
            raise ModelError(
                f"{self.endpoint} is not a valid address ({error}).",
                kind="offline",
                cure="Correct HF_ENDPOINT.",
            ) from error
        except httpx.RequestError as error:
            raise ModelError(
                f"{self.endpoint} cannot be reached ({error}).",
                kind="offline",
                cure="Check the network; HF_ENDPOINT names a mirror.",
            ) from error

    def repository(self) -> Repository:
        """The commit and the files of the source's revision."""
        url = f"{self.endpoint}/api/models/{self._source.repo}/revision/{self._source.revision}"
        try:
            return msgspec.json.decode(self.get(url, {"blobs": "true"}), type=decodable(Repository))
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise UnexpectedAnswer(
                f"{self.endpoint} did not answer like the hub ({error}).", kind="download_failed"
            ) from error

    def get(self, url: str, query: Mapping[str, str]) -> bytes:
        """The answer to a short request, which is repeated while the server is overloaded."""
        for attempt in range(ATTEMPTS):
            try:
                with self._client.stream("GET", url, params=dict(query)) as response:
                    self._check(response)
                    return self._content(response)
            except _TransferInterrupted:
                self._pause(_PAUSES_S[attempt])
        raise self._too_many_failures()

    def _content(self, response: httpx.Response) -> bytes:
        """
        Raises:
            ModelError: `download_failed`: it is longer than any listing.
        """
        content = bytearray()
        for chunk in response.iter_bytes():
            content += chunk
            if len(content) > _LONGEST_ANSWER:
                raise UnexpectedAnswer(
                    f"{self.endpoint} did not answer like the hub (more than {_LONGEST_ANSWER / 1e6:,.0f} MB).",
                    kind="download_failed",
                )
        return bytes(content)

    def fetch(self, file: _Sibling, commit: str, folder: Path, progress: ByteProgress, before: int) -> None:
        """Download `file` into `folder`, resuming its `.part`. `before`: bytes of other files that are done."""
        target, part = folder / file.name, folder / f"{file.name}.part"
        if target.is_file() and target.stat().st_size == file.size:
            progress.at(before + file.size)
            return
        url = f"{self.endpoint}/{self._source.repo}/resolve/{commit}/{quote(file.rfilename)}"
        failures = 0
        while not (part.exists() and _size(part) == file.size):
            had, cause = _size(part), None
            try:
                self._stream(url, part, file.size, progress, before)
            except (_TransferInterrupted, httpx.TransportError) as error:
                cause = error
            have = _size(part)
            if have > file.size:
                part.unlink()
            failures = 0 if had < have <= file.size or have == file.size == 0 else failures + 1
            if failures >= ATTEMPTS:
                raise self._too_many_failures() from cause
            if failures:
                self._pause(_PAUSES_S[failures])
        part.replace(target)

    def _stream(self, url: str, part: Path, size: int, progress: ByteProgress, before: int) -> None:
        """One request for the missing bytes of `part`, which is to have `size`. Of a transfer without end a little more is
        read."""
        have = _size(part)
        # No transfer compression: ranges count the bytes of the file.
        headers = {"Accept-Encoding": "identity", **({"Range": f"bytes={have}-"} if have else {})}
        with self._client.stream("GET", url, headers=headers) as response:
            if response.status_code == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
                part.unlink(missing_ok=True)
                raise _TransferInterrupted
            self._check(response)
            is_resumed = response.status_code == HTTPStatus.PARTIAL_CONTENT
            if is_resumed and not response.headers.get("Content-Range", "").startswith(f"bytes {have}-"):
                raise _TransferInterrupted  # Another part of the file than was asked for.
            with part.open("ab" if is_resumed else "wb") as output:
                for chunk in response.iter_raw():
                    output.write(chunk)
                    progress.at(before + output.tell())
                    if output.tell() > size:
                        break

    def _check(self, response: httpx.Response) -> None:
        """Raise for every status that is not a success; codes as the hub documents them in X-Error-Code."""
        status, code = response.status_code, response.headers.get("X-Error-Code", "")
        if response.is_success:
            return
        if status == HTTPStatus.TOO_MANY_REQUESTS or status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            raise _TransferInterrupted
        repo = self._source.repo
        if code == "RepoNotFound" or status == HTTPStatus.NOT_FOUND:
            raise ModelError(
                f"The hub has no repository {repo} with revision {self._source.revision}, or you have no access.",
                kind="model_unknown",
                cure=f"Look at {self.endpoint}/{repo}; for a private one set HF_TOKEN or run `hf auth login`.",
            )
        if status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
            raise ModelError(
                f"{repo} is gated: its licence must be accepted first.",
                kind="model_gated",
                cure=f"Accept it at {self.endpoint}/{repo}, then set HF_TOKEN or run `hf auth login`.",
            )
        raise ModelError(f"{self.endpoint} answered {status} for {repo}.", kind="download_failed")

    def _too_many_failures(self) -> ModelError:
        return ModelError(
            f"The transfer of {self._source.repo} failed {ATTEMPTS} times without a new byte.",
            kind="download_failed",
            cure=f"What arrived is kept: `ttchat-tui models pull {self._name}` resumes it.",
        )


def _headers(environ: Mapping[str, str]) -> dict[str, str]:
    """The token goes to the endpoint only: httpx drops it when it is redirected to another host (LFS storage)."""
    token = hub_settings.token(environ)
    return {"User-Agent": "ttchat-tui", **({"Authorization": f"Bearer {token}"} if token else {})}


def _files_to_fetch(source: HuggingFace | HubGguf, repository: Repository) -> list[_Sibling]:
    """The files to fetch, smallest first. Names come from a server: only plain ones are accepted.

    A folder's files are in the top folder of the repository. One without safetensors is searched for a .gguf file.
    """
    files = {file.rfilename: file for file in repository.siblings if file.size >= 0}
    wanted = [
        file
        for name, file in files.items()
        if isinstance(source, HuggingFace)
        and _PLAIN_NAME.fullmatch(name)
        and any(fnmatch.fnmatchcase(name, pattern) for pattern in source.files)
    ]
    if not any(file.rfilename.endswith(".safetensors") for file in wanted):
        wanted = _gguf_files(source, files)
    return sorted(wanted, key=lambda file: (file.size, file.rfilename))


def _gguf_files(source: HuggingFace | HubGguf, files: Mapping[str, _Sibling]) -> list[_Sibling]:
    names = [name for name in files if is_plain(name)]
    try:
        if isinstance(source, HuggingFace):
            if not any(name.endswith(".gguf") for name in names):
                raise ValueError("has no safetensors weights and no .gguf file")
            return [files[name] for name in choose(names)]
        chosen = [files[name] for name in choose(names, file=source.file, quantisation=source.quantisation)]
    except ValueError as error:
        raise ModelError(
            f"{source.repo} {error}.",
            kind="model_broken",
            cure="`ttchat-tui models search TEXT` lists repositories with .gguf files.",
        ) from error
    return [_pinned(source, file) for file in chosen]


def _pinned(source: HubGguf, file: _Sibling) -> _Sibling:
    """`file` with the hash that the catalog knows, if the hub lists none.

    Raises:
        ModelError: `model_broken`: the hub lists another one.
    """
    if not source.sha256:
        return file
    if file.lfs is not None and file.lfs.sha256 != source.sha256:
        raise ModelError(
            f"{source.repo} has another {file.name} than the catalog knows.",
            kind="model_broken",
            cure=f"`ttchat-tui models pull {source.repo}/{source.file}` takes the one that is there now.",
        )
    return msgspec.structs.replace(file, lfs=_Lfs(source.sha256))


def _bytes_of(file: _Sibling, folder: Path) -> int:
    """What is in `folder` of a file, complete or not."""
    return max(_size(folder / file.name), _size(folder / f"{file.name}.part"))


def _folder_for(work: Path, commit: str) -> Path:
    """The folder for one commit. Folders of other commits are deleted."""
    name = "".join(letter for letter in commit if letter.isascii() and letter.isalnum())
    folder = work / (name[:64] or "unnamed")
    folder.mkdir(parents=True, exist_ok=True)
    for other in work.iterdir():
        if other != folder:
            shutil.rmtree(other, ignore_errors=True)
    return folder


def _verify(file: _Sibling, folder: Path, report: ProgressReporter) -> None:
    """LFS files have a SHA-256, others git's blob id. A wrong file is deleted, so that the next pull fetches it again."""
    path = folder / file.name
    if file.lfs is not None:
        is_right = sha256_of(path, report) == file.lfs.sha256
    else:
        is_right = not file.blob_id or git_blob_id(path) == file.blob_id
    if not is_right:
        path.unlink()
        raise ModelError(
            f"The hash of {file.rfilename} is not the one that the hub lists.",
            kind="model_broken",
            cure="It was deleted; pull again.",
        )


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0
