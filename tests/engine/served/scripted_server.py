"""A server on loopback, exact to the byte, that streams a scripted engine's replies in a recorded shape.

with serving(ScriptedServer(VLLM)) as server: ... server.base_url ...

A socket server, not an ASGI one: a framework would repair what the tests break.
"""

from __future__ import annotations

import contextlib
import json
import re
import select
import socket
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import pairwise
from typing import Any, Final, TypeAlias
from urllib.parse import urlsplit

import msgspec

from tests.engine.served.shapes import CONTEXT, MODEL, VLLM, ResponseShape, context_exceeded
from tests.fakes import Script, ScriptedEngine, prompt_length
from tests.scripted_reply import token_id, tokenize
from ttchat_tui.domain.chat import ChatMessage
from ttchat_tui.domain.events import GenerationFinished, GenerationStarted, TokenEvent
from ttchat_tui.domain.generation import GenerationControl, GenerationRequest
from ttchat_tui.domain.model_spec import ModelSpec
from ttchat_tui.domain.sampling import SamplingParams

Json: TypeAlias = dict[str, Any]
Wire: TypeAlias = Callable[[Iterable[bytes]], Iterable[bytes]]
"""What is sent for a stream's events: each piece is one write and one HTTP chunk. May raise `Reset` or `Hush`."""


class Reset(Exception):
    """The connection breaks here: TCP reset, no end of the HTTP body."""


class Hush(Exception):
    """Nothing more is sent; the connection stays open until the client leaves."""


class ClientLeft(Exception):
    """The other end has closed the connection."""


@dataclass(frozen=True)
class ScriptedAnswer:
    """One whole HTTP response, in place of the server's own."""

    status: int
    body: bytes | Json = b""
    headers: dict[str, str] = field(default_factory=dict)


class StreamGate:
    """Lets every stream through to the same token; the scripted engine of each has a `passage` of its own."""

    def __init__(self) -> None:
        self.allowed = 0
        self._changed = threading.Condition()

    def release(self, steps: int = 1) -> None:
        """Let `steps` more tokens of each stream pass."""
        with self._changed:
            self.allowed += steps
            self._changed.notify_all()

    def open(self) -> None:
        """Let everything pass."""
        self.release(4000)

    def shut(self) -> None:
        """Let nothing pass."""
        self.allowed = 0

    def passage(self) -> _Passage:
        return _Passage(self, self._changed)


class _Passage:
    """Stands in for a `Gate`."""

    def __init__(self, gate: StreamGate, changed: threading.Condition) -> None:
        self._gate = gate
        self._changed = changed
        self._passed = 0

    def wait(self, asking: Callable[[], Any]) -> None:
        """Wait for one step. Calls `asking` every 10 ms; an exception in it ends the wait."""
        with self._changed:
            while self._passed >= self._gate.allowed:
                asking()
                self._changed.wait(0.01)
        self._passed += 1


@dataclass
class ScriptedServer:
    """What is served, and how the server misbehaves. `requests` has all requests in order."""

    shape: ResponseShape = VLLM
    script: Script = field(default_factory=lambda: Script(context_length=CONTEXT, batch_sizes=(1,)))
    gate: StreamGate | None = None
    wire: Wire = iter
    answers: list[ScriptedAnswer] = field(default_factory=list)
    """Chat requests get these first, one each."""
    stream_headers: dict[str, str] = field(default_factory=dict)
    events: list[bytes] | None = None
    """The stream's events as they are, instead of a scripted reply."""
    requests: list[tuple[str, dict[str, str], Json]] = field(default_factory=list)
    pages: dict[str, ScriptedAnswer] = field(default_factory=dict)
    """Answers by path (without the query), before the shape's own."""
    has_left: threading.Event = field(default_factory=threading.Event)
    """A client closed its connection in the middle of a stream."""
    base_url: str = ""
    has_beginning: bool = True
    """Its tokenizer begins texts with a token of its own."""
    words: dict[int, str] = field(default_factory=dict)
    """Of the tokens that it has seen."""
    counts: dict[str, int] = field(default_factory=dict)
    """Tokens of the prompts that `/apply-template` gave out."""

    def chats(self) -> list[tuple[dict[str, str], Json]]:
        """Headers and body of each chat request."""
        return [
            (headers, body) for path, headers, body in self.requests if path.endswith("/chat/completions")
        ]

    def stream(self, body: Json, has_left: Callable[[], bool]) -> Iterator[bytes]:
        """The events of one reply, until the client has left."""
        if self.events is not None:
            yield from self.events
            return
        yield from self.shape.opening()
        usage: Json = {"prompt_tokens": 0}
        for event in self._generate(body, has_left):
            match event:
                case GenerationStarted():
                    usage["prompt_tokens"] = event.prompt_tokens
                case TokenEvent():
                    yield self._token(event, usage, body)
                case GenerationFinished():
                    yield from self._end(event, usage, body)
                case _:
                    pass

    def _token(self, event: TokenEvent, usage: Json, body: Json) -> bytes:
        count = usage["completion_tokens"] = usage.get("completion_tokens", 0) + 1
        usage["total_tokens"] = usage["prompt_tokens"] + count
        delta = ({"role": "assistant"} if self.shape.role_everywhere else {}) | {"content": event.text}
        if (body.get("stream_options") or {}).get("continuous_usage_stats") and self.shape is VLLM:
            return self.shape.chunk(delta, usage=dict(usage))
        return self.shape.chunk(delta)

    def _end(self, event: GenerationFinished, usage: Json, body: Json) -> Iterator[bytes]:
        if event.text:
            yield self.shape.delta(event.text)
        wanted = (body.get("stream_options") or {}).get("include_usage") or self.shape.usage == "with finish"
        finish = {"context": "length"}.get(event.reason, event.reason)
        yield from self.shape.ending(finish, usage if wanted else None)

    def _generate(self, body: Json, has_left: Callable[[], bool]) -> Iterator[object]:
        seed = body.get("seed") or 1
        said = (reply if seed == 1 else f"{reply} (seed {seed})" for reply in self.script.replies)
        replies = tuple(said) if (form := form_of(body)) is None else (_first_that_fits(form),)
        script = msgspec.structs.replace(self.script, replies=replies)
        engine = ScriptedEngine(script, self.gate.passage() if self.gate else None)
        engine.load(ModelSpec(name=MODEL), lambda progress: None)
        sampling = SamplingParams(
            temperature=body.get("temperature", 1.0),
            max_tokens=body.get("max_tokens") or body.get("max_completion_tokens") or CONTEXT,
            stop=tuple(body.get("stop") or ()),
        )
        request = GenerationRequest(
            id=1, messages=messages(body), sampling=sampling, seed=1, continue_last=continues(body)
        )
        return engine.generate(request, _WhileConnected(sampling, has_left))

    def page(self, path: str, body: Json) -> ScriptedAnswer:
        """Everything but the chat itself."""
        if path in self.pages:
            return self.pages[path]
        if path == "/v1/models":
            return ScriptedAnswer(200, self.shape.models())
        if path in self.shape.pages:
            page = self.shape.pages[path]
            return ScriptedAnswer(200, page.encode() if isinstance(page, str) else page)
        if self.shape is VLLM and (path, "prompt" in body) == ("/tokenize", True):
            return ScriptedAnswer(200, {"tokens": self._ids(body)})
        if self.shape is VLLM and path == "/detokenize":
            return ScriptedAnswer(200, {"prompt": "".join(self.words[each] for each in body["tokens"])})
        if self.shape is VLLM and path == "/v1/completions":
            return ScriptedAnswer(200, self._scored(body))
        if path == "/tokenize" and self.shape.tokenizes == "messages":
            return ScriptedAnswer(
                200, {"count": prompt_length(messages(body)), "max_model_len": CONTEXT, "tokens": []}
            )
        if path == "/apply-template" and self.shape.tokenizes == "prompt":
            prompt = json.dumps(body["messages"])
            self.counts[prompt] = prompt_length(messages(body))
            return ScriptedAnswer(200, {"prompt": prompt})
        if path == "/tokenize" and self.shape.tokenizes == "prompt":
            return ScriptedAnswer(200, {"tokens": [7] * self.counts[body["content"]]})
        return ScriptedAnswer(404, {"detail": "Not Found"})

    def _ids(self, body: Json) -> list[int]:
        """One id for each word. The beginning of a text is 1."""
        words = tokenize(body["prompt"])
        self.words |= {token_id(word): word for word in words}
        return [*([1] if body["add_special_tokens"] and self.has_beginning else []), *map(token_id, words)]

    def _scored(self, body: Json) -> Json:
        """The probability of a token depends on the one before it: rank 1 for the next higher id, else 7."""
        ids = body["prompt"]
        if len(ids) + body["max_tokens"] > CONTEXT:
            return context_exceeded(self.shape, len(ids))
        listed: list[Json | None] = [None]
        for before, each in pairwise(ids):
            others = {str(before + 1 + n): (-0.25 - n, 1 + n, f" other{n}") for n in range(3)}
            own = {str(each): (-4.0 - each % 7, 7, self.words.get(each, "?"))}
            listed.append(
                {
                    key: {"logprob": logprob, "rank": rank, "decoded_token": text}
                    for key, (logprob, rank, text) in (own | others).items()
                }
            )
        return {"choices": [{"index": 0, "text": "x", "prompt_logprobs": listed}]}


class _WhileConnected(GenerationControl):
    """Cancels a reply that waits at the gate when its client has left."""

    def __init__(self, sampling: SamplingParams, has_left: Callable[[], bool]) -> None:
        super().__init__(sampling)
        self._has_left = has_left

    @property
    def is_cancelled(self) -> bool:
        return self._has_left()


def messages(body: Json) -> tuple[ChatMessage, ...]:
    return tuple(ChatMessage(one["role"], one["content"]) for one in body["messages"])


_LITERAL: Final = re.compile(r'"(?:[^"\\]|\\.)*"')


def form_of(body: Json) -> Json | str | None:
    """The JSON schema or the regular expression that a reply is asked to fit. Choices are one, also as a grammar."""
    wanted: Json = body.get("structured_outputs") or {}
    choices = wanted.get("choice") or [
        json.loads(each) for each in _LITERAL.findall(body.get("grammar") or "")
    ]
    if "regex" in wanted or choices:
        return wanted.get("regex") or "|".join(map(re.escape, choices))
    wished = body.get("response_format") or {}
    schema: Json | None = wished["json_schema"]["schema"] if wished.get("type") == "json_schema" else None
    return schema


def _first_that_fits(form: Json | str) -> str:
    """What this model says under a constraint. Of schemas it knows `enum` only."""
    if isinstance(form, str):
        return next(each for each in ("no", "no.", "7", "maybe") if re.fullmatch(form, each))
    return json.dumps(form["enum"][0])


def continues(body: Json) -> bool:
    return body["messages"][-1]["role"] == "assistant"


class _Handler(BaseHTTPRequestHandler):
    server_of: ScriptedServer
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self._answer(self._take({}))

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers.get("Content-Length", 0))) or b"{}")
        self._answer(self._take(body)) if not self.path.endswith("/chat/completions") else self._chat(body)

    def _take(self, body: Json) -> ScriptedAnswer:
        path = urlsplit(self.path).path
        headers = {name.lower(): value for name, value in self.headers.items()}
        self.server_of.requests.append((path, headers, body))
        return (
            self.server_of.page(path, body) if not path.endswith("/chat/completions") else ScriptedAnswer(200)
        )

    def _chat(self, body: Json) -> None:
        server = self.server_of
        self._take(body)
        if server.answers:
            self._answer(server.answers.pop(0))
        elif server.events is None and (asked := prompt_length(messages(body))) >= CONTEXT:
            self._answer(ScriptedAnswer(400, context_exceeded(server.shape, asked)))
        else:
            self._stream(server, body)

    def _stream(self, server: ScriptedServer, body: Json) -> None:
        self.send_response_only(200)
        headers = {"content-type": "text/event-stream; charset=utf-8", **server.stream_headers}
        for name, value in {**headers, **server.shape.headers, "Transfer-Encoding": "chunked"}.items():
            self.send_header(name, value)
        self.end_headers()
        try:
            for piece in server.wire(server.stream(body, self._has_left)):
                if self._has_left():
                    raise ClientLeft
                self.wfile.write(b"%x\r\n%b\r\n" % (len(piece), piece))
            self.wfile.write(b"0\r\n\r\n")
        except Reset:
            self._reset()
        except Hush:
            self._await_leave()
        except (ClientLeft, OSError):
            server.has_left.set()
            self.close_connection = True

    def _has_left(self) -> bool:
        """A client that is still there says nothing while it is answered."""
        try:
            return bool(select.select([self.connection], [], [], 0)[0]) and not self.connection.recv(
                1, socket.MSG_PEEK
            )
        except OSError:
            return True

    def _await_leave(self) -> None:
        with contextlib.suppress(OSError):
            self.connection.recv(1)
        self.server_of.has_left.set()
        self.close_connection = True

    def _reset(self) -> None:
        self.wfile.flush()
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        self.connection.close()
        self.close_connection = True

    def _answer(self, answer: ScriptedAnswer) -> None:
        is_json = not isinstance(answer.body, bytes)
        content = answer.body if isinstance(answer.body, bytes) else json.dumps(answer.body).encode()
        self.send_response_only(answer.status)
        kind = {"Content-Type": "application/json" if is_json else "text/plain"}
        for name, value in {**kind, **self.server_of.shape.headers, **answer.headers}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def finish(self) -> None:
        with contextlib.suppress(OSError):
            super().finish()

    def log_message(self, format: str, *args: object) -> None:
        """Tests keep their output clean."""


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64


@contextlib.contextmanager
def serving(server: ScriptedServer) -> Iterator[ScriptedServer]:
    """Serve on a free loopback port while the block runs. Streams that still wait then are not stopped."""
    handler = type("Handler", (_Handler,), {"server_of": server})
    http = _Server(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    server.base_url = f"http://127.0.0.1:{http.server_port}/v1"
    try:
        yield server
    finally:
        http.shutdown()
        http.server_close()
        thread.join()
