"""A hub on loopback with one repository, which can cut transfers, refuse requests or send wrong files."""

from __future__ import annotations

import contextlib
import hashlib
import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit

REPO = "maker/toy"
COMMIT = "c0ffee0123456789"

WEIGHTS = bytes(range(256)) * 4096
"""1 MB: large enough to break off in the middle of."""

FILES = {
    "config.json": b'{"model_type": "llama"}',
    "tokenizer.json": b"{}",
    "model.safetensors": WEIGHTS,
    "README.md": b"# not wanted",
    "pytorch_model.bin": b"never wanted",
    "original/model.safetensors": b"not wanted either",
}


@dataclass
class Hub:
    """What the server serves and how it misbehaves; `requests` has all requests in order."""

    files: dict[str, bytes] = field(default_factory=lambda: dict(FILES))
    status: int = 200
    """Any other answers every request with an error."""
    error_code: str = ""
    """X-Error-Code of that answer."""
    failures: int = 0
    """So many requests are answered 503 first."""
    break_after: list[int] = field(default_factory=list)
    """One entry a transfer of the weights: break off after so many bytes."""
    honours_ranges: bool = True
    lies: bool = False
    """Send weights other than those listed, of the same size."""
    redirect_to: str = ""
    """Send the weights' requests to this server, as the hub does with LFS files."""
    answers: dict[str, tuple[int, bytes, dict[str, str]]] = field(default_factory=dict)
    """Status, body and headers for paths with this beginning, whatever else is set."""
    is_endless: bool = False
    """The weights' transfers go on until the other side ends them."""
    requests: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    endpoint: str = ""

    def asked(self, name: str) -> list[dict[str, str]]:
        """The headers of the requests for one file."""
        return [headers for path, headers in self.requests if path.endswith(f"/{name}")]

    def listing(self) -> bytes:
        siblings = [
            {
                "rfilename": name,
                "size": len(content),
                "blobId": hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest(),
                **(
                    {"lfs": {"sha256": hashlib.sha256(content).hexdigest(), "size": len(content)}}
                    if len(content) > 9999
                    else {}
                ),
            }
            for name, content in self.files.items()
        ]
        return json.dumps({"id": REPO, "sha": COMMIT, "siblings": siblings}).encode()


class _Handler(BaseHTTPRequestHandler):
    hub: Hub

    def do_GET(self) -> None:
        hub, path = self.hub, unquote(urlsplit(self.path).path)
        hub.requests.append((path, {name.lower(): value for name, value in self.headers.items()}))
        odd = next((answer for start, answer in hub.answers.items() if path.startswith(start)), None)
        if odd is not None:
            status, body, headers = odd
            self._answer(status, body, headers)
        elif hub.failures > 0:
            hub.failures -= 1
            self._answer(503, b"busy")
        elif hub.status != 200:
            self._answer(hub.status, b"no", {"X-Error-Code": hub.error_code})
        elif path.startswith(f"/api/models/{REPO}/revision/"):
            self._answer(200, hub.listing())
        elif path.startswith(f"/{REPO}/resolve/{COMMIT}/"):
            self._file(path.removeprefix(f"/{REPO}/resolve/{COMMIT}/"))
        elif path == "/api/models":
            self._answer(200, json.dumps([{"id": REPO}]).encode())
        else:
            self._answer(404, b"not found")

    def _file(self, name: str) -> None:
        hub, content = self.hub, self.hub.files[name]
        is_weights = name.endswith((".safetensors", ".gguf"))
        if is_weights and hub.redirect_to:
            return self._answer(302, b"", {"Location": hub.redirect_to + self.path})
        if is_weights and hub.is_endless:
            return self._endless()
        if is_weights and hub.lies:
            content = bytes(len(content))
        start, status, headers = 0, 200, {}
        if hub.honours_ranges and (asked := self.headers.get("Range")):
            start = int(asked.removeprefix("bytes=").removesuffix("-"))
            if start >= len(content):
                return self._answer(416, b"")
            status, headers = 206, {"Content-Range": f"bytes {start}-{len(content) - 1}/{len(content)}"}
        body = content[start:]
        cut = hub.break_after.pop(0) if is_weights and hub.break_after else len(body)
        return self._answer(status, body, headers, cut)

    def _endless(self) -> None:
        self.send_response(200)
        self.end_headers()
        with contextlib.suppress(OSError):  # The other side has ended it.
            while True:
                self.wfile.write(bytes(2**16))

    def _answer(
        self, status: int, body: bytes, headers: dict[str, str] | None = None, cut: int | None = None
    ) -> None:
        self.send_response(status)
        named = {"Content-Length": str(len(body)), **(headers or {})}
        for name, value in named.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body[:cut])
        self.close_connection = True

    def log_message(self, format: str, *args: object) -> None:
        """Tests keep their output clean."""


@contextlib.contextmanager
def serving(hub: Hub) -> Iterator[Hub]:
    """Serve `hub` on a free port of loopback while the block runs."""
    handler = type("Handler", (_Handler,), {"hub": hub})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    hub.endpoint = f"http://127.0.0.1:{server.server_port}"
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
