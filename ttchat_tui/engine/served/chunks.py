"""The data of one event → what it says of a reply: text, thinking, ends, figures, errors.

Servers leave out, null or add what they like, and write any field in any type: what is not understood is passed over, so
that a figure never costs a reply.
"""

from __future__ import annotations

import math
import re
from html import unescape
from typing import Any, Final, cast

import msgspec

from ttchat_tui.engine.served.loose_json import count_of, decoded, first_count, object_of
from ttchat_tui.engine.served.message_parts import NOTHING, MessageParts, parts_of

_LONGEST_MESSAGE: Final = 4096
"""Characters of an error."""
_ERRORS: Final = ("error", "errors", "error_message", "error_msg")
"""Where an error may stand in a chunk."""
_WORDS: Final = (
    *("error_description", "error", "errors", "error_message", "error_msg", "message", "Message"),
    *("detail", "msg", "reason", "title"),
)
"""Where an error's object may keep its words, the first that has any."""
_TITLE: Final = re.compile(r"<(?:title|message)\b[^>]{0,200}>([^<]{1,500})<", re.IGNORECASE)
_MOST_CHUNKS: Final = 10_000
"""In one event: each takes time in which nothing else is looked at."""
_DEEPEST: Final = 8
"""Levels of an error's body that are read."""
_NO_ERROR: Final = frozenset({"", "none", "null", "ok", "success", "false", "0", "no error"})
"""What stands in an error's place where there is none."""


class BadChunk(ValueError):
    """The data is no JSON."""


class Usage(msgspec.Struct, frozen=True):
    """Tokens; None: not said, or no number of tokens."""

    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    cached_tokens: int | None = None


class Progress(msgspec.Struct, frozen=True):
    """Of prefill, in tokens: llama.cpp's `return_progress`, mlx_lm.server's comments."""

    done: int
    total: int


class ChunkChoice(msgspec.Struct, frozen=True):
    index: int = 0
    delta: MessageParts = NOTHING
    message: MessageParts = NOTHING
    """All that was said: in an answer that was not streamed, or once more at the end of one that was."""
    finish_reason: str = ""
    logprobs: tuple[float, ...] = ()
    """Natural log of each token's probability."""


class StreamChunk(msgspec.Struct, frozen=True):
    choices: tuple[ChunkChoice, ...] = ()
    usage: Usage = Usage()
    progress: Progress | None = None
    error: str | None = None
    """What the server says went wrong, in one line of any length."""

    @property
    def is_nothing(self) -> bool:
        """Nothing in it was understood."""
        return not self.choices and self.usage == Usage() and self.progress is None and self.error is None


def parse_chunks(data: str) -> list[StreamChunk]:
    """The chunks in the data of an event: one; those of a list, or of objects one behind the other; none where it is JSON
    of another kind.

    Raises:
        BadChunk: no JSON.
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
    if delta.is_nothing and isinstance(fields.get("text"), str):  # of a server that speaks completions
        delta = MessageParts(text=fields["text"])
    return ChunkChoice(
        index=count_of(fields.get("index")) or 0,
        delta=delta,
        message=parts_of(fields.get("message")),
        finish_reason=_word(fields.get("finish_reason")),
        logprobs=_logprobs(fields.get("logprobs")),
    )


def _word(found: object) -> str:
    if isinstance(found, dict):
        fields = cast("dict[str, object]", found)
        found = fields.get("type") or fields.get("reason")
    return found if isinstance(found, str) and found.lower() not in ("null", "none") else ""


def _usage(fields: dict[str, Any]) -> Usage:
    """`usage`, also where Groq has put it; llama.cpp's `timings`; the counts of Ollama's own API."""
    usage = object_of(fields.get("usage")) or object_of(object_of(fields.get("x_groq")).get("usage"))
    details, timings = object_of(usage.get("prompt_tokens_details")), object_of(fields.get("timings"))
    read, cached = count_of(timings.get("prompt_n")), count_of(timings.get("cache_n"))
    told = (usage.get("prompt_tokens"), usage.get("input_tokens"), fields.get("prompt_eval_count"))
    made = (usage.get("completion_tokens"), usage.get("output_tokens"), fields.get("eval_count"))
    kept = (details.get("cached_tokens"), usage.get("prompt_cache_hit_tokens"), cached)
    return Usage(
        first_count(*told) or (None if read is None or cached is None else read + cached) or None,
        first_count(*made, timings.get("predicted_n")),
        first_count(*kept),
    )


def _progress(found: object) -> Progress | None:
    fields = object_of(found)
    done, total = count_of(fields.get("processed")), count_of(fields.get("total"))
    return Progress(min(done, total), total) if done is not None and total else None


def _logprobs(found: object) -> tuple[float, ...]:
    """Of every token, or of none."""
    fields = object_of(found)
    content = fields.get("content")
    values = (
        [object_of(each).get("logprob") for each in cast("list[object]", content)]
        if isinstance(content, list)
        else fields.get("token_logprobs")
    )
    numbers = [
        float(each)
        for each in (cast("list[object]", values) if isinstance(values, list) else ())
        if isinstance(each, (int, float)) and not isinstance(each, bool) and math.isfinite(each)
    ]
    return (
        tuple(numbers)
        if isinstance(values, list) and len(numbers) == len(cast("list[object]", values))
        else ()
    )


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
    """Whether it says by a word or a number that it is an error, flat."""
    if "error" in (fields.get("object"), fields.get("type"), fields.get("status")):
        return True
    if fields.get("choices"):
        return False
    codes = (count_of(fields.get(name)) or 0 for name in ("code", "status", "status_code"))
    return fields.get("success") is False or any(400 <= code < 1000 for code in codes)


def server_message(body: bytes | str) -> str:
    """What an error's body says, in one line: `error.message`, `error`, `message`, `detail` …, else its text; of a web page
    its title, of XML its message."""
    try:
        found = decoded(body)
    except ValueError:
        text = body.decode("utf-8", "replace") if isinstance(body, bytes) else body
        if not text.lstrip().startswith("<"):
            return one_line(text)
        title = _TITLE.search(text)
        return one_line(unescape(" ".join(title[1].split()))) if title else ""
    return one_line(_message_of(found))


def one_line(text: str, longest: int = 300) -> str:
    """The first line that says anything, cut. What may repeat a key is masked before: half of it would pass."""
    line = first_line(text)
    return line if len(line) <= longest else line[: longest - 1] + "…"


def first_line(text: str) -> str:
    """The first that says anything; half a character of a JSON string is replaced."""
    text = text.encode("utf-8", "replace").decode()
    return next((line.strip() for line in text.splitlines() if line.strip()), "")


def _message_of(found: Any, left: int = _DEEPEST) -> str:
    """The words, from at most `left` levels."""
    if isinstance(found, str) and found[:1] == "{":  # a gateway hands on what the server behind it said
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
