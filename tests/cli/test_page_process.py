"""The process behind a page of `serve`: how one ends with the other, with programs that stand for a chat."""

from __future__ import annotations

import asyncio
import os
import shlex
import sys
from pathlib import Path

import pytest
from textual_serve.download_manager import DownloadManager

from ttchat_tui.cli import web_server
from ttchat_tui.cli.web_server import PageProcess

READY = "import os, sys, time; os.write(1, b'__GANGLION__\\n')"
FRAMES = "[os.write(1, b'D' + len(frame).to_bytes(4, 'big') + frame) for frame in [b'x' * 4000] * 200]"
"""Several times what the pipe and the server's buffer hold."""

STUCK_APP = """
import time
from ttchat_tui.cli import main
from ttchat_tui.ui import last_resort
from ttchat_tui.ui.app import TtchatApp

def waits(*_):
    open("STUCK", "wb").close()
    time.sleep(120)

last_resort.GRACE_S = last_resort.AGAIN_S = 0.05
TtchatApp.on_chat_screen_completed = waits
main()
"""


class Browser:
    """A page; `is_gone` before it was closed in an orderly way."""

    def __init__(self, *, is_gone: bool = False) -> None:
        self.is_gone, self.is_closed = is_gone, False
        self.received = 0

    async def write(self, data: bytes | str) -> None:
        if self.is_gone:
            raise ConnectionResetError
        self.received += len(data)

    async def close(self) -> None:
        self.is_closed = True


async def started(program: str, page: Browser, before: str = "") -> PageProcess:
    """`before`: a shell's commands."""
    process = PageProcess(
        f"{before} exec {shlex.join([sys.executable, '-c', program])}",
        write_bytes=page.write,
        write_str=page.write,
        close=page.close,
        download_manager=DownloadManager(),
    )
    await process.start(80, 24)
    return process


@pytest.mark.parametrize("is_gone", [False, True])
async def test_a_chat_writes_to_its_end_also_without_its_page(tmp_path: Path, is_gone: bool) -> None:
    page, ended = Browser(is_gone=is_gone), tmp_path / "ended"
    process = await started(f"{READY}; {FRAMES}; open({str(ended)!r}, 'x')", page)
    await asyncio.wait_for(process.stop(), 60)
    assert ended.exists()
    assert page.received == (0 if is_gone else 800_000)


@pytest.mark.parametrize(
    "program", ["", "sys.exit(1)", f"{READY}", f"{READY}; os.write(1, b'D12')", "print('No')"]
)
async def test_a_page_ends_with_its_chat_however_that_ends(program: str) -> None:
    page = Browser()
    process = await started(program, page)
    await asyncio.wait_for(process.stop(), 60)
    assert page.is_closed


@pytest.mark.parametrize("before", ["", "trap '' HUP;"], ids=["", "under nohup"])
@pytest.mark.parametrize(
    "program",
    ["import time; time.sleep(120)", f"{READY}; time.sleep(120)"],
    ids=["before it is ready", "on screen"],
)
async def test_a_chat_that_is_stuck_does_not_outlive_its_page(
    program: str, before: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(web_server, "PATIENCE_S", 0.0)
    monkeypatch.setattr(web_server, "FORCE_S", 0.5)
    process = await started(program, Browser(), before)
    await asyncio.wait_for(process.stop(), 60)


async def test_an_app_that_is_stuck_does_not_outlive_its_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    is_stuck = tmp_path / "stuck"
    os.mkfifo(is_stuck)
    program = STUCK_APP.replace("STUCK", str(is_stuck))
    monkeypatch.setattr(web_server, "PATIENCE_S", 0.0)
    monkeypatch.setenv("TTCHAT_MODEL", str(tmp_path / "missing.gguf"))
    process = await started(program, Browser())
    await asyncio.to_thread(is_stuck.read_bytes)
    await asyncio.wait_for(process.stop(), 60)
