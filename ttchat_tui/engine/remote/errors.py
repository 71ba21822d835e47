"""What went wrong between here and a server, in words: the place and the cure."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime
from typing import Literal, TypeVar

import httpx

from ttchat_tui.engine.base import EngineError
from ttchat_tui.engine.remote.chunks import one_line, server_message
from ttchat_tui.engine.remote.endpoint import Endpoint
from ttchat_tui.engine.remote.exchange import BodyTooLarge

_E = TypeVar("_E", bound=BaseException)


def explained(error: Exception, endpoint: Endpoint) -> EngineError:
    """The error of an exchange that came to no answer, or broke in it."""
    if isinstance(error, EngineError):
        return error
    name = endpoint.name
    if isinstance(error, httpx.ConnectTimeout):
        return timed_out(endpoint, None)
    if isinstance(error, httpx.ConnectError):
        return _no_connection(error, endpoint)
    if isinstance(error, BodyTooLarge):
        return protocol(endpoint, f"sent {error}")
    if isinstance(error, httpx.TooManyRedirects):
        return protocol(endpoint, "redirects in a circle")
    if isinstance(error, httpx.DecodingError):
        return protocol(endpoint, "sent compressed data that is broken")
    if isinstance(error, (httpx.NetworkError, httpx.RemoteProtocolError, httpx.TimeoutException)):
        return EngineError(
            f"{name} closed the connection in the middle.",
            cure="What came is kept. See whether the server still runs, then continue the reply or send again.",
            kind="connection_lost",
        )
    return EngineError(
        f"The request to {name} failed: {type(error).__name__}: {one_line(str(error))}", kind="endpoint_error"
    )


def _no_connection(error: httpx.ConnectError, endpoint: Endpoint) -> EngineError:
    name = endpoint.name
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
            f"The name of {name} was not found.",
            cure=f"Check the spelling of {endpoint.base_url}, and the network.",
            kind="endpoint_dns",
        )
    if _cause(error, ConnectionRefusedError) is not None:
        return EngineError(
            f"Nothing answers at {name}: the connection was refused.",
            cure="Start the server, or correct the base URL (--base-url).",
            kind="endpoint_refused",
        )
    return EngineError(
        f"There is no connection to {name}: {one_line(str(error))}.",
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
    """`timeout_s` None: the connection was not made in time."""
    if timeout_s is None:
        message, cure = f"{endpoint.name} could not be reached in time.", "Check the network and the base URL"
        setting = "connect_timeout_s"
    else:
        message, cure = f"{endpoint.name} {what} for {timeout_s:g} s.", "See what the server does"
        setting = "first_token_timeout_s"
    return EngineError(message, cure=f"{cure}; [remote] {setting} is the limit.", kind="endpoint_timeout")


def silent(endpoint: Endpoint, timeout_s: float) -> EngineError:
    """The server stopped in the middle of a reply."""
    return EngineError(
        f"{endpoint.name} sent nothing more for {timeout_s:g} s.",
        cure="What came is kept: continue the reply. [remote] token_timeout_s is the limit.",
        kind="connection_lost",
    )


def cut_off(endpoint: Endpoint, odd: str = "") -> EngineError:
    """The stream ended, and nothing had said that the reply was over; `odd` is what came that is no piece of one."""
    return EngineError(
        f"{endpoint.name} ended the stream before the reply was over"
        + (f"; it sent {odd!r}." if odd else "."),
        cure="What came is kept: continue the reply, or send again.",
        kind="connection_lost",
    )


def given_up(endpoint: Endpoint, how: Literal["broken off", "filtered", "failed"], word: str) -> EngineError:
    """The server ended the reply itself, and said so by this finish reason."""
    name = endpoint.name
    match how:
        case "broken off":
            cure = "What came is kept: continue the reply, or send again."
            return EngineError(f"{name} broke the reply off ({word}).", cure, "connection_lost")
        case "filtered":
            cure = "What came is kept. Ask in other words."
            return EngineError(
                f"The content filter of {name} ended the reply ({word}).", cure, "content_filter"
            )
        case "failed":
            return EngineError(f"{name} ended the reply: {word}.", "See the server's log.", "endpoint_error")


def protocol(endpoint: Endpoint, what: str) -> EngineError:
    """It answers, but not as a chat server does."""
    return EngineError(
        f"{endpoint.name} {what}.",
        cure=f"Is {endpoint.base_url} an OpenAI-compatible API? Its URL ends in /v1 most often.",
        kind="endpoint_protocol",
    )


def refused(
    status: int, body: bytes, endpoint: Endpoint, *, has_key: bool, model: str, known: Sequence[str] = ()
) -> EngineError:
    """An HTTP error status with its body."""
    name, said = endpoint.name, server_message(body)
    tail = f": {said}" if said else "."
    variable = endpoint.api_key_env
    if status in (401, 403):
        what = "refused the key" if has_key else "wants a key"
        if has_key:
            cure = f"Check the key in {variable}."
        elif variable:
            cure = f"Put the key into the environment variable {variable}."
        else:
            cure = "Name the variable that holds the key: api_key_env of the endpoint in config.toml."
        return EngineError(f"{name} {what} ({status}){tail}", cure, "endpoint_auth")
    if status == 404 and "model" in said.lower():
        return model_missing(model, known, endpoint)
    if status in (404, 405):
        hint = "" if endpoint.base_url.endswith("/v1") else " It should end in /v1 most often."
        cure = f"Check the base URL {endpoint.base_url}.{hint}"
        return EngineError(f"{name} knows no such address ({status}){tail}", cure, "endpoint_not_found")
    if status == 429:
        return EngineError(
            f"{name} is busy or the quota is used up (429){tail}", "Wait, then send again.", "rate_limited"
        )
    if status >= 500:
        return EngineError(
            f"{name} failed ({status}){tail}", "See the server's log, then send again.", "endpoint_error"
        )
    return EngineError(f"{name} refuses the request ({status}){tail}", kind="endpoint_error")


def model_missing(model: str, known: Sequence[str], endpoint: Endpoint) -> EngineError:
    """With what is there, as many as a line holds."""
    there = ", ".join(known[:5]) + (f" and {len(known) - 5} more" if len(known) > 5 else "")
    return EngineError(
        f"{endpoint.name} does not serve {model!r}" + (f"; there: {there}." if known else "."),
        cure=f"Choose one of them: --model {endpoint.model_name(known[0])}" if known else "",
        kind="model_missing",
    )


def retry_after_s(headers: Mapping[str, str]) -> float | None:
    """`Retry-After` in seconds, None where it is missing or makes no sense. Where it is a date, the wait is counted from
    the answer's own `Date`: clocks differ."""
    said = headers.get("retry-after", "")
    try:
        return max(0.0, float(said))
    except ValueError:
        until, now = _date(said), _date(headers.get("date", ""))
        return max(0.0, (until - now).total_seconds()) if until and now else None


def _date(said: str) -> datetime | None:
    try:
        found = parsedate_to_datetime(said)
    except ValueError:
        return None
    return found if found.tzinfo else found.replace(tzinfo=timezone.utc)
