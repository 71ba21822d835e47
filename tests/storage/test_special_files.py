"""Pipes, devices and sockets in the place of the app's files: refused at once with a sentence, and not changed."""

from __future__ import annotations

import os
import socket
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.storage.examples import ask, mode_of
from ttchat_tui.domain.special_files import special_file
from ttchat_tui.storage.errors import StorageError
from ttchat_tui.storage.opening import open_scratch_store, open_store
from ttchat_tui.storage.repair import repair


def pipe(path: Path) -> None:
    os.mkfifo(path, 0o666)


def linked_pipe(path: Path) -> None:
    os.mkfifo(path.with_name("pipe"), 0o666)
    path.symlink_to("pipe")


def device(path: Path) -> None:
    path.symlink_to("/dev/null")


def unix_socket(path: Path) -> None:
    folder = os.open(path.parent, os.O_RDONLY)
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(f"/proc/self/fd/{folder}/{path.name}")  # a name in full may be too long for a socket
    os.close(folder)


def folder(path: Path) -> None:
    path.mkdir()


def dangling_link(path: Path) -> None:
    path.symlink_to("nowhere")


def endless_link(path: Path) -> None:
    path.symlink_to(path.name)


KINDS = [pipe, linked_pipe, device, unix_socket, folder, dangling_link, endless_link]


@pytest.mark.parametrize("companion", ["", "-wal", "-shm", "-journal"])
@pytest.mark.parametrize("make", KINDS)
def test_a_special_file_is_refused_with_a_notice_and_the_session_starts_empty(
    path: Path, make: Callable[[Path], None], companion: str
) -> None:
    path.parent.mkdir(mode=0o700)
    place = Path(f"{path}{companion}")
    make(place)
    before = os.lstat(place).st_mode
    store = open_store(path)
    assert store.mode == "memory"
    assert store.notice is not None
    assert store.notice.kind == "not_a_file"
    assert f"{place} is a " in store.notice.message
    assert "Nothing of this session is kept" in store.notice.message
    assert ask(store).content == "Hello?"
    store.close()
    assert os.lstat(place).st_mode == before
    open_scratch_store(path).close()
    with pytest.raises(StorageError, match=" is a "):
        repair(path)


def test_a_link_to_the_user_s_own_file_is_followed(path: Path, tmp_path: Path) -> None:
    path.parent.mkdir()
    real = tmp_path / "synced.db"
    real.touch(mode=0o644)
    path.symlink_to(real)
    store = open_store(path)
    assert store.mode == "read-write"
    ask(store)
    store.close()
    assert mode_of(real) == 0o600
    assert path.is_symlink()


@pytest.mark.parametrize("make_link", [os.symlink, os.link])
def test_a_file_that_is_no_database_keeps_its_mode(
    path: Path, tmp_path: Path, make_link: Callable[..., None]
) -> None:
    path.parent.mkdir()
    page = tmp_path / "index.html"
    page.write_text("<html>for everybody</html>")
    page.chmod(0o644)
    make_link(page, path)
    store = open_store(path)
    assert (store.mode, store.notice and store.notice.kind) == ("memory", "database_corrupt")
    store.close()
    assert mode_of(page) == 0o644
    assert page.read_text() == "<html>for everybody</html>"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_a_file_of_another_user_keeps_its_mode(path: Path) -> None:
    open_store(path).close()
    path.chmod(0o644)
    os.chown(path, 65534, 65534)
    open_store(path).close()
    assert mode_of(path) == 0o644


def test_a_file_a_folder_and_nothing_are_no_special_files(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "dangling").symlink_to("nowhere")
    for name in ("file", ".", "none", "loop", "dangling", "x" * 300, "a\x00b"):
        assert special_file(tmp_path / name) == ""
    assert special_file(Path("/dev/null")) == "a device"
    assert stat.S_ISCHR(os.stat("/dev/null").st_mode)
