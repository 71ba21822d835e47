"""One row's request: sent, retried where that is safe, received, finished."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

import msgspec

from ttchat_tui.domain.events import PrefillProgress, Retrying, TokenEvent
from ttchat_tui.domain.generation import FinishReason
from ttchat_tui.domain.model_spec import RemoteOptions
from ttchat_tui.engine.base import EngineError
from ttchat_tui.engine.decoding.ending import Ending
from ttchat_tui.engine.served.answer_stream import AnswerStream, BadAnswer, ServerFailed
from ttchat_tui.engine.served.caller import Caller
from ttchat_tui.engine.served.chunks import StreamChunk, short_line
from ttchat_tui.engine.served.errors import (
    ended_by_server,
    protocol_error,
    stream_cut_off,
    stream_stalled,
    timed_out,
    transport_error,
)
from ttchat_tui.engine.served.exchange import (
    Answered,
    Arrival,
    Broke,
    Connected,
    Ended,
    Exchange,
    Inbox,
    Received,
)
from ttchat_tui.engine.served.retrying import (
    RETRIED,
    is_loading,
    is_quota_used_up,
    retry_after_s,
    span,
    state,
)
from ttchat_tui.engine.served.served_reply import ServedReply

UNREACHED: Final = frozenset({"endpoint_refused", "endpoint_dns", "endpoint_unreachable"})
"""Errors after which the request certainly did not reach a server."""

MAX_ROWS: Final = 64
LONGEST_WAIT_S: Final = 30.0
"""If a server asks for a longer wait, that is reported instead of a retry."""
_FIRST_WAIT_S: Final = 0.5
_LOADING_WAIT_S: Final = 2.0
"""Pause between retries while the server loads its model."""
_USAGE_WAIT_S: Final = 1.0
"""How long to wait for usage figures after the finish reason."""
_ENCODINGS: Final = frozenset(
    {"", "identity", "gzip", "deflate"}
    | {"none", "null", "utf-8", "utf8", "binary", "chunked", "aws-chunked"}
)
"""Encodings that httpx decodes without further packages, and values that servers use for no compression."""
_LONGEST_ERROR: Final = 64 << 10
_BYTES_A_TOKEN: Final = 16 << 10
"""Bound on a stream's bytes per requested token, many times what any server sends."""

RefusalHandler = Callable[[int, bytes, Mapping[str, Any]], "dict[str, Any] | EngineError"]
"""Maps status and body of a refusal, and the refused request, to a changed request body or the final error."""


class Transport(msgspec.Struct, frozen=True):
    """What all rows of a request share."""

    caller: Caller
    options: RemoteOptions
    inbox: Inbox
    on_refusal: RefusalHandler
    received_s: float
    """When the engine received the request, `time.perf_counter()`."""


class RowRequest(Ending):
    """The request of one row. Feed it its arrivals and call it at its deadline; `reason` is set when it is over."""

    def __init__(self, number: int, reply: ServedReply, body: dict[str, Any], transport: Transport) -> None:
        super().__init__()
        self.number = number
        self.reply = reply
        self.deadline_s = 0.0
        """When to call `handle_deadline`, `time.perf_counter()`."""
        self._tag = number
        """Tag of the current try's arrivals; modulo `MAX_ROWS` it is the row number."""
        self._body = body
        self._transport = transport
        self._exchange: Exchange | None = None
        self._tries = 0
        self._is_waiting = False
        """Waiting for the next try."""
        self._delay: Retrying | None = None
        """The last event about a retry."""
        self._has_news = False
        self._is_sent = False
        self._over_s = 0.0
        """When the finish reason came; 0 before."""
        self._status = 0
        self._headers: Mapping[str, str] = {}
        self._stream = AnswerStream()
        self._refusal = bytearray()

    def send(self, now_s: float) -> None:
        """Send the request, for the first time or again."""
        if self._is_waiting and self._delay is not None:
            self._delay = msgspec.structs.replace(self._delay, wait_s=0.0)
            self._has_news = True
        self._is_waiting = self._is_sent = False
        self._tag += MAX_ROWS
        self._status, self._stream, self._refusal = 0, AnswerStream(), bytearray()
        transport = self._transport
        self.deadline_s = now_s + transport.options.connect_timeout_s
        tokens = self._body.get("max_tokens") or self._body.get("max_completion_tokens") or 1 << 16
        self._exchange = transport.caller.start(
            transport.caller.url("/chat/completions"),
            self._body,
            transport.inbox,
            tag=self._tag,
            most_bytes=_BYTES_A_TOKEN * (64 + int(tokens)),
        )

    def accept(self, arrival: Arrival) -> Iterator[TokenEvent | PrefillProgress]:
        """Handle an arrival and yield its events. Exhaust the iterator."""
        if self.reason is not None or self._is_waiting or arrival.tag != self._tag:
            return
        options = self._transport.options
        match arrival:
            case Connected():
                self._is_sent = True
                self.reply.meter.timeline.note(sent_s=arrival.time_s - self._transport.received_s)
                self.deadline_s = arrival.time_s + options.first_token_timeout_s
            case Answered():
                self._status, self._headers = arrival.status, arrival.headers
                self.reply.meter.timeline.note(answered_s=arrival.time_s - self._transport.received_s)
                encodings = arrival.headers.get("content-encoding", "").lower().replace(" ", "").split(",")
                if unread := sorted(set(encodings) - _ENCODINGS):
                    what = f"compressed its answer with {short_line(unread[0], 20)}, which was not requested"
                    self._fail(protocol_error(self._transport.caller.endpoint, what))
            case Received() if not self._is_good:
                self._refusal += arrival.data
                if len(self._refusal) > _LONGEST_ERROR:
                    self._handle_refusal(arrival.time_s)
            case Received():
                self._extend_deadline(arrival.time_s)
                yield from self._events_of(self._stream.feed(arrival.data), arrival.time_s)
            case Ended() if not self._is_good:
                self._handle_refusal(arrival.time_s)
            case Ended():
                yield from self._events_of(self._stream.end(), arrival.time_s)
                self._check_finished(is_all=True)
            case Broke():
                self._handle_broken_connection(
                    transport_error(arrival.error, self._transport.caller.endpoint), arrival.time_s
                )
            case _:
                pass

    def handle_deadline(self, now_s: float) -> None:
        """Handle a passed deadline: retry, finish, or fail with a timeout."""
        endpoint, options = self._transport.caller.endpoint, self._transport.options
        if self._is_waiting:
            self.send(now_s)
        elif self._is_over:
            self._check_finished(is_all=True)
        elif self.reply.has_begun:
            self._fail(stream_stalled(endpoint, options.token_timeout_s))
        elif self._is_sent:
            self._fail(timed_out(endpoint, options.first_token_timeout_s, "sent no token"))
        else:
            self._fail(timed_out(endpoint, None))

    def retry_events(self) -> Iterator[Retrying]:
        """Events about retries since the last call."""
        if self._has_news and self._delay is not None:
            yield self._delay
        self._has_news = False

    def cancel(self) -> None:
        """End the row with what has come."""
        self._end("cancelled")

    def _fail(self, error: EngineError) -> None:
        """End the row with an error; text that has come stays."""
        self.fail(error.info)
        self.close()

    def close(self) -> None:
        """Close the connection. Idempotent."""
        if self._exchange is not None:
            self._exchange.close()

    def _end(self, reason: FinishReason) -> None:
        if self.reason is None:
            self.reason = reason
            self.close()

    def _events_of(
        self, chunks: Iterator[StreamChunk], time_s: float
    ) -> Iterator[TokenEvent | PrefillProgress]:
        endpoint = self._transport.caller.endpoint
        try:
            for chunk in chunks:
                for event in self.reply.add_chunk(chunk, time_s - self._transport.received_s):
                    if isinstance(event, TokenEvent):
                        self._over_s = 0.0  # it was not over yet
                    yield event
                self._extend_deadline(time_s)
                if self.reply.text.is_stopped:
                    self._end("stop")
                    return
            if self._stream.is_done:
                self._check_finished(is_all=False)
        except ServerFailed as error:
            said = short_line(self._masked(error))
            if not self.reply.has_begun:  # a gateway sends 200 before the server behind it refuses
                answer = self._transport.on_refusal(400, self._masked(error).encode(), self._body)
                if not isinstance(answer, EngineError):
                    self._resend(answer, time_s)
                    return
            self._fail(
                EngineError(f"{endpoint.name} failed: {said}", "See the server's log.", "endpoint_error")
            )
        except BadAnswer as error:
            self._fail(protocol_error(endpoint, self._masked(error)))

    def _masked(self, said: object) -> str:
        return self._transport.caller.masked(str(said).encode()).decode()

    def _check_finished(self, *, is_all: bool) -> None:
        """End the row if the server has finished, or (`is_all`) if nothing more can come."""
        if self.reason is not None:
            return
        endpoint, ending = self._transport.caller.endpoint, self.reply.ending
        match ending:
            case "stop" | "length":
                self._end(ending)
            case "broken off" | "filtered" | "failed":
                self._fail(ended_by_server(endpoint, ending, short_line(self.reply.finish_reason, 60)))
            case None if self._stream.passed_over and not self.reply.has_begun:
                if is_all or self._stream.is_done:
                    self._fail(
                        protocol_error(
                            endpoint, f"sent data that is not part of a reply: {self._passed_over!r}"
                        )
                    )
            case None if self._stream.is_done:
                self.reply.stray = short_line(self._masked(self._stream.stray), 60)
                self._end("stop")
            case None if is_all and self._stream.is_empty:
                self._fail(protocol_error(endpoint, f"answers with nothing ({self._status})"))
            case None if is_all:
                self._fail(stream_cut_off(endpoint, self._passed_over))
            case None:
                pass

    @property
    def _passed_over(self) -> str:
        return short_line(self._masked(self._stream.passed_over), 60)

    @property
    def _is_good(self) -> bool:
        return 200 <= self._status < 300

    @property
    def _is_over(self) -> bool:
        """The finish reason has come; only usage figures may follow."""
        return self.reply.ending is not None

    def _extend_deadline(self, time_s: float) -> None:
        """Extend the deadline: anything that arrives, even a comment, shows that the server is working."""
        options = self._transport.options
        if self._is_over:
            self._over_s = self._over_s or time_s
            self.deadline_s = self._over_s + _USAGE_WAIT_S
        else:
            is_begun = self.reply.has_begun
            self.deadline_s = time_s + (
                options.token_timeout_s if is_begun else options.first_token_timeout_s
            )

    def _handle_broken_connection(self, error: EngineError, time_s: float) -> None:
        if self._is_over:  # everything that matters has arrived
            self._check_finished(is_all=True)
        elif (
            error.info.kind in UNREACHED
            and not self._is_sent
            and self._schedule_retry(None, time_s, f"{self._name} cannot be reached")
        ):
            return
        else:
            self._fail(error)

    def _handle_refusal(self, time_s: float) -> None:
        status, body = self._status, self._transport.caller.masked(bytes(self._refusal))
        asked_s = retry_after_s(self._headers, body) if status in RETRIED else None
        if self._retry_refusal(status, body, asked_s, time_s):
            return
        answer = self._transport.on_refusal(status, body, self._body)
        if isinstance(answer, EngineError):
            if asked_s and answer.info.kind == "rate_limited":
                cure = f"It asks for a wait of {span(asked_s)}: send again then."
                answer = EngineError(answer.info.message, cure, answer.info.kind)
            self._fail(answer)
            return
        self._resend(answer, time_s)

    def _resend(self, body: dict[str, Any], time_s: float) -> None:
        self.close()
        self._body = body
        self.send(time_s)

    @property
    def _name(self) -> str:
        return self._transport.caller.endpoint.name

    def _retry_refusal(self, status: int, body: bytes, asked_s: float | None, now_s: float) -> bool:
        """Schedule a retry after a temporary refusal; False if it is not one."""
        if status not in RETRIED or is_quota_used_up(status, body):
            return False
        if not is_loading(status, body):
            return self._schedule_retry(asked_s, now_s, f"{self._name} {state(status)}")
        if now_s - self._transport.received_s > self._transport.options.first_token_timeout_s:
            return False
        self._tries = 0  # it is working: as patient as during a long prefill
        return self._schedule_retry(
            asked_s or _LOADING_WAIT_S, now_s, f"{self._name} is still loading its model"
        )

    def _schedule_retry(self, asked_s: float | None, now_s: float, why: str) -> bool:
        """Schedule a retry; False after too many tries or if the server asks for too long a wait."""
        spread = random.uniform(0.8, 1.2)  # so that clients do not retry in step
        backoff_s = _FIRST_WAIT_S * 2**self._tries * spread
        wait_s = backoff_s if asked_s is None else asked_s
        if not wait_s and self._tries:  # a server that keeps asking for 0 s gets the backoff
            wait_s = backoff_s
        retries = self._transport.options.retries
        if self._tries >= retries or wait_s > LONGEST_WAIT_S:
            return False
        self.close()
        self._tries += 1
        self._is_waiting = self._has_news = True
        self._delay = Retrying(
            self.reply.request_id, why, wait_s, self._tries + 1, retries + 1, row=self.number
        )
        self.deadline_s = now_s + wait_s
        return True
