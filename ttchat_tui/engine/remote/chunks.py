"""The data of one event → what it says of a reply: text, thinking, ends, figures, errors.

Servers leave out, null or add what they like: everything is optional here, and what is not known is passed over.
"""

from __future__ import annotations

from typing import Annotated, Any, Final, cast

import msgspec
from msgspec import Meta

from ttchat_tui.domain.decoding import decodable

DONE: Final = "[DONE]"

_Count = Annotated[int, Meta(ge=0)]


class BadChunk(ValueError):
    """The data is no JSON object of a chat completion."""


class PromptDetails(msgspec.Struct, frozen=True):
    cached_tokens: _Count | None = None


class Usage(msgspec.Struct, frozen=True):
    prompt_tokens: _Count | None = None
    completion_tokens: _Count | None = None
    prompt_tokens_details: PromptDetails | None = None


class Timings(msgspec.Struct, frozen=True):
    """llama.cpp's figures."""

    cache_n: _Count | None = None


class PromptProgress(msgspec.Struct, frozen=True):
    """llama.cpp's `return_progress`."""

    total: _Count = 0
    processed: _Count = 0


class TokenLogprob(msgspec.Struct, frozen=True):
    logprob: float | None = None


class Logprobs(msgspec.Struct, frozen=True):
    content: tuple[TokenLogprob, ...] | None = None


class Delta(msgspec.Struct, frozen=True):
    content: object = None
    """Text; of some servers a list of parts."""
    reasoning_content: str | None = None
    reasoning: Any = None

    @property
    def text(self) -> str:
        found: Any = self.content
        if isinstance(found, str):
            return found
        parts = cast("list[Any]", found) if isinstance(found, list) else []
        fields = (cast("dict[str, Any]", part) for part in parts if isinstance(part, dict))
        return "".join(str(field.get("text") or "") for field in fields)

    @property
    def thinking(self) -> str:
        return self.reasoning_content or (self.reasoning if isinstance(self.reasoning, str) else "")


class Choice(msgspec.Struct, frozen=True):
    delta: Delta | None = None
    message: Delta | None = None
    """In place of `delta` in an answer that was not streamed."""
    finish_reason: str | None = None
    logprobs: Logprobs | None = None


class Chunk(msgspec.Struct, frozen=True):
    choices: tuple[Choice, ...] | None = None
    usage: Usage | None = None
    timings: Timings | None = None
    prompt_progress: PromptProgress | None = None
    error: Any = None
    object: str | None = None
    message: Any = None
    """vLLM before 0.10 sent errors flat: `{"object": "error", "message": …}`."""


_decode = msgspec.json.Decoder(decodable(Chunk)).decode


def parse_chunk(data: str | bytes) -> Chunk:
    """
    Raises:
        BadChunk: no JSON, or of another shape.
    """
    try:
        return _decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BadChunk(str(error)) from error


def server_message(body: bytes | str) -> str:
    """What an error's body says, in one line: `error.message`, `error`, `message`, `detail`, else its text; empty for a
    web page."""
    try:
        found: Any = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        text = body.decode("utf-8", "replace") if isinstance(body, bytes) else body
        return "" if text.lstrip().startswith("<") else one_line(text)
    return one_line(_message_of(found))


def chunk_error(chunk: Chunk) -> str | None:
    """What the server says went wrong, in one line of any length; None where nothing did."""
    if chunk.error:
        return first_line(_message_of(chunk.error)) or "an error without words"
    if chunk.object == "error":
        return first_line(_message_of(chunk.message)) or "an error without words"
    return None


def one_line(text: str, longest: int = 300) -> str:
    """The first line that says anything, cut. What may repeat a key is masked before: half of it would pass."""
    line = first_line(text)
    return line if len(line) <= longest else line[: longest - 1] + "…"


def first_line(text: str) -> str:
    """The first that says anything."""
    return next((line.strip() for line in text.splitlines() if line.strip()), "")


def _message_of(found: Any) -> str:
    while isinstance(found, dict):
        fields = cast("dict[str, Any]", found)
        found = next((fields[key] for key in ("error", "message", "detail", "msg") if fields.get(key)), "")
    if isinstance(found, list):
        return "; ".join(_message_of(part) for part in cast("list[Any]", found)[:3])
    return str(found)
