"""A package index on loopback with one wheel, whose transfer breaks off."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

WHEEL = "toy_model-1.0-py3-none-any.whl"


class Index:
    """What a test knows of the server."""

    def __init__(self) -> None:
        self.url = ""
        self.transfers = 0
        self.is_seen = threading.Event()
        """Set by the test: until then a transfer is held open after its last byte."""


@contextlib.contextmanager
def index_server(wheel: bytes, *, sends: int) -> Iterator[Index]:
    """Each transfer of `wheel` is cut off after `sends` bytes, once the test has seen some of them."""
    index = Index()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.path.endswith(".whl"):
                index.transfers += 1
                self._answer(wheel, sends)
                index.is_seen.wait(60)
            else:
                link = f'<a href="/{WHEEL}">{WHEEL}</a>'.encode()
                self._answer(link, len(link))

        def _answer(self, body: bytes, sends: int) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body[:sends])
            self.wfile.flush()

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    index.url = f"http://127.0.0.1:{server.server_port}/simple"
    try:
        yield index
    finally:
        index.is_seen.set()
        server.shutdown()
        server.server_close()
        thread.join()
