"""The route to a server: proxy and certificates from the environment. Errors name the variable at fault.

httpx reads the same variables, but it fails at `[::1]`, knows no networks (`10.0.0.0/8`) in NO_PROXY, and names no
variable in its errors.
"""

from __future__ import annotations

import ipaddress
import os
import socket
import ssl
import threading
from collections.abc import Mapping
from typing import Final
from urllib.parse import urlsplit

import httpx
import msgspec

from ttchat_tui.engine.base import EngineError
from ttchat_tui.engine.served.endpoint import is_loopback

_PROXY_SCHEMES: Final = ("http", "https", "socks5", "socks5h")


class ProxyChoice(msgspec.Struct, frozen=True):
    """A proxy and the variable that names it."""

    url: str
    variable: str


def proxy_for(url: str, environ: Mapping[str, str]) -> ProxyChoice | None:
    """The environment's proxy for `url`; None for this machine and for hosts in NO_PROXY.

    Raises:
        EngineError: kind `endpoint_proxy`: the variable's value is not a proxy.
    """
    if is_loopback(url):
        return None
    scheme = urlsplit(url).scheme
    name, value = next(
        (
            (name, environ[name].strip())
            for upper in (f"{scheme}_proxy".upper(), "ALL_PROXY")
            for name in (upper.lower(), upper)
            if environ.get(name, "").strip()
        ),
        ("", ""),
    )
    # In a CGI program HTTP_PROXY may come from a client's `Proxy` header.
    if not value or (name == "HTTP_PROXY" and "REQUEST_METHOD" in environ) or _is_exempt(url, environ):
        return None
    value = value if "://" in value else f"http://{value}"
    try:
        parts = urlsplit(value)
        is_good = parts.scheme in _PROXY_SCHEMES and bool(parts.hostname) and parts.port != 0
    except ValueError:
        is_good = False
    if not is_good:
        raise EngineError(
            f"The environment variable {name} does not name a usable proxy.",
            cure=f"Give {name} a URL that begins with {', '.join(f'{each}://' for each in _PROXY_SCHEMES)}; or name the "
            "server in NO_PROXY.",
            kind="endpoint_proxy",
        )
    return ProxyChoice(value, name)


def _is_exempt(url: str, environ: Mapping[str, str]) -> bool:
    entries = environ.get("no_proxy") or environ.get("NO_PROXY") or ""
    parts = urlsplit(url)
    host = (parts.hostname or "").lower().rstrip(".")
    port = parts.port or (443 if parts.scheme == "https" else 80)
    return any(_covers(entry.strip().lower(), host, port) for entry in entries.split(","))


def _covers(entry: str, host: str, port: int) -> bool:
    """Whether an entry of NO_PROXY (`*`, `.lab`, `lab:8000`, `10.0.0.0/8`, `[::1]`) covers a host."""
    if entry == "*":
        return True
    entry = entry.partition("://")[2] or entry
    try:
        return ipaddress.ip_address(host) in ipaddress.ip_network(entry.strip("[]"), strict=False)
    except ValueError:
        pass  # one of the two is a name, or the entry has a port
    try:
        parts = urlsplit(f"//{entry}")
        name, wanted = (parts.hostname or "").strip("*").strip("."), parts.port
    except ValueError:
        return False
    return bool(name) and wanted in (None, port) and (host == name or host.endswith(f".{name}"))


def tls_context(environ: Mapping[str, str]) -> ssl.SSLContext:
    """The certificates of SSL_CERT_FILE and SSL_CERT_DIR, else httpx's own.

    Raises:
        EngineError: kind `endpoint_tls`: a variable names a missing file or one without certificates.
    """
    for name, is_there in (("SSL_CERT_FILE", os.path.isfile), ("SSL_CERT_DIR", os.path.isdir)):
        path = environ.get(name, "")
        if path and not is_there(path):
            raise _bad_certificates(name, "names a file or folder that does not exist")
    file, folder = environ.get("SSL_CERT_FILE", ""), environ.get("SSL_CERT_DIR", "")
    if not file and not folder:
        return httpx.create_ssl_context(trust_env=False)
    try:
        return ssl.create_default_context(cafile=file or None, capath=folder or None)
    except OSError as error:  # ssl.SSLError is one
        raise _bad_certificates("SSL_CERT_FILE", "names a file without readable certificates") from error


def _bad_certificates(variable: str, what: str) -> EngineError:
    return EngineError(
        f"The environment variable {variable} {what}.",
        cure=f"Correct {variable}, or unset it.",
        kind="endpoint_tls",
    )


def speaks_tls(url: str, timeout_s: float) -> bool:
    """Whether the server completes a TLS handshake. Nothing is sent, so no certificate is checked."""
    parts = urlsplit(url)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    try:
        with (
            socket.create_connection((parts.hostname or "", parts.port or 80), timeout_s) as plain,
            context.wrap_socket(plain),
        ):
            return True
    except OSError:  # ssl.SSLError is one
        return False


class LazyTls(httpx.BaseTransport):
    """An https transport that loads its certificates at the first request: loading is slow, and plain http needs none."""

    def __init__(self, limits: httpx.Limits, proxy: ProxyChoice | None, environ: Mapping[str, str]) -> None:
        self._limits = limits
        self._proxy = proxy
        self._environ = environ
        self._lock = threading.Lock()
        self._transport: httpx.HTTPTransport | None = None

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        with self._lock:
            if self._transport is None:
                context = tls_context(self._environ)
                self._transport = transport(self._limits, self._proxy, context)
        return self._transport.handle_request(request)

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()


def transport(
    limits: httpx.Limits, proxy: ProxyChoice | None, context: ssl.SSLContext | None = None
) -> httpx.HTTPTransport:
    """For https with `context`, plain http without."""
    return httpx.HTTPTransport(
        verify=False if context is None else context,
        trust_env=False,
        limits=limits,
        proxy=None if proxy is None else httpx.Proxy(proxy.url),
    )
