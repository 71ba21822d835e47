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

from ttchat_tui.cli.errors import ENGINE_ERROR, show_error
from ttchat_tui.domain.errors import ErrorInfo
from ttchat_tui.domain.installation import install_command

_SERVER: Final = "ttchat_tui.cli.web_server"
"""Imported by name: its libraries belong to an extra and take 0.3 s, which other commands save."""
_PARSER: Final = "ttchat_tui.cli.main"
"""Imported by name: it has this command."""


def serve(
    context: typer.Context,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port to listen on.")] = 8000,
    public_url: Annotated[
        str, typer.Option(help="Address for browsers, if it is not http://HOST:PORT.")
    ] = "",
    flags: Annotated[list[str] | None, typer.Argument(help="After --: flags of the chat.")] = None,
) -> None:
    """Serve the full-screen chat to browsers. The address contains a token; each page loads its own model."""
    if importlib.util.find_spec("textual_serve") is None:
        cure = f"Run: {install_command('ttchat-tui[web]')}"
        show_error(ErrorInfo(kind="extra_missing", message="The web server is not installed.", cure=cure))
        raise typer.Exit(ENGINE_ERROR)
    if not _is_loopback(host):
        show_error(
            ErrorInfo(
                kind="open_to_all",
                message="Anyone with the address can use the chat from other machines, and read and delete your conversations.",
                cure="Traffic is not encrypted: put a proxy with TLS in front.",
            )
        )
    arguments = [*(["--config", str(context.obj)] if context.obj is not None else []), *(flags or ())]
    importlib.import_module(_PARSER).check_page_flags(arguments)
    command = shlex.join([sys.executable, "-m", "ttchat_tui", *arguments])
    server = importlib.import_module(_SERVER).ChatServer(
        # Without exec a shell would run between the server and the app.
        f"exec {command}", host, port, public_url.rstrip("/") or page_url(host, port)
    )  # fmt: skip
    try:
        server.serve()
    except (OSError, UnicodeError) as error:  # UnicodeError: a label of the host name is empty or too long
        is_taken = isinstance(error, OSError) and error.errno in (errno.EADDRINUSE, errno.EACCES)
        show_error(
            ErrorInfo(
                kind="cannot_listen",
                message=f"Cannot listen on {host}:{port}: {getattr(error, 'strerror', None) or error}.",
                cure="Choose another --port." if is_taken else "Choose another --host.",
            )
        )
        raise typer.Exit(ENGINE_ERROR) from error


def page_url(host: str, port: int) -> str:
    """The address of a server on `host` for browsers. A host of all interfaces becomes this machine's name."""
    name = socket.gethostname() if host in ("0.0.0.0", "::", "") else host
    return f"http://[{name}]:{port}" if ":" in name else f"http://{name}:{port}"


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
