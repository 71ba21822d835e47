"""A server of `ttchat-tui serve`, and the screen of a browser that opened its page."""

from __future__ import annotations

import asyncio
import os
import re
import select
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import aiohttp
import pyte
import pytest

from tests.patience import wait_until
from ttchat_tui.signals import STACKS_SIGNAL

SIZE = (100, 30)
PROMPT = "Write a message"


class ServedPage:
    """One server, and the screen of a browser that opened its page."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.screen = pyte.Screen(*SIZE)
        self.stream = pyte.ByteStream(self.screen)
        said = self._start()
        while "address already in use" in said:  # another process was faster
            self.server.communicate()
            said = self._start()
        self.address = said.split()[1]
        """With the token, as a person opens it."""
        assert self.address.startswith(f"{self.url}/?token="), said
        self.token = self.address.partition("token=")[2]

    def _start(self) -> str:
        """Start the server on a port that is free now; returns the first line that it prints."""
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = int(free.getsockname()[1])
        self.url = f"http://127.0.0.1:{self.port}"
        # A model that is not there: the screen comes up all the same, and nothing is fetched or loaded.
        self.server = subprocess.Popen(
            [sys.executable, "-m", "ttchat_tui", "serve", "--port", str(self.port)],
            stderr=subprocess.PIPE,
            text=True,
            env={
                "TTCHAT_MODEL": str(self.folder / "missing.gguf"),
                **os.environ,
                **{
                    f"TTCHAT_{each}_DIR": str(self.folder / each.lower())
                    for each in ("CONFIG", "DATA", "CACHE", "STATE")
                },
            },
        )
        assert self.server.stderr is not None
        return self.server.stderr.readline()

    def renew(self) -> None:
        """As it was at first, after an earlier test: no chat, no settings, nothing that was said or typed, an empty screen, and an
        address that no browser has opened.

        The server prints the next address before it answers the browser that it lets in.
        """
        assert self.server.stderr is not None
        assert wait_until(lambda: not self.chats(), 30), self.what_chats_do()
        for each in ("config", "data", "state"):
            shutil.rmtree(self.folder / each, ignore_errors=True)
        while select.select([self.server.stderr], [], [], 0)[0]:
            said = os.read(self.server.stderr.fileno(), 65536).decode()
            self.address = [self.address, *(word for word in said.split() if "?token=" in word)][-1]
        self.token = self.address.partition("token=")[2]
        self.screen.reset()

    def text(self) -> str:
        return "\n".join(self.screen.display)

    def chats(self) -> list[int]:
        """Process ids of the server's children."""
        return [
            int(word)
            for word in Path(f"/proc/{self.server.pid}/task/{self.server.pid}/children").read_text().split()
        ]

    def what_chats_do(self) -> str:
        """For a failed test: state and stacks of the server's children. A chat that has no log yet writes to the server."""
        chats = self.chats()
        states = [re.findall(r"State:\s*(.*)", Path(f"/proc/{chat}/status").read_text()) for chat in chats]
        for chat in chats:
            os.kill(chat, STACKS_SIGNAL)
        log = self.folder / "state" / "ttchat-tui.log"
        sizes = [0]

        def is_written() -> bool:
            sizes.append(log.stat().st_size if log.exists() else 0)
            return 0 < sizes[-2] == sizes[-1]

        said = log.read_text() if chats and wait_until(is_written, 2, every_s=0.2) else "no log"
        return f"chats {chats}, states {states}, log and stacks:\n{said}"

    async def until(
        self,
        websocket: aiohttp.ClientWebSocketResponse[Any],
        is_there: Callable[[str], bool],
        within_s: float = 30,
    ) -> None:
        """Draw what comes until `is_there(text)`."""

        async def draw() -> None:
            while not is_there(self.text()):
                message = await websocket.receive()
                assert message.type is aiohttp.WSMsgType.BINARY, f"{message}; on screen:\n{self.text()}"
                self.stream.feed(message.data)

        try:
            # Not aiohttp's own time limit, which begins again with each ping of the server.
            await asyncio.wait_for(draw(), within_s)
        except asyncio.TimeoutError:
            doing = await asyncio.to_thread(self.what_chats_do)
            pytest.fail(f"it did not come; on screen:\n{self.text()}\n{doing}")

    async def drain(self, websocket: aiohttp.ClientWebSocketResponse[Any]) -> None:
        """What a browser does all the time: read, and answer when the server says goodbye."""
        async for _message in websocket:
            pass

    def websocket_url(self) -> str:
        return f"{self.url}/ws?width={SIZE[0]}&height={SIZE[1]}"

    def browser(self) -> aiohttp.ClientSession:
        """One that keeps cookies, also of addresses without a name."""
        return aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True))

    async def opened(self, browser: aiohttp.ClientSession) -> str:
        """The page, as the browser gets it; with it comes the cookie."""
        async with browser.get(self.address) as answer:
            assert answer.status == 200
            return await answer.text()
