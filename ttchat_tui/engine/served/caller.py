"""The HTTP client of one endpoint: where the key may go, which redirects are followed, how much is read."""

from __future__ import annotations

import os
import queue
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, TypeAlias
from urllib.parse import urlsplit

import httpx
import msgspec

from ttchat_tui import __version__
from ttchat_tui.engine.base import EngineError
from ttchat_tui.engine.served.credentials import NO_SECRETS, Secrets
from ttchat_tui.engine.served.endpoint import Endpoint, host_of, is_loopback
from ttchat_tui.engine.served.errors import timed_out, transport_error
from ttchat_tui.engine.served.exchange import Answered, Broke, Ended, Exchange, Inbox, Received
from ttchat_tui.engine.served.loose_json import decoded
from ttchat_tui.engine.served.route import LazyTls, proxy_for
from ttchat_tui.engine.served.route import transport as plain_transport

LARGEST_ANSWER: Final = 8 << 20
"""Limit in bytes for an answer that is not streamed. The longest model lists have one or two million."""

_TICK_S: Final = 0.05

Tick: TypeAlias = Callable[[], None]
"""Called about twenty times a second while an answer is awaited. An exception in it ends the exchange."""


class Answer(msgspec.Struct, frozen=True):
    """A complete response."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def is_good(self) -> bool:
        return 200 <= self.status < 300

    def json(self) -> Any:
        """The body as JSON; None if it is not JSON or the status is not 2xx."""
        if not self.is_good:
            return None
        try:
            return decoded(self.body.decode("utf-8", "replace"))
        except ValueError:
            return None


class Caller:
    """Sends requests to one endpoint. The key goes into one header, to that endpoint's origin only."""

    def __init__(
        self,
        endpoint: Endpoint,
        key: str,
        *,
        connect_timeout_s: float,
        secrets: Secrets = NO_SECRETS,
        environ: Mapping[str, str] = os.environ,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        """`key` and `secrets` come from `credentials`, which checks them; empty means none. Proxies and certificates
        are read from `environ`. `transport` replaces the network in tests.

        Raises:
            EngineError: kind `endpoint_proxy`, or `endpoint_url` if the URL is not valid.
        """
        _check_url(endpoint)
        proxy = proxy_for(endpoint.base_url, environ)
        self.endpoint = msgspec.structs.replace(endpoint, proxy_env=proxy.variable if proxy else "")
        self.has_key = bool(key or secrets.headers)
        self._secrets = tuple(each.encode() for each in (key, *secrets.values) if each)
        self._moved: dict[str, str] = {}
        self.connect_timeout_s = connect_timeout_s
        headers = {"User-Agent": f"ttchat-tui/{__version__}", "Accept-Encoding": "identity"}
        private = dict(secrets.headers)
        if key:
            private["Authorization"] = f"Bearer {key}"
        self._private = frozenset(private)
        headers |= {**endpoint.headers, **private}
        # No connection is reused: on one that the server just closed, nobody could tell whether the request
        # was served.
        limits = httpx.Limits(max_keepalive_connections=0)
        self._client = httpx.Client(
            headers=headers,
            # No read timeout here: the code that waits for arrivals has a deadline of its own.
            timeout=httpx.Timeout(None, connect=connect_timeout_s, write=30.0),
            trust_env=False,
            event_hooks={"request": [self._guard]},
            transport=transport or plain_transport(limits, proxy),
            mounts={} if transport else {"https://": LazyTls(limits, proxy, environ)},
        )

    def close(self) -> None:
        self._client.close()

    def masked(self, data: bytes) -> bytes:
        """`data` with secrets masked: some servers repeat a key they refuse."""
        for secret in self._secrets:
            data = data.replace(secret, b"[key]")
        return data

    def url(self, path: str) -> str:
        """The URL of `path` below the base URL."""
        return self.endpoint.base_url + path

    def root_url(self, path: str) -> str:
        """The URL of `path` beside `/v1`."""
        return self.endpoint.root_url + path

    def start(
        self, url: str, body: object, inbox: Inbox, *, tag: int = 0, most_bytes: int = LARGEST_ANSWER
    ) -> Exchange:
        """Start an exchange (GET if `body` is None). Its arrivals are put into `inbox` under `tag`."""
        url = self._moved.get(url, url)
        request = (
            self._client.build_request("GET", url)
            if body is None
            else self._client.build_request(
                "POST", url, content=msgspec.json.encode(body), headers={"Content-Type": "application/json"}
            )
        )
        return Exchange(self._client, request, inbox, tag, most_bytes, moved=self._move)

    def ask(
        self,
        url: str,
        body: object = None,
        *,
        timeout_s: float,
        tick: Tick = lambda: None,
        most_bytes: int = LARGEST_ANSWER,
    ) -> Answer:
        """Wait for a complete response, whatever its status.

        Raises:
            EngineError: there was no response.
        """
        (found,) = ask_together([(self, url, body)], timeout_s=timeout_s, tick=tick, most_bytes=most_bytes)
        if isinstance(found, EngineError):
            raise found
        return found

    def _move(self, old: str, new: str) -> None:
        """Remember a permanent redirect."""
        self._moved[old] = new

    def _guard(self, request: httpx.Request) -> None:
        """Add secrets to a request, redirected ones included, if it goes to the endpoint's origin."""
        url = str(request.url)
        if not _is_same_place(self.endpoint.base_url, url):
            for name in self._private:
                request.headers.pop(name, None)
        is_plain = urlsplit(url).scheme != "https"
        if is_plain and not is_loopback(url) and urlsplit(self.endpoint.base_url).scheme == "https":
            raise EngineError(
                f"{self.endpoint.name} redirects to plain http at {host_of(url)}; "
                "the conversation was not sent there.",
                cure="Correct the base URL.",
                kind="endpoint_redirect",
            )
        is_exposed = (
            is_plain and not is_loopback(url) and any(name in request.headers for name in self._private)
        )
        if is_exposed and not self.endpoint.key_over_plain_http:
            raise EngineError(
                f"The key would go to {host_of(url)} over plain http.", kind="key_over_plain_http"
            )


def _check_url(endpoint: Endpoint) -> None:
    """Raise EngineError, kind `endpoint_url`, if httpx does not accept the base URL."""
    try:
        httpx.URL(endpoint.base_url)
    except httpx.InvalidURL as error:
        raise EngineError(
            f"{endpoint.url_setting} is not a server address: {error}.",
            cure="Give one like http://127.0.0.1:8000/v1.",
            kind="endpoint_url",
        ) from error


def _is_same_place(base_url: str, url: str) -> bool:
    """Whether `url` has the endpoint's origin, or upgrades its host from http to https."""
    base, other = httpx.URL(base_url), httpx.URL(url)
    is_upgrade = (base.scheme, other.scheme) == ("http", "https") and other.port is None and base.port is None
    return base.host == other.host and (is_upgrade or (base.scheme, base.port) == (other.scheme, other.port))


Question: TypeAlias = "tuple[Caller, str, object]"
"""Caller, URL, and body (None for a GET)."""


def ask_together(
    questions: Sequence[Question],
    *,
    timeout_s: float,
    tick: Tick = lambda: None,
    most_bytes: int = LARGEST_ANSWER,
) -> list[Answer | EngineError]:
    """Ask all questions at the same time; answers in the same order, each within `timeout_s`."""
    inbox: Inbox = queue.SimpleQueue()
    deadline_s = time.perf_counter() + timeout_s
    found: dict[int, Answer | EngineError] = {}
    heads: dict[int, Answered] = {}
    parts: list[list[bytes]] = [[] for _ in questions]
    exchanges: list[Exchange] = []
    try:
        for tag, (caller, url, body) in enumerate(questions):
            exchanges.append(caller.start(url, body, inbox, tag=tag, most_bytes=most_bytes))
        while len(found) < len(questions):
            tick()
            if time.perf_counter() > deadline_s:
                break
            try:
                arrival = inbox.get(timeout=_TICK_S)
            except queue.Empty:
                continue
            caller = questions[arrival.tag][0]
            match arrival:
                case Answered():
                    heads[arrival.tag] = arrival
                case Received():
                    parts[arrival.tag].append(arrival.data)
                case Ended():
                    head, body = heads[arrival.tag], b"".join(parts[arrival.tag])
                    found[arrival.tag] = Answer(head.status, dict(head.headers), caller.masked(body))
                case Broke():
                    found[arrival.tag] = transport_error(arrival.error, caller.endpoint)
                case _:
                    pass
        return [
            found.get(tag) or timed_out(caller.endpoint, timeout_s)
            for tag, (caller, _, _) in enumerate(questions)
        ]
    finally:
        for exchange in exchanges:
            exchange.close()
