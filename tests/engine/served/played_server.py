"""A case of served.jsonl as a server: it sends the pieces that the case has for the requested path.

A piece is `{"send": text}` (Latin-1: every byte can be written) or `{"wait_s": seconds}`. What a case leaves open is
served as usual: a list of two models, and a reply of two words.
"""

from __future__ import annotations

import json
import socket
from collections.abc import Callable
from pathlib import Path
from threading import Event
from typing import Any, Final

from tests.engine.served.raw_server import DONE, Handler, Heard, RawServer, answer, end, said, stream

MODELS: Final = {"object": "list", "data": [{"id": "m1"}, {"id": "m2"}]}
PACE: Final = 0.1
"""Factor by which the waits of a case are shortened."""
LONG_S: Final = 5.0
"""A wait this long lasts until the client closes the connection."""


def _cases(file: str) -> dict[str, dict[str, Any]]:
    lines = Path(__file__).with_name("data").joinpath(file).read_text(encoding="utf-8").splitlines()
    return {case["name"]: case for case in map(json.loads, lines)}


CASES: Final = _cases("served.jsonl")
MORE: Final = _cases("more_servers.jsonl")


def played(
    routes: dict[str, list[dict[str, Any]]], chat: Handler | None = None, pace: float = PACE
) -> RawServer:
    """A server with the routes of a case; `chat` answers other chat requests."""
    usual = chat or stream(said("Hello"), said(" there"), end("stop"), DONE)

    def otherwise(then: Handler) -> Handler:
        def handle(client: socket.socket, heard: Heard) -> None:
            pieces = routes.get(heard.path)
            then(client, heard) if pieces is None else _play(client, pieces, pace)

        return handle

    return RawServer(chat=otherwise(usual), other=otherwise(played_list))


def refusing(status: int, message: str, is_refused: Callable[[Any], bool]) -> Handler:
    """Answers requests whose body `is_refused` with an error, and all others with `Hi`."""

    def handle(client: socket.socket, heard: Heard) -> None:
        if is_refused(heard.json):
            client.sendall(answer(status, {"error": {"message": message}}))
        else:
            stream(said("Hi"), end("stop"), DONE)(client, heard)

    return handle


def played_list(client: socket.socket, heard: Heard) -> None:
    """What a case serves beside the chat if it has no route for it."""
    client.sendall(answer(200, MODELS) if heard.path == "/v1/models" else answer(404, {}))


def _play(client: socket.socket, pieces: list[dict[str, Any]], pace: float) -> None:
    for piece in pieces:
        if "send" in piece:
            client.sendall(piece["send"].encode("latin-1"))
        elif piece["wait_s"] >= LONG_S:
            client.recv(1)
        else:
            Event().wait(piece["wait_s"] * pace)
