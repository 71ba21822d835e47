"""The HTTP client of one endpoint: who may get the key, what is followed, how much is read."""

from __future__ import annotations

import queue
import time
from collections.abc import Callable, Mapping
from typing import Any, Final
from urllib.parse import urlsplit

import httpx
import msgspec

from ttchat_tui import __version__
from ttchat_tui.engine.base import EngineError
from ttchat_tui.engine.remote.endpoint import Endpoint, host_of, is_loopback
from ttchat_tui.engine.remote.errors import explained, timed_out
from ttchat_tui.engine.remote.exchange import Answered, Broke, Ended, Exchange, Inbox, Received

LARGEST_ANSWER: Final = 8 << 20
"""Bytes of an answer that is not streamed: the longest lists of models have one or two million."""

_TICK_S: Final = 0.05


class Answer(msgspec.Struct, frozen=True):
    """A whole answer."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def is_good(self) -> bool:
        return 200 <= self.status < 300

    def json(self) -> Any:
        """The body as JSON; None where it is none, or the status is bad."""
        if not self.is_good:
            return None
        try:
            return msgspec.json.decode(self.body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return None


class Caller:
    """Sends requests to one endpoint. The key goes into one header, to that endpoint's origin, and nowhere else."""

    def __init__(
        self,
        endpoint: Endpoint,
        key: str,
        *,
        connect_timeout_s: float,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        """`key` has passed `endpoint.api_key`'s checks; empty: none. `transport` is for tests."""
        self.endpoint = endpoint
        self.has_key = bool(key)
        self._key = key.encode()
        self.connect_timeout_s = connect_timeout_s
        headers = {"User-Agent": f"ttchat-tui/{__version__}", "Accept-Encoding": "identity"}
        if key:
            headers["Authorization"] = f"Bearer {key}"
        self._client = httpx.Client(
            headers=headers,
            # Reading has no limit here: whoever waits for arrivals has one, and closes.
            timeout=httpx.Timeout(None, connect=connect_timeout_s, write=30.0),
            # No connection is used twice: on one that the server has just given up it could not be known whether the
            # request was served.
            limits=httpx.Limits(max_keepalive_connections=0),
            follow_redirects=True,
            max_redirects=3,
            # A proxy from the environment is for the way out, never for this machine; certificates are for both.
            trust_env=not endpoint.is_local,
            verify=httpx.create_ssl_context(trust_env=True),
            event_hooks={"request": [self._guard]},
            transport=transport,
        )

    def close(self) -> None:
        self._client.close()

    def masked(self, said: bytes) -> bytes:
        """What a server said, without the key: some repeat it when they refuse it."""
        return said.replace(self._key, b"[key]") if self._key else said

    def url(self, path: str) -> str:
        """Below the base URL."""
        return self.endpoint.base_url + path

    def root_url(self, path: str) -> str:
        """Beside `/v1`."""
        return self.endpoint.root_url + path

    def start(
        self, url: str, body: object, inbox: Inbox, *, tag: int = 0, most_bytes: int = LARGEST_ANSWER
    ) -> Exchange:
        """Send; `body` None is a GET. Arrivals come to `inbox` under `tag`."""
        request = (
            self._client.build_request("GET", url)
            if body is None
            else self._client.build_request(
                "POST", url, content=msgspec.json.encode(body), headers={"Content-Type": "application/json"}
            )
        )
        return Exchange(self._client, request, inbox, tag, most_bytes)

    def ask(
        self, url: str, body: object = None, *, timeout_s: float, tick: Callable[[], None] = lambda: None
    ) -> Answer:
        """A whole answer, whatever its status.

        `tick` is called some twenty times a second meanwhile; what it raises ends the exchange.

        Raises:
            EngineError: there is no answer, in words.
        """
        inbox: Inbox = queue.SimpleQueue()
        deadline_s = time.perf_counter() + timeout_s
        exchange = self.start(url, body, inbox)
        status, headers, parts = 0, dict[str, str](), list[bytes]()
        try:
            while True:
                tick()
                try:
                    arrival = inbox.get(timeout=_TICK_S)
                except queue.Empty:
                    if time.perf_counter() > deadline_s:
                        raise timed_out(self.endpoint, timeout_s) from None
                    continue
                match arrival:
                    case Answered():
                        status, headers = arrival.status, dict(arrival.headers)
                    case Received():
                        parts.append(arrival.data)
                    case Ended():
                        return Answer(status, headers, self.masked(b"".join(parts)))
                    case Broke():
                        raise explained(arrival.error, self.endpoint) from arrival.error
                    case _:
                        pass
        finally:
            exchange.close()

    def _guard(self, request: httpx.Request) -> None:
        """Called before each request goes out, those of redirects too (from which httpx has taken the key where the
        origin is another)."""
        url = str(request.url)
        is_plain = urlsplit(url).scheme != "https"
        if is_plain and not is_loopback(url) and urlsplit(self.endpoint.base_url).scheme == "https":
            raise EngineError(
                f"{self.endpoint.name} redirects to plain http at {host_of(url)}; "
                "the conversation was not sent there.",
                cure="Correct the base URL.",
                kind="endpoint_redirect",
            )
        is_exposed = is_plain and not is_loopback(url) and "Authorization" in request.headers
        if is_exposed and not self.endpoint.key_over_plain_http:
            raise EngineError(
                f"The key would go to {host_of(url)} over plain http.", kind="key_over_plain_http"
            )
