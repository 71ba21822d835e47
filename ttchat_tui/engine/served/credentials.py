"""API keys and logins. They come from the environment only and never go to another machine over plain http unless the
config allows it."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Final
from urllib.parse import urlsplit

import msgspec

from ttchat_tui.domain.given_settings import setting
from ttchat_tui.engine.base import EngineError
from ttchat_tui.engine.served.endpoint import Endpoint


class Secrets(msgspec.Struct, frozen=True):
    """Headers that hold secrets, and the secrets themselves, which are masked in every message."""

    headers: Mapping[str, str] = {}
    values: tuple[str, ...] = ()


NO_SECRETS: Final = Secrets()


def api_key(endpoint: Endpoint, environ: Mapping[str, str]) -> str:
    """The key to send; empty if there is none.

    Raises:
        EngineError: kind `key_over_plain_http`: anyone on the network path could read it; kind `endpoint_key`: it holds
            characters that cannot be sent.
    """
    return _secret(endpoint, endpoint.api_key_env, environ)


def secrets_of(endpoint: Endpoint, environ: Mapping[str, str]) -> Secrets:
    """All secrets but the key: the login for Basic authentication, and secret headers.

    Raises:
        EngineError: as `api_key`; kind `endpoint_key` also if both a key and a login are set.
    """
    headers, values = dict[str, str](), list[str]()
    login = _secret(endpoint, endpoint.user_env, environ)
    if login:
        if _secret(endpoint, endpoint.api_key_env, environ):
            raise EngineError(
                f"{endpoint.name} has a key in {endpoint.api_key_env} and a login in {endpoint.user_env}; one header holds "
                "one of them.",
                cure=f"Unset one of the two, or remove it from [remote.endpoints.{endpoint.alias}].",
                kind="endpoint_key",
            )
        encoded = base64.b64encode(login.encode()).decode()
        headers["Authorization"] = f"Basic {encoded}"
        values += [encoded, login, login.partition(":")[2]]
    for name, variable in endpoint.header_env.items():
        if value := _secret(endpoint, variable, environ):
            headers[name] = value
            values.append(value)
    # Shorter values would match in any text.
    return Secrets(headers, tuple(value for value in values if len(value) > 3))


def _secret(endpoint: Endpoint, variable: str, environ: Mapping[str, str]) -> str:
    key = environ.get(variable, "").strip() if variable else ""
    if not (key.isascii() and key.isprintable()):
        # Checked here because libraries repeat the value in their errors.
        raise EngineError(
            f"The key in {variable} holds a character that no key has: a line break, or a typographic quotation mark.",
            cure=f"Set {variable} again.",
            kind="endpoint_key",
        )
    is_plain = urlsplit(endpoint.base_url).scheme == "http"
    if key and is_plain and not endpoint.is_local and not endpoint.key_over_plain_http:
        section = f"remote.endpoints.{endpoint.alias}" if endpoint.alias else "remote"
        allowed = setting(f"{section}.key_over_plain_http", "true")
        raise EngineError(
            f"The key in {variable} would go to {endpoint.name} over plain http, "
            "readable by anyone on the network path.",
            cure=f"Use https, unset {variable}, or set {allowed}.",
            kind="key_over_plain_http",
        )
    return key
