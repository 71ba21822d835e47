"""The chat in a real browser: opened, typed into without a click, the reply seen to stream, a picture taken."""

from __future__ import annotations

import base64
from pathlib import Path

import pyte
import pytest

from tests.cli.chromium import CHROMIUM, Tab, tab
from tests.cli.served_page import PROMPT, ServedPage
from tests.engine.served.scripted_server import ScriptedServer, StreamGate, serving
from tests.engine.served.shapes import CONTEXT, MODEL, VLLM
from tests.fakes import Script

pytestmark = [
    pytest.mark.timeout(180),
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed"),
]

COLOURS = """
(async () => {
    const image = new Image();
    image.src = "data:image/png;base64,%s";
    await image.decode();
    const canvas = new OffscreenCanvas(image.width, image.height).getContext("2d");
    canvas.drawImage(image, 0, 0);
    return new Set(new Uint32Array(canvas.getImageData(0, 0, image.width, image.height).data.buffer)).size;
})()
"""


class BrowserTerminal:
    """The terminal in the page, from what its websocket brought."""

    def __init__(self, tab: Tab) -> None:
        self._tab = tab
        self._screen = pyte.Screen(200, 60)
        self._stream = pyte.ByteStream(self._screen)
        self._fed = 0

    def text(self) -> str:
        frames = self._tab.of("Network.webSocketFrameReceived")
        for frame in frames[self._fed :]:
            if frame["response"]["opcode"] == 2:  # binary; the others are about the connection
                self._stream.feed(base64.b64decode(frame["response"]["payloadData"]))
        self._fed = len(frames)
        return "\n".join(self._screen.display)

    async def until(self, text: str) -> None:
        await self._tab.until(lambda: text in self.text())


def errors(opened: Tab) -> list[str]:
    """What the page's console reports as an error."""
    entries = [each["entry"] for each in opened.of("Log.entryAdded")]
    return [each["text"] for each in entries if each["level"] == "error"]


async def test_a_browser_shows_the_chat_takes_keys_and_asks_no_other_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = StreamGate()
    script = Script(
        replies=("A pendulum swings evenly.",), stepped=True, context_length=CONTEXT, batch_sizes=(1,)
    )
    with serving(ScriptedServer(VLLM, script, gate)) as server:
        monkeypatch.setenv("TTCHAT_ENGINE", "remote")
        monkeypatch.setenv("TTCHAT_MODEL", MODEL)
        monkeypatch.setenv("OPENAI_BASE_URL", server.base_url)
        page = ServedPage(tmp_path)
        try:
            async with tab(tmp_path / "chromium", 1000, 600) as opened:
                drawn = BrowserTerminal(opened)
                await opened.call("Page.navigate", url=page.address)
                await drawn.until(PROMPT)
                await drawn.until("ready")
                assert await opened.evaluate("document.title") == "ttchat-tui"
                await opened.type("Clocks?\r")
                await drawn.until("Clocks?")
                gate.release(2)
                await drawn.until("A pendulum")
                assert "swings" not in drawn.text()
                gate.open()
                await drawn.until("swings evenly.")
                image = await opened.picture()
                (tmp_path / "browser.png").write_bytes(image)
                assert await opened.evaluate(COLOURS % base64.b64encode(image).decode()) > 30
                assert await opened.evaluate("document.fonts.check('16px \"Roboto Mono\"')")
                asked = {each["request"]["url"] for each in opened.of("Network.requestWillBeSent")}
                assert all(url.startswith((page.url, "data:")) for url in asked), asked
                assert not errors(opened)
                answer = await opened.evaluate("fetch('http://example.invalid/').catch(error => 'refused')")
                assert answer == "refused"
                assert "Content Security Policy" in str(errors(opened)), "not the network refuses it"
        finally:
            gate.open()
            page.server.kill()
            page.server.communicate()
