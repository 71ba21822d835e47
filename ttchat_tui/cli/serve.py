"""`ttchat-tui serve`: the app in a browser, through textual-serve."""

from __future__ import annotations

import errno
import importlib
import importlib.util
import ipaddress
import shlex
import socket
import sys
from typing import Annotated, Final

import typer

from ttchat_tui.cli.errors import ENGINE_ERROR, say
from ttchat_tui.domain.events import ErrorInfo

_SERVER: Final = "ttchat_tui.cli.web_server"
"""Imported by name: its libraries belong to an extra, and take 0.3 s that no other command should wait for."""

MISSING_EXTRA: Final = ErrorInfo(
    kind="extra_missing",
    message="The web server is not installed.",
    cure="Run: pip install 'ttchat-tui[web]'",
)


def serve(
    context: typer.Context,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port to listen on.")] = 8000,
    public_url: Annotated[
        str, typer.Option(help="What browsers call it, when that is not http://HOST:PORT.")
    ] = "",
    flags: Annotated[list[str] | None, typer.Argument(help="After --: flags for the chat.")] = None,
) -> None:
    """Serve the full-screen chat to browsers, at an address with a token in it. Each page loads a model of its own."""
    if importlib.util.find_spec("textual_serve") is None:
        say(MISSING_EXTRA)
        raise typer.Exit(ENGINE_ERROR)
    if not _is_loopback(host):
        say(
            ErrorInfo(
                kind="open_to_all",
                message="Anyone with the address can chat from other machines, and read and delete your conversations.",
                cure="The traffic can be read on the way too: put a proxy with TLS in front.",
            )
        )
    config = ["--config", str(context.obj)] if context.obj is not None else []
    command = shlex.join([sys.executable, "-m", "ttchat_tui", *config, *(flags or ())])
    server = importlib.import_module(_SERVER).ChatServer(
        # Without exec a shell would stand between the server and the app.
        f"exec {command}", host, port, public_url.rstrip("/") or page_url(host, port)
    )  # fmt: skip
    try:
        server.serve()
    except (OSError, UnicodeError) as error:  # UnicodeError: a name with a part that is empty or too long
        is_taken = isinstance(error, OSError) and error.errno in (errno.EADDRINUSE, errno.EACCES)
        say(
            ErrorInfo(
                kind="cannot_listen",
                message=f"Cannot listen on {host}:{port}: {getattr(error, 'strerror', None) or error}.",
                cure="Choose another --port." if is_taken else "Choose another --host.",
            )
        )
        raise typer.Exit(ENGINE_ERROR) from error


def page_url(host: str, port: int) -> str:
    """Where a browser finds a server on `host`; the address that stands for all is called by this machine's name."""
    name = socket.gethostname() if host in ("0.0.0.0", "::", "") else host
    return f"http://[{name}]:{port}" if ":" in name else f"http://{name}:{port}"


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
