"""Endpoints: which server, which model, which key, from options and a model's name. Pure, no network."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import urlsplit

import msgspec

from ttchat_tui.domain.given_settings import setting
from ttchat_tui.domain.model_spec import RemoteOptions
from ttchat_tui.engine.base import ModelLoadError

PREFIX: Final = "remote:"
"""Prefix of a served model's name: `remote:lab/llama-3`."""

USUAL_PORTS: Final = (8000, 20000, 8001, 8080, 11434, 1234, 4000, 13305, 30000)
"""vLLM and tt-inference-server, `tt serve` (from 1.1 on), a second vLLM, llama.cpp, Ollama, LM Studio, LiteLLM's proxy,
Lemonade, SGLang."""

_ROUTES: Final = (
    "/chat/completions",
    "/api/chat",
    "/api/generate",
    "/chat",
    "/completions",
    "/models",
    "/responses",
    "/embeddings",
    "/messages",
)
"""Routes that people copy along with a base URL."""
_OURS: Final = frozenset(
    {"host", "content-length", "content-type", "transfer-encoding", "connection", "accept-encoding"}
)
"""Headers a config must not set."""
_SECRET: Final = re.compile(r"auth|key|token|secret|cookie|password", re.IGNORECASE)
_NO_URL: Final = re.compile(r"[\s\\<>\"{}|^`\x00-\x1f\x7f]")
"""Characters no URL contains."""
_CUT_SCHEME: Final = re.compile(r"(https?):/*", re.IGNORECASE)
_HEADER: Final = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")


class Endpoint(msgspec.Struct, frozen=True, kw_only=True):
    """One server and how to talk to it. Holds the name of the key's variable, never the key."""

    name: str
    """As shown and recorded: the user's name for it, else host and port."""
    base_url: str
    """Without a trailing slash; `/models` and `/chat/completions` are appended."""
    api_key_env: str = ""
    key_over_plain_http: bool = False
    user_env: str = ""
    """The environment variable that holds USER:PASSWORD for HTTP Basic authentication."""
    headers: Mapping[str, str] = {}
    """Sent with every request."""
    header_env: Mapping[str, str] = {}
    """Secret headers, each with the environment variable that holds its value."""
    extra_body: Mapping[str, Any] = {}
    """Fields of every chat request; they override the app's own."""
    alias: str = ""
    """Prefix of its models' names: its name in config.toml, or the local port it was found at. Empty if it was given
    as a URL."""
    others: frozenset[str] = frozenset()
    """The prefixes of other endpoints."""
    proxy_env: str = ""
    """The environment variable that names its proxy; empty if there is none."""

    @property
    def root_url(self) -> str:
        """The base URL without `/v1`, where servers keep routes that are not OpenAI's."""
        return self.base_url.removesuffix("/v1").removesuffix("/api")

    @property
    def is_local(self) -> bool:
        return is_loopback(self.base_url)

    @property
    def url_setting(self) -> str:
        """The setting that has its URL, as in config.toml; of one that was found on this machine, the setting that would."""
        return url_setting("" if ":" in self.alias else self.alias)

    def model_name(self, model_id: str) -> str:
        """The name under which a load finds a model of this server."""
        head, slash, _ = model_id.partition("/")
        is_taken = bool(slash) and (head in self.others or head == self.name)
        place = self.alias or (self.name if is_taken else "")
        return f"{PREFIX}{place}/{model_id}" if place else f"{PREFIX}{model_id}"


class Target(msgspec.Struct, frozen=True):
    """What a load should connect to."""

    endpoint: Endpoint | None
    """None: no server was named; probe the usual ports."""
    model: str
    """Its id at the server; empty for the first that it lists."""


def resolve_target(name: str, options: RemoteOptions) -> Target:
    """Resolve a model's name: `remote:ID` or `remote:ENDPOINT/ID`, the prefix is optional. ENDPOINT is a name in the
    options or one of this machine's usual ports (`127.0.0.1:8000`).

    Raises:
        ModelLoadError: kind `no_endpoint`: the named endpoint does not exist or has no URL; kind `endpoint_url`: its
            URL is not valid.
    """
    model = name.strip().removeprefix(PREFIX)
    head, slash, rest = model.partition("/")
    if slash and head in options.endpoints:
        return _named(head, rest, options)
    is_url = bool(options.base_url) and not options.endpoint
    if slash and is_url and head == host_of(checked_url(options.base_url)):
        return Target(_by_url(options), rest)  # the model's own name starts like another endpoint's
    place = next((each for each in usual_places() if slash and each.alias == head), None)
    if place is not None:
        return Target(place, rest)
    if not options.base_url and not options.endpoint:
        return Target(None, model)
    if options.endpoint:
        return _named(options.endpoint, model, options)
    return Target(_by_url(options), model)


def _by_url(options: RemoteOptions) -> Endpoint:
    base_url = checked_url(options.base_url)
    return Endpoint(
        name=host_of(base_url),
        base_url=base_url,
        api_key_env=options.api_key_env,
        key_over_plain_http=options.key_over_plain_http,
        others=frozenset({*options.endpoints, *(each.alias for each in usual_places())}),
    )


def _named(alias: str, model: str, options: RemoteOptions) -> Target:
    found = options.endpoints.get(alias)
    if found is None or not found.base_url:
        known = ", ".join(sorted(options.endpoints)) or "none"
        raise ModelLoadError(
            f"There is no endpoint {alias!r} with a base_url in the config (there: {known}).",
            cure=f"Write [remote.endpoints.{alias}] with base_url, or give {setting('remote.base_url')}.",
            kind="no_endpoint",
        )
    endpoint = Endpoint(
        name=alias,
        base_url=checked_url(found.base_url, alias),
        api_key_env=found.api_key_env,
        key_over_plain_http=found.key_over_plain_http,
        user_env=found.user_env,
        headers=found.headers,
        header_env=found.header_env,
        extra_body=found.extra_body,
        alias=alias,
    )
    _check_extras(endpoint)
    return Target(endpoint, model or found.model)


def _check_extras(endpoint: Endpoint) -> None:
    """
    Raises:
        ModelLoadError: kind `endpoint_config`: a header or field that cannot be sent, or a secret in the file.
    """
    where = f"[remote.endpoints.{endpoint.alias}]"
    for name in (*endpoint.headers, *endpoint.header_env):
        if not _HEADER.fullmatch(name) or name.lower() in _OURS:
            raise ModelLoadError(
                f"{name!r} in {where} is not a header that can be set.", "Remove it.", "endpoint_config"
            )
    for name, value in endpoint.headers.items():
        if _SECRET.search(name):
            raise ModelLoadError(
                f"The header {name} in {where} looks like a secret, which does not belong in the config.",
                cure=f'Put it into an environment variable and write header_env.{name} = "THAT_VARIABLE".',
                kind="endpoint_config",
            )
        if not (value.isascii() and value.isprintable()):
            raise ModelLoadError(
                f"The value of the header {name} in {where} holds a character that cannot be sent.",
                "Use plain ASCII, without line breaks.",
                "endpoint_config",
            )
    if ours := sorted(endpoint.extra_body.keys() & {"model", "messages", "stream"}):
        raise ModelLoadError(
            f"extra_body in {where} holds {', '.join(ours)}, which the app itself sets.",
            "Remove it.",
            "endpoint_config",
        )


def usual_places() -> tuple[Endpoint, ...]:
    """This machine's usual ports. No key is sent there: any program may be listening."""
    hosts = (f"127.0.0.1:{port}" for port in USUAL_PORTS)
    return tuple(Endpoint(name=host, base_url=f"http://{host}/v1", alias=host) for host in hosts)


def url_setting(alias: str) -> str:
    """The setting that has the URL of an endpoint; `alias`: its name in config.toml, empty for the one without a name."""
    return setting(f"remote.endpoints.{alias}.base_url" if alias else "remote.base_url")


def checked_url(url: str, alias: str = "") -> str:
    """Normalise a base URL: with a scheme, without a trailing slash or the route of a request. `alias`: see `url_setting`.

    Raises:
        ModelLoadError: kind `endpoint_url`.
    """
    url = _with_scheme(url.strip())
    try:
        parts = urlsplit(url)
        is_good = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
        is_good = is_good and not _NO_URL.search(url)
    except ValueError:
        parts, is_good = None, False
    if parts is None or not is_good:
        raise ModelLoadError(
            f"{url_setting(alias)} is not a server address: {_shown(url)!r}.",
            cure="Give one like http://127.0.0.1:8000/v1.",
            kind="endpoint_url",
        )
    if parts.username or parts.password:
        raise ModelLoadError(
            f"{url_setting(alias)} holds a user name or password, which would be shown and recorded.",
            cure="Remove it; put USER:PASSWORD into an environment variable and name that as user_env of an endpoint in "
            "config.toml (a key: as api_key_env).",
            kind="endpoint_url",
        )
    if parts.query or parts.fragment:
        raise ModelLoadError(
            f"{url_setting(alias)} ({host_of(url)}) has a part after `?` or `#`, so that no path can be appended.",
            cure="Leave that out; a key belongs in an environment variable, named as api_key_env.",
            kind="endpoint_url",
        )
    path = parts.path.rstrip("/")
    route = next((route for route in _ROUTES if path.endswith(route)), "")
    return f"{parts.scheme}://{parts.netloc.lower()}{path.removesuffix(route)}".rstrip("/")


def _with_scheme(url: str) -> str:
    """`url` with a missing or damaged scheme repaired (`host:8000`, `//host`, `http:/host`, `::1`)."""
    if "://" in url:
        return url
    if (cut := _CUT_SCHEME.match(url)) is not None:
        return f"{cut[1]}://{url[cut.end() :]}"
    url = url.lstrip("/")
    try:
        address = ipaddress.IPv6Address(url)
    except ValueError:  # a name, or an address with a port
        return f"{_likely_scheme(url)}://{url}"
    url = url if address.is_unspecified else f"[{address}]"
    return f"{_likely_scheme(url)}://{url}"


def _likely_scheme(url: str) -> str:
    """http for this machine and its neighbours (an IP address, a name without a dot), else https."""
    host = urlsplit(f"//{url}").hostname if url.count("[") == url.count("]") else ""
    try:
        ipaddress.ip_address(host or "")
    except ValueError:
        return (
            "https"
            if "." in (host or "") and not (host or "").endswith((".local", ".lan", ".internal"))
            else "http"
        )
    return "http"


def host_of(url: str) -> str:
    """Host and, if given, port. Nothing else of a URL is ever shown."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        return ""
    return f"{host}:{port}" if port else host


def is_loopback(url: str) -> bool:
    """Whether requests to `url` stay on this machine."""
    try:
        host = urlsplit(url).hostname or ""
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _shown(url: str) -> str:
    return url.rpartition("@")[2][:80]
