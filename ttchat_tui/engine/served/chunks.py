"""The data of one event, parsed: text, thinking, finish reasons, usage, errors.

Servers omit, null or add fields and write them in any type. What cannot be understood is ignored: a bad figure must
never cost a reply.
"""

from __future__ import annotations

import re
from html import unescape
from typing import Any, Final, cast

import msgspec

from ttchat_tui.engine.served.listed_tokens import ListedToken, listed_tokens
from ttchat_tui.engine.served.loose_json import count_of, decoded, first_count, object_of
from ttchat_tui.engine.served.message_parts import NOTHING, MessageParts, parts_of

_LONGEST_MESSAGE: Final = 4096
"""Longest error, in characters."""
_ERRORS: Final = ("error", "errors", "error_message", "error_msg")
"""Keys that may hold an error in a chunk."""
_WORDS: Final = (
    *("error_description", "error", "errors", "error_message", "error_msg", "message", "Message"),
    *("detail", "msg", "reason", "title"),
)
"""Keys that may hold an error's message; the first non-empty one counts."""
_TITLE: Final = re.compile(r"<(?:title|message)\b[^>]{0,200}>([^<]{1,500})<", re.IGNORECASE)
_MOST_CHUNKS: Final = 10_000
"""Most objects in one event: parsing them blocks everything else."""
_DEEPEST: Final = 8
"""Depth to which an error's body is read."""
_NO_ERROR: Final = frozenset({"", "none", "null", "ok", "success", "false", "0", "no error"})
"""Values of an error field that mean no error."""


class BadChunk(ValueError):
    """The data is not JSON."""


class Usage(msgspec.Struct, frozen=True):
    """Token counts; None if missing or not a number."""

    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    cached_tokens: int | None = None


class Progress(msgspec.Struct, frozen=True):
    """Prefill progress in tokens: llama.cpp's `return_progress`, mlx_lm.server's comments."""

    done: int
    total: int


class ChunkChoice(msgspec.Struct, frozen=True):
    index: int = 0
    delta: MessageParts = NOTHING
    message: MessageParts = NOTHING
    """The whole reply: of an answer that was not streamed, or repeated at the end of a stream."""
    finish_reason: str = ""
    tokens: tuple[ListedToken, ...] = ()
    """Its tokens with their probabilities; empty: the server does not list them."""


class StreamChunk(msgspec.Struct, frozen=True):
    choices: tuple[ChunkChoice, ...] = ()
    usage: Usage = Usage()
    progress: Progress | None = None
    error: str | None = None
    """The server's error in one line of any length; None if there is none."""

    @property
    def is_nothing(self) -> bool:
        """Nothing in it was understood."""
        return not self.choices and self.usage == Usage() and self.progress is None and self.error is None


def parse_chunks(data: str) -> list[StreamChunk]:
    """Parse an event's data: one chunk, a list of chunks, or several objects in a row; none for other JSON.

    Raises:
        BadChunk: it is not JSON.
    """
    try:
        found = decoded(data)
    except ValueError as error:
        raise BadChunk(str(error)) from error
    listed = cast("list[Any]", found) if isinstance(found, list) else [found]
    if len(listed) > _MOST_CHUNKS:
        raise BadChunk("too many chunks")
    return [_chunk(cast("dict[str, Any]", each)) for each in listed if isinstance(each, dict)]


def _chunk(fields: dict[str, Any]) -> StreamChunk:
    found = fields.get("choices")
    listed = cast("list[Any]", found) if isinstance(found, list) else [found]
    choices = [_choice(cast("dict[str, Any]", each)) for each in listed if isinstance(each, dict)]
    error = _error_of(fields)
    if not choices and error is None and isinstance(fields.get("message"), dict):  # Ollama's own API
        ended = fields.get("done_reason") or ("stop" if fields.get("done") is True else "")
        choices = [ChunkChoice(delta=parts_of(fields["message"]), finish_reason=_word(ended))]
    usage = _usage(fields)
    for each in map(object_of, listed):
        error = error or _error_of({"error": each.get("error"), "choices": None})
        usage = usage if usage != Usage() else _usage(each)  # Moonshot's place for it
    return StreamChunk(tuple(choices), usage, _progress(fields.get("prompt_progress")), error)


def _choice(fields: dict[str, Any]) -> ChunkChoice:
    delta = parts_of(fields.get("delta"))
    if delta.is_nothing and isinstance(fields.get("text"), str):  # a server of the completions API
        delta = MessageParts(text=fields["text"])
    return ChunkChoice(
        index=count_of(fields.get("index")) or 0,
        delta=delta,
        message=parts_of(fields.get("message")),
        finish_reason=_word(fields.get("finish_reason")),
        tokens=listed_tokens(fields.get("logprobs")),
    )


def _word(found: object) -> str:
    if isinstance(found, dict):
        fields = cast("dict[str, object]", found)
        found = fields.get("type") or fields.get("reason")
    return found if isinstance(found, str) and found.lower() not in ("null", "none") else ""


def _usage(fields: dict[str, Any]) -> Usage:
    """`usage` (also Groq's `x_groq.usage`), llama.cpp's `timings`, or the counts of Ollama's own API."""
    usage = object_of(fields.get("usage")) or object_of(object_of(fields.get("x_groq")).get("usage"))
    details, timings = object_of(usage.get("prompt_tokens_details")), object_of(fields.get("timings"))
    read, cached = count_of(timings.get("prompt_n")), count_of(timings.get("cache_n"))
    prompt = (usage.get("prompt_tokens"), usage.get("input_tokens"), fields.get("prompt_eval_count"))
    made = (usage.get("completion_tokens"), usage.get("output_tokens"), fields.get("eval_count"))
    kept = (details.get("cached_tokens"), usage.get("prompt_cache_hit_tokens"), cached)
    return Usage(
        first_count(*prompt) or (None if read is None or cached is None else read + cached) or None,
        first_count(*made, timings.get("predicted_n")),
        first_count(*kept),
    )


def _progress(found: object) -> Progress | None:
    fields = object_of(found)
    done, total = count_of(fields.get("processed")), count_of(fields.get("total"))
    return Progress(min(done, total), total) if done is not None and total else None


def _error_of(fields: dict[str, Any]) -> str | None:
    """vLLM before 0.10 sent errors flat: `{"object": "error", "message": …}`; FastAPI sends `{"detail": …}`."""
    found = next((fields[name] for name in _ERRORS if fields.get(name)), None)
    if not found and _is_failure(fields):
        return first_line(_message_of({**fields, "error": None})) or "an error without words"
    if not found and "choices" not in fields:
        found = fields.get("detail")
    base = object_of(fields.get("base_resp"))  # MiniMax
    if not found and base.get("status_code"):
        found = base.get("status_msg")
    said = first_line(_message_of(found)) if found else ""
    if said.lower() not in _NO_ERROR:
        return said
    code = object_of(found).get("code")
    return f"error {code}" if isinstance(code, int) and code >= 400 else None


def _is_failure(fields: dict[str, Any]) -> bool:
    """Whether a word or number at the top level marks it as an error."""
    if "error" in (fields.get("object"), fields.get("type"), fields.get("status")):
        return True
    if fields.get("choices"):
        return False
    codes = (count_of(fields.get(name)) or 0 for name in ("code", "status", "status_code"))
    return fields.get("success") is False or any(400 <= code < 1000 for code in codes)


def server_message(body: bytes | str) -> str:
    """An error body's message in one line: `error.message`, `error`, `message`, `detail` …, else its text. For a web page
    its title, for XML its message."""
    try:
        found = decoded(body)
    except ValueError:
        text = body.decode("utf-8", "replace") if isinstance(body, bytes) else body
        if not text.lstrip().startswith("<"):
            return short_line(text)
        title = _TITLE.search(text)
        return short_line(unescape(" ".join(title[1].split()))) if title else ""
    return short_line(_message_of(found))


def short_line(text: str, longest: int = 300) -> str:
    """The first non-empty line, shortened. Mask secrets before: half a key would not be recognised."""
    line = first_line(text)
    return line if len(line) <= longest else line[: longest - 1] + "…"


def first_line(text: str) -> str:
    """The first non-empty line; half a surrogate pair is replaced."""
    text = text.encode("utf-8", "replace").decode()
    return next((line.strip() for line in text.splitlines() if line.strip()), "")


def _message_of(found: Any, left: int = _DEEPEST) -> str:
    """The message, from at most `left` levels."""
    if isinstance(found, str) and found[:1] == "{":  # a gateway passes on what the server behind it said
        try:
            found = decoded(found)
        except ValueError:
            pass
    if not left:
        said = ""
    elif isinstance(found, dict):
        fields = cast("dict[str, Any]", found)
        said = _message_of(next((fields[key] for key in _WORDS if fields.get(key)), ""), left - 1)
        raw = object_of(fields.get("metadata")).get("raw")  # OpenRouter: the provider's own words
        if raw and isinstance(raw, str):
            said = f"{said}: {_message_of(raw, left - 1)}"
    elif isinstance(found, list):
        said = "; ".join(_message_of(part, left - 1) for part in cast("list[Any]", found)[:3])
    else:
        said = str(found)
    return said[:_LONGEST_MESSAGE]
