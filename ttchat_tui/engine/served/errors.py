"""Errors of connections to servers and of their answers, each with the server's name and a cure."""

from __future__ import annotations

import re
import socket
import ssl
from collections.abc import Sequence
from http import HTTPStatus
from typing import Final, Literal, TypeVar

import httpx

from ttchat_tui.domain.given_settings import setting
from ttchat_tui.engine.base import EngineError
from ttchat_tui.engine.served.chunks import server_message, short_line
from ttchat_tui.engine.served.endpoint import Endpoint
from ttchat_tui.engine.served.exchange import BodyTooLarge
from ttchat_tui.engine.served.retrying import is_loading, is_quota_used_up

_WANTS_TLS: Final = re.compile(
    r"HTTP request (?:was sent )?to an? HTTPS|plain HTTP request was sent to HTTPS", re.IGNORECASE
)

_OF_KEY: Final = re.compile(
    r"\b(?:api.?keys?|keys?|auth\w*|unauth\w*|tokens?|credentials?|permissions?|forbidden|access|log.?in|sign)\b",
    re.IGNORECASE,
)
"""Words in a 403 that concern the caller's rights, not the request."""
_OF_MODEL: Final = frozenset({400, 403, 422})
_NO_MODEL: Final = re.compile(
    r"\bmodels?\b(?:[^.\n]|\.(?!\s)){0,120}\b(?:does not exist|doesn't exist|not exist|not found|is not available)"
    r"|(?:unknown|invalid|no such) model\b",
    re.IGNORECASE,
)
_BUSY: Final = re.compile(r"\bbusy\b|overload|too many|capacity", re.IGNORECASE)
_PHRASES: Final = {each.value: each.phrase for each in HTTPStatus}
"""Phrases for a status that comes without a message."""

_E = TypeVar("_E", bound=BaseException)


def transport_error(error: Exception, endpoint: Endpoint) -> EngineError:
    """The error for an exchange that failed before or within its response."""
    if isinstance(error, EngineError):
        return error
    name = endpoint.name
    if isinstance(error, httpx.ProxyError):
        return EngineError(
            f"The proxy for {name} refuses the connection: {short_line(str(error))}.",
            cure=f"See {endpoint.proxy_env or 'the proxy'}; or name the server in NO_PROXY.",
            kind="endpoint_proxy",
        )
    if isinstance(error, httpx.ConnectTimeout):
        return timed_out(endpoint, None)
    if isinstance(error, httpx.ConnectError):
        return _no_connection(error, endpoint)
    if isinstance(error, BodyTooLarge):
        return protocol_error(endpoint, f"sent {error}")
    if isinstance(error, httpx.TooManyRedirects):
        return protocol_error(endpoint, "redirects in a circle")
    if isinstance(error, httpx.DecodingError):
        return protocol_error(endpoint, "sent compressed data that is broken")
    if isinstance(error, (httpx.NetworkError, httpx.RemoteProtocolError, httpx.TimeoutException)):
        return EngineError(
            f"{name} closed the connection during the answer.",
            cure="What came is kept. Check that the server still runs, then continue the reply or send again.",
            kind="connection_lost",
        )
    return EngineError(
        f"The request to {name} failed: {type(error).__name__}: {short_line(str(error))}",
        kind="endpoint_error",
    )


def tls_required(endpoint: Endpoint) -> EngineError:
    """The server speaks TLS and was addressed over plain http."""
    return EngineError(
        f"{endpoint.name} speaks TLS on this port but was addressed over plain http.",
        cure=f"Write the base URL with https: {endpoint.base_url.replace('http://', 'https://', 1)}",
        kind="endpoint_tls",
    )


def _no_connection(error: httpx.ConnectError, endpoint: Endpoint) -> EngineError:
    name = endpoint.name
    if endpoint.proxy_env and _cause(error, ssl.SSLError) is None:
        return EngineError(
            f"There is no connection to the proxy for {name}: {short_line(str(error))}.",
            cure=f"See {endpoint.proxy_env}; or name the server in NO_PROXY.",
            kind="endpoint_proxy",
        )
    if (certificate := _cause(error, ssl.SSLCertVerificationError)) is not None:
        return EngineError(
            f"The certificate of {name} was not accepted: {certificate.verify_message}.",
            cure="Put the certificate of its authority into a file and set SSL_CERT_FILE to it.",
            kind="endpoint_tls",
        )
    if _cause(error, ssl.SSLError) is not None:
        return EngineError(
            f"{name} does not speak TLS on this port.",
            cure="Is the base URL http:// and not https://?",
            kind="endpoint_tls",
        )
    if _cause(error, socket.gaierror) is not None:
        return EngineError(
            f"The host name of {name} was not found.",
            cure=f"Check the spelling of {endpoint.base_url}, and the network.",
            kind="endpoint_dns",
        )
    if _cause(error, ConnectionRefusedError) is not None:
        return EngineError(
            f"Nothing answers at {name}: the connection was refused.",
            cure=f"Start the server, or correct {endpoint.url_setting}.",
            kind="endpoint_refused",
        )
    return EngineError(
        f"There is no connection to {name}: {short_line(str(error))}.",
        cure="Check the network and the base URL.",
        kind="endpoint_unreachable",
    )


def _cause(error: BaseException | None, kind: type[_E]) -> _E | None:
    while error is not None:
        if isinstance(error, kind):
            return error
        error = error.__cause__ or error.__context__
    return None


def timed_out(endpoint: Endpoint, timeout_s: float | None, what: str = "did not answer") -> EngineError:
    """`timeout_s` None: the connection timed out."""
    if timeout_s is None:
        message, cure = f"{endpoint.name} could not be reached in time.", "Check the network and the base URL"
        limit = "remote.connect_timeout_s"
    else:
        message, cure = f"{endpoint.name} {what} for {timeout_s:g} s.", "See what the server does"
        limit = "remote.first_token_timeout_s"
    return EngineError(message, cure=f"{cure}; {setting(limit)} is the limit.", kind="endpoint_timeout")


def stream_stalled(endpoint: Endpoint, timeout_s: float) -> EngineError:
    """The server stopped sending in the middle of a reply."""
    return EngineError(
        f"{endpoint.name} sent nothing more for {timeout_s:g} s.",
        cure=f"What came is kept: continue the reply. {setting('remote.token_timeout_s')} is the limit.",
        kind="connection_lost",
    )


def stream_cut_off(endpoint: Endpoint, odd: str = "") -> EngineError:
    """The stream ended without a finish reason. `odd` is a line of it that was not part of a reply."""
    return EngineError(
        f"{endpoint.name} ended the stream before the reply was over"
        + (f"; it sent {odd!r}." if odd else "."),
        cure="What came is kept: continue the reply, or send again.",
        kind="connection_lost",
    )


def ended_by_server(
    endpoint: Endpoint, how: Literal["broken off", "filtered", "failed"], word: str
) -> EngineError:
    """The server ended the reply with the finish reason `word`."""
    name = endpoint.name
    match how:
        case "broken off":
            cure = "What came is kept: continue the reply, or send again."
            return EngineError(f"{name} broke off the reply ({word}).", cure, "connection_lost")
        case "filtered":
            cure = "What came is kept. Rephrase the message."
            return EngineError(
                f"The content filter of {name} ended the reply ({word}).", cure, "content_filter"
            )
        case "failed":
            return EngineError(f"{name} ended the reply: {word}.", "See the server's log.", "endpoint_error")


def protocol_error(endpoint: Endpoint, what: str) -> EngineError:
    """The answer is not that of a chat server. `what` completes a sentence that starts with the server's name."""
    return EngineError(
        f"{endpoint.name} {what}.",
        cure=f"Is {endpoint.base_url} an OpenAI-compatible API? Its URL usually ends in /v1.",
        kind="endpoint_protocol",
    )


def status_error(
    status: int, body: bytes, endpoint: Endpoint, *, has_key: bool, model: str, known: Sequence[str] = ()
) -> EngineError:
    """The error for an HTTP error status and its body."""
    name, said = endpoint.name, server_message(body)
    tail = f": {said}" if said else "."
    code = str(status) if said else f"{status} {_PHRASES.get(status, '')}".strip()
    variable = endpoint.api_key_env or endpoint.user_env or next(iter(endpoint.header_env.values()), "")
    if is_quota_used_up(status, body):
        cure = "Check the plan and billing of your account there; sending again does not help."
        return EngineError(f"The quota at {name} is used up ({status}){tail}", cure, "quota_used_up")
    if status == 401 or (status == 403 and (not said or _OF_KEY.search(said))):
        what = "refused the key" if has_key else "wants a key"
        if has_key:
            cure = f"Check the key in {variable}."
        elif variable:
            cure = f"Put the key into the environment variable {variable}."
        else:
            cure = "Name the variable that holds the key: api_key_env of the endpoint in config.toml."
        return EngineError(f"{name} {what} ({status}){tail}", cure, "endpoint_auth")
    if (status == 404 and "model" in said.lower()) or (status in _OF_MODEL and _NO_MODEL.search(said)):
        others = [each for each in known if each != model]
        return model_missing(model, others, endpoint, said=said)
    if status in (404, 405):
        hint = "" if endpoint.base_url.endswith("/v1") else " It usually ends in /v1."
        cure = f"Check the base URL {endpoint.base_url}.{hint}"
        return EngineError(f"{name} has nothing at this address ({status}){tail}", cure, "endpoint_not_found")
    if status in (429, 529) or (status == 503 and _BUSY.search(said) is not None):
        return EngineError(f"{name} is busy ({status}){tail}", "Wait, then send again.", "rate_limited")
    if is_loading(status, body):
        return EngineError(
            f"{name} is still loading its model ({status}){tail}",
            "Wait, then send again.",
            "endpoint_loading",
        )
    if status == 501:
        return EngineError(f"{name} does not offer that (501){tail}", kind="endpoint_unimplemented")
    if status == 400 and _WANTS_TLS.search(said):
        return tls_required(endpoint)
    if status >= 500:
        return EngineError(
            f"{name} failed ({code}){tail}", "See the server's log, then send again.", "endpoint_error"
        )
    cure = "Shorten the message, or start a new conversation." if status in (413, 414, 431) else ""
    return EngineError(f"{name} refuses the request ({code}){tail}", cure, "request_refused")


def model_missing(model: str, known: Sequence[str], endpoint: Endpoint, *, said: str = "") -> EngineError:
    """The error for a model that is not served; it lists a few of `known`. `said` is the server's message."""
    there = ", ".join(known[:5]) + (f" and {len(known) - 5} more" if len(known) > 5 else "")
    tail = f": {said}" if said else "; " if known else "."
    if known:
        tail = f"{tail.rstrip(' ;.')}; there: {there}."
    return EngineError(
        f"{endpoint.name} does not serve {model!r}{tail}",
        cure=f"Choose one of them, such as {endpoint.model_name(known[0])}." if known else "",
        kind="model_missing",
    )
