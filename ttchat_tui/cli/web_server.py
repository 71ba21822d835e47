"""textual-serve's server for this app, closed to other web sites' pages and to anyone without its token.

Needs the extra `[web]`; `serve` imports it by name.
"""

from __future__ import annotations

import asyncio
import hmac
import logging
import secrets
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final, TypeAlias
from urllib.parse import urlsplit

from aiohttp import web
from textual_serve.server import Server

from ttchat_tui.cli.errors import tell

TOKEN: Final = "token"
"""In the address of the page."""
_WITH_TOKEN: Final = ("/", "/ws")
_FOR_ALL: Final = "/static/"
"""textual-serve's own files."""
_CLOSED: Final = (
    "Open the latest address that `ttchat-tui serve` has printed: each one lets one browser in, once."
)
_PAGE: Final = Path(__file__).with_name("page")
_Handler: TypeAlias = Callable[[web.Request], Awaitable[web.StreamResponse]]
LOOPBACK: Final = ("localhost", "127.0.0.1", "[::1]")


class ChatServer(Server):
    """A chat of its own, engine included, for each page that is opened."""

    def __init__(self, command: str, host: str, port: int, public_url: str) -> None:
        super().__init__(  # pyright: ignore[reportUnknownMemberType]
            command,
            host=host,
            port=port,
            title="ttchat-tui",
            public_url=public_url,
            templates_path=_PAGE,
        )
        self._is_on_loopback = any(public_url.startswith(f"http://{name}:") for name in LOOPBACK)
        self._token = secrets.token_urlsafe(24)
        """For one browser: other users of this machine can read the command line that opens it."""
        self._cookie = f"ttchat-tui-{port}"
        """Its name, of this port alone: browsers send cookies to every port of a host."""
        self._key = secrets.token_urlsafe(24)
        """Its value, of every browser that showed a token."""
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
        tell(f"{self._address} (ctrl+c ends it)")

    @property
    def _address(self) -> str:
        return f"{self.public_url}/?{TOKEN}={self._token}"

    async def _make_app(self) -> web.Application:
        app = await super()._make_app()

        @web.middleware
        async def ask_for_token(request: web.Request, handler: _Handler) -> web.StreamResponse:
            return await self._ask_for_token(request, handler)

        app.middlewares.append(ask_for_token)
        return app

    async def _ask_for_token(self, request: web.Request, handler: _Handler) -> web.StreamResponse:
        """Let in who shows the token in the address, once, or the cookie that was given for it; every user of this machine
        could ask otherwise. The page gives the cookie: the script in it makes the addresses of websocket and downloads."""
        is_known = _is_same(request.cookies.get(self._cookie, ""), self._key)
        is_page = request.method == "GET" and request.path in _WITH_TOKEN
        is_let_in = is_known or (is_page and self._redeem(request.query.get(TOKEN, "")))
        if not is_let_in and not request.path.startswith(_FOR_ALL):
            raise web.HTTPForbidden(text=_CLOSED)
        response = await handler(request)
        if is_let_in and not response.prepared:
            is_secure = self.public_url.startswith("https:")
            response.set_cookie(self._cookie, self._key, httponly=True, samesite="Strict", secure=is_secure)
            response.headers["Referrer-Policy"] = "no-referrer"
            response.headers["Cache-Control"] = "no-store"
        return response

    def _redeem(self, shown: str) -> bool:
        """Whether that is the token; another one is valid from now on."""
        if not _is_same(shown, self._token):
            return False
        self._token = secrets.token_urlsafe(24)
        tell(f"A browser has opened it. For another one: {self._address}")
        return True

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
        return {origin_of(each) for each in (*names, self.public_url)}


def origin_of(url: str) -> str:
    """As a browser sends it: in lower case, without a path, and without the port that the scheme implies."""
    at = urlsplit(url)
    host = f"[{at.hostname}]" if ":" in (at.hostname or "") else at.hostname
    is_implied = at.port in (None, {"http": 80, "https": 443}.get(at.scheme))
    return f"{at.scheme}://{host}" + ("" if is_implied else f":{at.port}")


def _is_same(shown: str, secret: str) -> bool:
    return hmac.compare_digest(shown.encode("utf-8", "replace"), secret.encode())
