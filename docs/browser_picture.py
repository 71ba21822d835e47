"""Take the README's picture of the chat in a browser: `ttchat-tui serve` with the real model, in headless Chromium.

.venv/bin/python docs/browser_picture.py [folder]     writes browser.png to docs/images, or to the folder
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Final

sys.path.insert(0, str(Path(__file__).parents[1]))

from tests.cli.chromium import tab
from tests.cli.test_browser import BrowserTerminal

PORT: Final = 8123
QUESTION: Final = "Name three old kinds of clocks."


async def picture(address: str, profile: Path) -> bytes:
    async with tab(profile, 1000, 560, scale=1.5) as opened:
        drawn = BrowserTerminal(opened)
        await opened.call("Page.navigate", url=address)
        await drawn.until("● ready")
        await opened.type(f"{QUESTION}\r")
        await drawn.until(" tok · TTFT")
        return await opened.picture()


def main() -> None:
    to = Path(sys.argv[1] if len(sys.argv) > 1 else Path(__file__).parent / "images")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        own = {f"TTCHAT_{each}_DIR": str(folder / each) for each in ("CONFIG", "DATA", "STATE")}
        server = subprocess.Popen(
            [sys.executable, "-m", "ttchat_tui", "serve", "--port", str(PORT), "--", "--temperature", "0"],
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, **own},
        )
        assert server.stderr is not None
        try:
            address = server.stderr.readline().split()[1]
            (to / "browser.png").write_bytes(asyncio.run(picture(address, folder / "chromium")))
        finally:
            server.terminate()
            server.wait()


if __name__ == "__main__":
    main()
