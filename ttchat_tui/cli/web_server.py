"""textual-serve's server for this app, closed to other sites' pages and to clients without its token.

Needs the `[web]` extra; `serve` imports it by name.
"""

from __future__ import annotations

import asyncio
import hmac
import logging
import secrets
import signal
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Final, TypeAlias
from urllib.parse import urlsplit

from aiohttp import web
from textual_serve import server
from textual_serve.app_service import AppService

from ttchat_tui.cli.errors import notify

TOKEN: Final = "token"
"""The query parameter of the page's address."""
_WITH_TOKEN: Final = ("/", "/ws")
_FOR_ALL: Final = "/static/"
"""textual-serve's own files."""
_CLOSED: Final = (
    "Open the latest address that `ttchat-tui serve` has printed. Each address works once, for one browser."
)
PATIENCE_S: Final = 30.0
"""How long a chat whose page was closed has to end."""
FORCE_S: Final = 10.0
"""How long it has after SIGHUP, which a server that was started by `nohup` makes it ignore."""
_PAGE: Final = Path(__file__).with_name("page")
_Handler: TypeAlias = Callable[[web.Request], Awaitable[web.StreamResponse]]
LOOPBACK: Final = ("localhost", "127.0.0.1", "[::1]")


class PageProcess(AppService):
    """The process of one page's chat. Each ends with the other."""

    async def run(self) -> None:
        """Close the page at the end, whatever the end was. textual-serve closes it only if the app asks for that: the page of
        a chat that cannot start, or was killed, would wait forever."""
        try:
            await super().run()
        finally:
            await self.remote_close()
        assert self._process is not None
        await self._process.wait()

    async def on_data(self, payload: bytes) -> None:
        """Read on after the page has gone. The chat would block in a write once the pipe is full, and never end."""
        with suppress(ConnectionError):
            await super().on_data(payload)

    async def stop(self) -> None:
        """End the chat, whose page was closed. One that does not end gets SIGHUP, as from a terminal that has gone: an app that
        is stuck then ends by force. SIGTERM would break off an engine that takes long to close."""
        loop = asyncio.get_running_loop()
        later = [
            loop.call_later(PATIENCE_S, self._send, signal.SIGHUP),
            loop.call_later(PATIENCE_S + FORCE_S, self._send, signal.SIGKILL),
        ]
        try:
            await super().stop()
        finally:
            for each in later:
                each.cancel()

    def _send(self, number: signal.Signals) -> None:
        if self._process is not None and self._process.returncode is None:
            self._process.send_signal(number)


server.AppService = PageProcess  # pyright: ignore[reportPrivateImportUsage]


class ChatServer(server.Server):
    """Runs a separate chat, engine included, for each page."""

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
        """Valid once: other users of this machine can read the command line that opens a browser."""
        self._cookie = f"ttchat-tui-{port}"
        """The cookie's name. It contains the port, because browsers send cookies to every port of a host."""
        self._key = secrets.token_urlsafe(24)
        """The cookie's value, for every browser that sent a token."""
        self._chats: set[asyncio.Task[object]] = set()

    def serve(self, debug: bool = False) -> None:
        """Serve until SIGINT or SIGTERM.

        Raises:
            OSError: cannot listen on the address.
        """
        logging.basicConfig(level=logging.WARNING, format="ttchat-tui: %(message)s")
        web.run_app(self._make_app(), host=self.host, port=self.port, print=self._announce, access_log=None)

    def _announce(self, running_on: str) -> None:
        """Print the page's address. Called once the server listens."""
        notify(f"{self._address} (ctrl+c ends it)")

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
        """Require the token, which is valid once, or the cookie that a page with the token sets.

        Without it every user of this machine could connect. A cookie is needed because the page's script makes the
        addresses of websocket and downloads.
        """
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
            response.headers["Content-Security-Policy"] = self._policy
        return response

    @property
    def _policy(self) -> str:
        """The page fetches from this server and from nowhere else, whatever a later textual-serve may want."""
        own = f"'self' {self.public_url}"
        socket = self.public_url.replace("http", "ws", 1)
        return (
            f"default-src 'none'; script-src {own} 'unsafe-inline'; style-src {own} 'unsafe-inline'; "
            f"font-src {own}; connect-src {own} {socket}; img-src data:; base-uri 'none'; form-action 'none'"
        )

    def _redeem(self, shown: str) -> bool:
        """Whether `shown` is the token. If so, replaces it by a new one."""
        if not _is_same(shown, self._token):
            return False
        self._token = secrets.token_urlsafe(24)
        notify(f"a browser has opened the page; the address for the next one: {self._address}")
        return True

    async def on_startup(self, app: web.Application) -> None:
        """Skip textual-serve's banner."""

    async def on_shutdown(self, app: web.Application) -> None:
        """End the chats. aiohttp would wait a minute for their pages to close."""
        for chat in self._chats:
            chat.cancel()
        await asyncio.gather(*self._chats, return_exceptions=True)

    async def handle_websocket(self, request: web.Request) -> web.WebSocketResponse:
        """Run the app for one of our own pages.

        Browsers let any page connect to any server, loopback included; only the Origin header names the page's site.
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
    """The Origin header for `url`: lower case, no path, no port that the scheme implies."""
    at = urlsplit(url)
    host = f"[{at.hostname}]" if ":" in (at.hostname or "") else at.hostname
    is_implied = at.port in (None, {"http": 80, "https": 443}.get(at.scheme))
    return f"{at.scheme}://{host}" + ("" if is_implied else f":{at.port}")


def _is_same(shown: str, secret: str) -> bool:
    return hmac.compare_digest(shown.encode("utf-8", "replace"), secret.encode())
