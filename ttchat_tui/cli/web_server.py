"""textual-serve's server for this app, closed to other web sites' pages. Needs the extra `[web]`; `serve` imports it by name."""

from __future__ import annotations

import asyncio
import logging
from typing import Final

from aiohttp import web
from textual_serve.server import Server

from ttchat_tui.cli.errors import tell

LOOPBACK: Final = ("localhost", "127.0.0.1", "[::1]")


class ChatServer(Server):
    """A chat of its own, engine included, for each page that is opened."""

    def __init__(self, command: str, host: str, port: int, public_url: str) -> None:
        super().__init__(  # pyright: ignore[reportUnknownMemberType]
            command, host=host, port=port, title="ttchat-tui", public_url=public_url
        )
        self._is_on_loopback = any(public_url.startswith(f"http://{name}:") for name in LOOPBACK)
        self._chats: set[asyncio.Task[object]] = set()

    def serve(self, debug: bool = False) -> None:
        """Serve until SIGINT or SIGTERM.

        Raises:
            OSError: cannot listen there.
        """
        logging.basicConfig(level=logging.WARNING, format="ttchat-tui: %(message)s")
        web.run_app(self._make_app(), host=self.host, port=self.port, print=self._announce, access_log=None)

    def _announce(self, running_on: str) -> None:
        """Say where the page is; called as soon as it can be opened."""
        tell(f"{self.public_url} (ctrl+c ends it)")

    async def on_startup(self, app: web.Application) -> None:
        """Without the banner of textual-serve."""

    async def on_shutdown(self, app: web.Application) -> None:
        """End the chats: aiohttp would wait a minute for their pages to be closed."""
        for chat in self._chats:
            chat.cancel()
        await asyncio.gather(*self._chats, return_exceptions=True)

    async def handle_websocket(self, request: web.Request) -> web.WebSocketResponse:
        """Run the app for a page of ours.

        A browser lets any page connect to any server, loopback included, and says only whose page it is.
        """
        origin = request.headers.get("Origin")
        if origin is not None and origin not in self._own_origins():
            raise web.HTTPForbidden(text=f"This chat is served at {self.public_url} only.")
        chat = asyncio.current_task()
        assert chat is not None
        self._chats.add(chat)
        try:
            return await super().handle_websocket(request)
        finally:
            self._chats.discard(chat)

    def _own_origins(self) -> set[str]:
        names = {f"http://{name}:{self.port}" for name in LOOPBACK} if self._is_on_loopback else set[str]()
        return names | {self.public_url}
