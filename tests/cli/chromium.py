"""Headless Chromium over its DevTools protocol (https://chromedevtools.github.io/devtools-protocol/)."""

from __future__ import annotations

import asyncio
import base64
import itertools
import json
import shutil
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import aiohttp

CHROMIUM: Final = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))), None
)
_FLAGS: Final = (
    *("--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-extensions"),
    *(
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        "--disable-dev-shm-usage",
    ),
    *("--remote-debugging-port=0", "--remote-allow-origins=*", "about:blank"),
)
LIMIT_S: Final = 60.0


class Tab:
    """One tab. `events` has what the browser has reported so far, in order."""

    def __init__(self, websocket: aiohttp.ClientWebSocketResponse[Any]) -> None:
        self._websocket = websocket
        self._numbers = itertools.count(1)
        self.events: list[dict[str, Any]] = []

    async def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        number = next(self._numbers)
        await self._websocket.send_json({"id": number, "method": method, "params": parameters})
        while (message := await self._next()).get("id") != number:
            pass
        assert "error" not in message, message
        return message["result"]

    async def until(self, condition: Callable[[], bool]) -> None:
        """Take events until `condition()` holds."""
        while not condition():
            await self._next()

    async def _next(self) -> dict[str, Any]:
        message = json.loads((await self._websocket.receive(timeout=LIMIT_S)).data)
        if "method" in message:
            self.events.append(message)
        return message

    def of(self, method: str) -> list[dict[str, Any]]:
        """The parameters of the events of this name."""
        return [each["params"] for each in self.events if each["method"] == method]

    async def evaluate(self, expression: str) -> Any:
        """The value of a JavaScript expression, or of its promise."""
        answer = await self.call(
            "Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True
        )
        return answer["result"].get("value")

    async def type(self, text: str) -> None:
        """To whatever has the focus, as a keyboard does."""
        for character in text:
            if character == "\r":
                key = {"key": "Enter", "code": "Enter", "windowsVirtualKeyCode": 13, "text": "\r"}
            else:
                key = {"key": character, "text": character}
            await self.call("Input.dispatchKeyEvent", type="keyDown", **key)
            await self.call("Input.dispatchKeyEvent", type="keyUp", **key)

    async def picture(self) -> bytes:
        """PNG."""
        return base64.b64decode((await self.call("Page.captureScreenshot", format="png"))["data"])


@asynccontextmanager
async def tab(folder: Path, width: int, height: int, scale: float = 1) -> AsyncIterator[Tab]:
    """A browser with its profile in `folder`, and its one tab of this size in CSS pixels."""
    assert CHROMIUM is not None
    browser = await asyncio.create_subprocess_exec(
        *(CHROMIUM, f"--user-data-dir={folder}", f"--force-device-scale-factor={scale}", *_FLAGS),
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
        env={"HOME": str(folder), "PATH": "/usr/bin:/bin"},
    )
    assert browser.stderr is not None
    try:
        said = b""
        while b"DevTools listening on " not in said:
            said = await asyncio.wait_for(browser.stderr.readline(), LIMIT_S)
            assert said, "Chromium has ended"
        port = int(said.rpartition(b":")[2].partition(b"/")[0])
        async with aiohttp.ClientSession() as session:
            async with session.get(f"http://127.0.0.1:{port}/json/list") as answer:
                address = next(each for each in await answer.json() if each["type"] == "page")
            async with session.ws_connect(address["webSocketDebuggerUrl"], max_msg_size=0) as websocket:
                opened = Tab(websocket)
                for domain in ("Page", "Network", "Runtime", "Log"):
                    await opened.call(f"{domain}.enable")
                await opened.call(
                    "Emulation.setDeviceMetricsOverride",
                    width=width,
                    height=height,
                    deviceScaleFactor=0,
                    mobile=False,
                )
                yield opened
    finally:
        browser.kill()
        await browser.wait()
