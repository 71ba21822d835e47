"""A raw socket server on loopback: the test decides every byte of a response, and how the connection closes."""

from __future__ import annotations

import json
import socket
import ssl
import threading
from collections.abc import Callable, Mapping
from typing import Any

MODELS = {"data": [{"id": "m", "owned_by": "vllm", "max_model_len": 4096}]}


class Heard:
    """One request as received."""

    def __init__(self, head: bytes, body: bytes) -> None:
        lines = head.decode("latin-1").split("\r\n")
        self.method, self.path, _ = lines[0].split(" ")
        pairs = (line.split(":", 1) for line in lines[1:] if line)
        self.headers = {name.lower(): value.strip() for name, value in pairs}
        self.json: Any = json.loads(body) if body else None


Handler = Callable[[socket.socket, Heard], None]


class RawServer:
    """Close it. `chat` answers POST /v1/chat/completions; everything else goes to `other`."""

    def __init__(self, chat: Handler | None = None, other: Handler | None = None) -> None:
        self.heard: list[Heard] = []
        self.gone = threading.Event()
        """A client has gone away while its answer was under way."""
        self._is_closed = False
        self._context: ssl.SSLContext | None = None
        self._chat = chat or stream(said("Hi"), end("stop"))
        self._other = other or listed
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}/v1"
        threading.Thread(target=self._serve, daemon=True).start()

    def close(self) -> None:
        """Close the port. Idempotent."""
        if not self._is_closed:
            self._is_closed = True
            self._listener.shutdown(socket.SHUT_RDWR)  # wakes the accept that waits
            self._listener.close()

    def secure(self, context: ssl.SSLContext) -> None:
        """Use TLS from now on."""
        self._context = context

    @property
    def chats(self) -> list[Heard]:
        return [each for each in self.heard if each.path.endswith("/chat/completions")]

    def _serve(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._answer, args=(client,), daemon=True).start()

    def _answer(self, client: socket.socket) -> None:
        if self._context is not None:
            try:
                client = self._context.wrap_socket(client, server_side=True)
            except OSError:  # the client does not take the certificate
                client.close()
                return
        with client:
            data = b""
            while b"\r\n\r\n" not in data:
                if not (more := client.recv(65536)):
                    return
                data += more
            head, _, body = data.partition(b"\r\n\r\n")
            heard = Heard(head, b"")
            while len(body) < int(heard.headers.get("content-length", 0)):
                if not (more := client.recv(65536)):  # the client has gone away in the middle of its request
                    return
                body += more
            heard = Heard(head, body)
            self.heard.append(heard)
            handler = self._chat if heard.path.endswith("/chat/completions") else self._other
            try:
                handler(client, heard)
            except OSError:
                self.gone.set()


def answer(
    status: int, body: bytes | str | Mapping[str, object], *headers: str, kind: str = "application/json"
) -> bytes:
    """A whole answer."""
    content = (
        json.dumps(body).encode()
        if isinstance(body, Mapping)
        else body
        if isinstance(body, bytes)
        else body.encode()
    )
    lines = [f"HTTP/1.1 {status} X", f"Content-Type: {kind}", f"Content-Length: {len(content)}", *headers]
    return "\r\n".join([*lines, "Connection: close", "", ""]).encode() + content


def listed(client: socket.socket, heard: Heard) -> None:
    """The list of models; 404 for everything else."""
    client.sendall(answer(200, MODELS) if heard.path == "/v1/models" else answer(404, {}))


HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n"


def data(fields: object) -> bytes:
    return b"data: " + json.dumps(fields).encode() + b"\n\n"


def said(text: str, **more: object) -> bytes:
    return data({"choices": [{"index": 0, "delta": {"content": text}, "finish_reason": None}], **more})


def thought(text: str, field: str = "reasoning_content") -> bytes:
    return data({"choices": [{"index": 0, "delta": {field: text}, "finish_reason": None}]})


def end(reason: str | None) -> bytes:
    return data({"choices": [{"index": 0, "delta": {}, "finish_reason": reason}]})


def usage(prompt: int, completion: int, cached: int = 0) -> bytes:
    figures = {"prompt_tokens": prompt, "completion_tokens": completion}
    return data({"choices": [], "usage": {**figures, "prompt_tokens_details": {"cached_tokens": cached}}})


DONE = b"data: [DONE]\n\n"


def stream(*parts: bytes) -> Handler:
    """Send these and close; no `[DONE]` unless it is among them."""

    def handle(client: socket.socket, _heard: Heard) -> None:
        client.sendall(HEAD + b"".join(parts))

    return handle


def silence(first: bytes = b"") -> Handler:
    """Send `first`, then nothing until the client leaves."""

    def handle(client: socket.socket, _heard: Heard) -> None:
        client.sendall(first)
        if not client.recv(1):
            raise ConnectionResetError

    return handle


def in_turn(*handlers: Handler) -> Handler:
    """One answer per request, in order; the last one for all later requests."""
    left = list(handlers)

    def handle(client: socket.socket, heard: Heard) -> None:
        (left.pop(0) if len(left) > 1 else left[0])(client, heard)

    return handle


def sends(whole: bytes) -> Handler:
    def handle(client: socket.socket, _heard: Heard) -> None:
        client.sendall(whole)

    return handle
