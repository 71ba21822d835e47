"""One HTTP exchange on its own thread, its arrivals in a queue, so that the engine thread never blocks in a read.

The engine thread waits on the queue with its own deadlines. A cancel wakes it at once, whatever the exchange is doing
(name look-up, connect, TLS, read). It then closes the exchange by shutting the socket down, which ends a blocking read
in the other thread. Closing the file descriptor would not, and could hit a descriptor that was reused.
"""

from __future__ import annotations

import logging
import queue
import socket
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import closing, suppress
from typing import Any, Final, NamedTuple, TypeAlias

import httpx

_log = logging.getLogger(__name__)

_SOCKET_EVENTS: Final = ("connection.connect_tcp.complete", "connection.start_tls.complete")
_MOST_REDIRECTS: Final = 3
_SENT_EVENT: Final = "http11.send_request_headers.started"


class Connected(NamedTuple):
    """The connection is made (with TLS) and the request goes out."""

    tag: int
    time_s: float
    """`time.perf_counter()` on the reading thread; the same in all arrivals."""


class Answered(NamedTuple):
    tag: int
    time_s: float
    status: int
    headers: Mapping[str, str]
    url: str
    """The final URL, after redirects."""


class Received(NamedTuple):
    """Some bytes of the answer's body, decompressed."""

    tag: int
    time_s: float
    data: bytes


class Ended(NamedTuple):
    """The body is complete, as far as the transport can tell."""

    tag: int
    time_s: float


class Broke(NamedTuple):
    tag: int
    time_s: float
    error: Exception


class Woken(NamedTuple):
    """Not from the network: the reply's control has changed."""

    tag: int = -1


Arrival: TypeAlias = Connected | Answered | Received | Ended | Broke | Woken
Inbox: TypeAlias = "queue.SimpleQueue[Arrival]"


class BodyTooLarge(Exception):
    """The response is larger than the limit of its request."""


class Exchange:
    """Starts at once. Arrivals carry `tag`: some may still come after `close`."""

    def __init__(
        self,
        client: httpx.Client,
        request: httpx.Request,
        inbox: Inbox,
        tag: int,
        most_bytes: int,
        *,
        moved: Callable[[str, str], None] = lambda old, new: None,
    ) -> None:
        """`moved` is called on the exchange's thread for a permanent redirect."""
        self._moved = moved
        self._client = client
        self._request = request
        self._inbox = inbox
        self._tag = tag
        self._most_bytes = most_bytes
        self._lock = threading.Lock()
        self._socket: socket.socket | None = None
        self._is_closed = False
        request.extensions = {**request.extensions, "trace": self._trace}
        # A daemon: a hanging name look-up must not delay the end of the program.
        threading.Thread(target=self._run, name=f"remote-{tag}", daemon=True).start()

    def close(self) -> None:
        """End it now, from any thread. Idempotent."""
        with self._lock:
            self._is_closed = True
            self._shut()

    def _shut(self) -> None:
        if self._socket is not None:
            with suppress(OSError):  # it is closed already
                # Not SSLSocket.shutdown: it drops the TLS state that the reading thread uses.
                socket.socket.shutdown(self._socket, socket.SHUT_RDWR)

    def _trace(self, name: str, info: Mapping[str, Any]) -> None:
        if name in _SOCKET_EVENTS:
            with self._lock:
                self._socket = info["return_value"].get_extra_info("socket")
                if self._is_closed:
                    self._shut()
        elif name == _SENT_EVENT:
            self._inbox.put(Connected(self._tag, time.perf_counter()))

    def _sent(self) -> httpx.Response:
        """Send, following redirects. A POST stays a POST: like browsers, httpx turns it into a GET at 301 and 302, which
        would lose the request."""
        request = self._request
        for _ in range(_MOST_REDIRECTS + 1):
            response = self._client.send(request, stream=True, follow_redirects=False)
            following = response.next_request
            if following is None:
                return response
            response.close()
            if request.method == "POST" and response.status_code in (301, 302):
                kept = {"Content-Type": request.headers["Content-Type"]}
                following = httpx.Request(
                    "POST", following.url, headers={**following.headers, **kept}, content=request.content
                )
            following.extensions = request.extensions
            if response.status_code in (301, 308):
                self._moved(str(request.url), str(following.url))
            request = following
        raise httpx.TooManyRedirects("too many redirects", request=request)

    def _run(self) -> None:
        tag, put = self._tag, self._inbox.put
        try:
            response = self._sent()
            with closing(response):
                url = str(response.url)
                put(Answered(tag, time.perf_counter(), response.status_code, response.headers, url))
                left = self._most_bytes
                for data in response.iter_bytes():
                    left -= len(data)
                    if left < 0:
                        raise BodyTooLarge(f"more than {self._most_bytes:,} bytes")
                    put(Received(tag, time.perf_counter(), data))
            put(Ended(tag, time.perf_counter()))
        except Exception as error:  # noqa: BLE001 - passed to the waiting thread, which reports it
            if not self._is_closed:
                put(Broke(tag, time.perf_counter(), error))
            else:
                _log.debug("an exchange that was closed ended with %s", type(error).__name__)
