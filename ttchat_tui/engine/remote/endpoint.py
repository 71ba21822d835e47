"""Which server, which model, which key: from options and a model's name. Pure: nothing is asked of a network."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import urlsplit

import msgspec

from ttchat_tui.domain.model_spec import RemoteOptions
from ttchat_tui.engine.base import EngineError, ModelLoadError

PREFIX: Final = "remote:"
"""Before a model's name, wherever any engine's models may stand: `remote:lab/llama-3`."""

USUAL_PORTS: Final = (8000, 8001, 8080, 11434)
"""vLLM and tt-inference-server, a second one, llama.cpp, Ollama."""


class Endpoint(msgspec.Struct, frozen=True, kw_only=True):
    """One server as it is to be talked to. Holds the name of the key's variable, never the key."""

    name: str
    """As shown and recorded: the user's name for it, else host and port."""
    base_url: str
    """Without a slash at the end; `/models` and `/chat/completions` follow it."""
    api_key_env: str = ""
    key_over_plain_http: bool = False
    user_env: str = ""
    """The environment variable that holds USER:PASSWORD for HTTP's Basic authentication."""
    headers: Mapping[str, str] = {}
    """Sent with every request."""
    header_env: Mapping[str, str] = {}
    """Header → the environment variable that holds its value: for those that are secrets."""
    extra_body: Mapping[str, Any] = {}
    """Fields of every request for a reply, in place of the app's own."""
    alias: str = ""
    """What stands before its models' names: the user's name for it in config.toml, or the port of this machine that it
    was found at. Empty where it was given as a URL."""

    @property
    def root_url(self) -> str:
        """Where a server keeps what is not OpenAI's: the base without `/v1`."""
        return self.base_url.removesuffix("/v1")

    @property
    def is_local(self) -> bool:
        return is_loopback(self.base_url)

    def model_name(self, model_id: str) -> str:
        """What a load takes for a model of this server."""
        return f"{PREFIX}{self.alias}/{model_id}" if self.alias else f"{PREFIX}{model_id}"


class Wanted(msgspec.Struct, frozen=True):
    """What a load asks for."""

    endpoint: Endpoint | None
    """None: no server was named; the usual ports are to be looked at."""
    model: str
    """Its id at the server; empty: whatever it serves first."""


def wanted(name: str, options: RemoteOptions) -> Wanted:
    """Read a model's name (`remote:ID`, `remote:ENDPOINT/ID`, with or without the prefix) with the options. ENDPOINT is
    a name in them, or one of this machine's usual ports (`127.0.0.1:8000`).

    Raises:
        ModelLoadError: kind `no_endpoint`: options name an endpoint that there is not, or one without a URL;
            kind `endpoint_url`: its URL is none.
    """
    model = name.strip().removeprefix(PREFIX)
    head, slash, rest = model.partition("/")
    if slash and head in options.endpoints:
        return _named(head, rest, options)
    place = next((each for each in usual_places() if slash and each.alias == head), None)
    if place is not None:
        return Wanted(place, rest)
    if not options.base_url and not options.endpoint:
        return Wanted(None, model)
    if options.endpoint:
        return _named(options.endpoint, model, options)
    endpoint = Endpoint(
        name=host_of(options.base_url),
        base_url=checked_url(options.base_url),
        api_key_env=options.api_key_env,
        key_over_plain_http=options.key_over_plain_http,
    )
    return Wanted(endpoint, model)


def _named(alias: str, model: str, options: RemoteOptions) -> Wanted:
    found = options.endpoints.get(alias)
    if found is None or not found.base_url:
        known = ", ".join(sorted(options.endpoints)) or "none"
        raise ModelLoadError(
            f"There is no endpoint {alias!r} with a base_url in the config (there: {known}).",
            cure=f"Write [remote.endpoints.{alias}] with base_url, or give --base-url.",
            kind="no_endpoint",
        )
    endpoint = Endpoint(
        name=alias,
        base_url=checked_url(found.base_url),
        api_key_env=found.api_key_env,
        key_over_plain_http=found.key_over_plain_http,
        alias=alias,
    )
    return Wanted(endpoint, model or found.model)


def usual_places() -> tuple[Endpoint, ...]:
    """This machine's usual ports. No key goes there: nobody has said who listens."""
    hosts = (f"127.0.0.1:{port}" for port in USUAL_PORTS)
    return tuple(Endpoint(name=host, base_url=f"http://{host}/v1", alias=host) for host in hosts)


def checked_url(url: str) -> str:
    """`url` without a slash at its end.

    Raises:
        ModelLoadError: kind `endpoint_url`.
    """
    try:
        parts = urlsplit(url.strip())
        is_good = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        parts, is_good = None, False
    if parts is None or not is_good:
        raise ModelLoadError(
            f"{_shown(url)!r} is no address of a server.",
            cure="Give one like http://127.0.0.1:8000/v1.",
            kind="endpoint_url",
        )
    if parts.username or parts.password:
        raise ModelLoadError(
            "The base URL holds a user name or password, which would be shown and recorded.",
            cure="Take it out; put the key into an environment variable and name that as api_key_env.",
            kind="endpoint_url",
        )
    if parts.query or parts.fragment:
        raise ModelLoadError(
            f"The base URL of {host_of(url)} has a part after `?` or `#`, where no path can be put behind it.",
            cure="Leave that out; a key belongs into an environment variable, named as api_key_env.",
            kind="endpoint_url",
        )
    return url.strip().rstrip("/")


def host_of(url: str) -> str:
    """Host and, where it is given, port: nothing else of a URL is ever shown."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        return ""
    return f"{host}:{port}" if port else host


def is_loopback(url: str) -> bool:
    """Whether what is sent to `url` stays on this machine."""
    try:
        host = urlsplit(url).hostname or ""
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def api_key(endpoint: Endpoint, environ: Mapping[str, str]) -> str:
    """The key to send; empty where there is none.

    Raises:
        EngineError: kind `key_over_plain_http`: it would be readable on its way; kind `endpoint_key`: it holds what
            cannot be sent.
    """
    key = environ.get(endpoint.api_key_env, "").strip() if endpoint.api_key_env else ""
    if not (
        key.isascii() and key.isprintable()
    ):  # told here, because libraries would repeat it in their errors
        raise EngineError(
            f"The key in {endpoint.api_key_env} holds a character that no key has: a line break, or a typographic "
            "quotation mark.",
            cure=f"Set {endpoint.api_key_env} again.",
            kind="endpoint_key",
        )
    is_plain = urlsplit(endpoint.base_url).scheme == "http"
    if key and is_plain and not endpoint.is_local and not endpoint.key_over_plain_http:
        where = f"[remote.endpoints.{endpoint.alias}]" if endpoint.alias else "[remote]"
        raise EngineError(
            f"The key in {endpoint.api_key_env} would go to {endpoint.name} over plain http, "
            "readable by whoever is on the way.",
            cure=f"Use https, unset {endpoint.api_key_env}, or set key_over_plain_http = true in {where}.",
            kind="key_over_plain_http",
        )
    return key


def _shown(url: str) -> str:
    return url.rpartition("@")[2][:80]
