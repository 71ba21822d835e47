"""textual-serve's server for this app, closed to other web sites' pages and to whoever has not its token.

Needs the extra `[web]`; `serve` imports it by name.
"""

from __future__ import annotations

import asyncio
import hmac
import logging
import secrets
from collections.abc import Awaitable, Callable
from typing import Final, TypeAlias

from aiohttp import web
from textual_serve.server import Server

from ttchat_tui.cli.errors import tell

TOKEN: Final = "token"
"""In the address of the page."""
_WITHOUT_TOKEN: Final = "/static/"
"""textual-serve's own files: everyone may have them, and the page has them before it has anything else."""
_Handler: TypeAlias = Callable[[web.Request], Awaitable[web.StreamResponse]]
LOOPBACK: Final = ("localhost", "127.0.0.1", "[::1]")


class ChatServer(Server):
    """A chat of its own, engine included, for each page that is opened."""

    def __init__(self, command: str, host: str, port: int, public_url: str) -> None:
        super().__init__(  # pyright: ignore[reportUnknownMemberType]
            command, host=host, port=port, title="ttchat-tui", public_url=public_url
        )
        self._is_on_loopback = any(public_url.startswith(f"http://{name}:") for name in LOOPBACK)
        self._token = secrets.token_urlsafe(24)
        self._cookie = f"ttchat-tui-{port}"
        """Of this port alone: browsers send cookies to every port of a host."""
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
        tell(f"{self.public_url}/?{TOKEN}={self._token} (ctrl+c ends it)")

    async def _make_app(self) -> web.Application:
        app = await super()._make_app()

        @web.middleware
        async def ask_for_token(request: web.Request, handler: _Handler) -> web.StreamResponse:
            return await self._ask_for_token(request, handler)

        app.middlewares.append(ask_for_token)
        return app

    async def _ask_for_token(self, request: web.Request, handler: _Handler) -> web.StreamResponse:
        """Let in who shows the token in the address or in the cookie that the page gave; every user of this machine could
        ask otherwise. The page gives it, because the script in it makes the addresses of websocket and downloads."""
        shown = request.query.get(TOKEN) or request.cookies.get(self._cookie, "")
        is_right = hmac.compare_digest(shown.encode("utf-8", "replace"), self._token.encode())
        if not is_right and not request.path.startswith(_WITHOUT_TOKEN):
            raise web.HTTPForbidden(
                text="Open the address that `ttchat-tui serve` has printed: a token is in it."
            )
        response = await handler(request)
        if is_right and not response.prepared:
            is_secure = self.public_url.startswith("https:")
            response.set_cookie(self._cookie, self._token, httponly=True, samesite="Strict", secure=is_secure)
            response.headers["Referrer-Policy"] = "no-referrer"
            response.headers["Cache-Control"] = "no-store"
        return response

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
