"""The data of one event → what it says of a reply: text, thinking, ends, figures, errors.

Servers leave out, null or add what they like, and write any field in any type: what is not understood is passed over, so
that a figure never costs a reply.
"""

from __future__ import annotations

import json
import math
from typing import Any, Final, cast

import msgspec

from ttchat_tui.engine.remote.parts import NOTHING, Said, said_by

_MOST: Final = 1 << 40
"""Tokens; a count above it is none."""
_LONGEST_MESSAGE: Final = 4096
"""Characters of an error."""
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


class Choice(msgspec.Struct, frozen=True):
    index: int = 0
    delta: Said = NOTHING
    message: Said = NOTHING
    """All that was said: in an answer that was not streamed, or once more at the end of one that was."""
    finish_reason: str = ""
    logprobs: tuple[float, ...] = ()
    """Natural log of each token's probability."""


class Chunk(msgspec.Struct, frozen=True):
    choices: tuple[Choice, ...] = ()
    usage: Usage = Usage()
    progress: Progress | None = None
    error: str | None = None
    """What the server says went wrong, in one line of any length."""

    @property
    def is_nothing(self) -> bool:
        """Nothing in it was understood."""
        return not self.choices and self.usage == Usage() and self.progress is None and self.error is None


def parse_chunks(data: str | bytes) -> list[Chunk]:
    """The chunks in the data of an event: one; those of a list; none where it is JSON of another kind.

    Raises:
        BadChunk: no JSON.
    """
    found = _json(data)
    listed = cast("list[Any]", found) if isinstance(found, list) else [found]
    return [_chunk(cast("dict[str, Any]", each)) for each in listed if isinstance(each, dict)]


def _json(data: str | bytes) -> object:
    try:
        return msgspec.json.decode(data)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        pass
    try:  # halves of surrogate pairs, NaN and control characters in strings pass here
        return json.loads(data, strict=False)
    except (ValueError, RecursionError) as error:
        raise BadChunk(str(error)) from error


def _chunk(fields: dict[str, Any]) -> Chunk:
    found = fields.get("choices")
    listed = cast("list[Any]", found) if isinstance(found, list) else [found]
    choices = [_choice(cast("dict[str, Any]", each)) for each in listed if isinstance(each, dict)]
    error = _error_of(fields)
    if not choices and error is None and isinstance(fields.get("message"), dict):  # Ollama's own API
        ended = fields.get("done_reason") or ("stop" if fields.get("done") is True else "")
        choices = [Choice(delta=said_by(fields["message"]), finish_reason=_word(ended))]
    for each in map(_object, listed):
        error = error or _error_of({"error": each.get("error")})
    return Chunk(tuple(choices), _usage(fields), _progress(fields.get("prompt_progress")), error)


def _choice(fields: dict[str, Any]) -> Choice:
    delta = said_by(fields.get("delta"))
    if delta.is_nothing and isinstance(fields.get("text"), str):  # of a server that speaks completions
        delta = Said(text=fields["text"])
    return Choice(
        index=_count(fields.get("index")) or 0,
        delta=delta,
        message=said_by(fields.get("message")),
        finish_reason=_word(fields.get("finish_reason")),
        logprobs=_logprobs(fields.get("logprobs")),
    )


def _word(found: object) -> str:
    if isinstance(found, dict):
        found = cast("dict[str, object]", found).get("type")
    return found if isinstance(found, str) and found.lower() not in ("null", "none") else ""


def _usage(fields: dict[str, Any]) -> Usage:
    usage, timings = _object(fields.get("usage")), _object(fields.get("timings"))
    details = _object(usage.get("prompt_tokens_details"))
    return Usage(
        _count(usage.get("prompt_tokens", usage.get("input_tokens"))) or None,
        _count(usage.get("completion_tokens", usage.get("output_tokens"))),
        next(
            (
                count
                for count in (_count(details.get("cached_tokens")), _count(timings.get("cache_n")))
                if count is not None
            ),
            None,
        ),
    )


def _progress(found: object) -> Progress | None:
    fields = _object(found)
    done, total = _count(fields.get("processed")), _count(fields.get("total"))
    return Progress(min(done, total), total) if done is not None and total else None


def _logprobs(found: object) -> tuple[float, ...]:
    """Of every token, or of none."""
    fields = _object(found)
    content = fields.get("content")
    values = (
        [_object(each).get("logprob") for each in cast("list[object]", content)]
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


def _object(found: object) -> dict[str, Any]:
    return cast("dict[str, Any]", found) if isinstance(found, dict) else {}


def _count(found: object) -> int | None:
    """A number of tokens, as an integer or as a float without a fraction."""
    if isinstance(found, bool) or not isinstance(found, (int, float)) or not 0 <= found <= _MOST:
        return None
    return int(found) if found == int(found) else None


def _error_of(fields: dict[str, Any]) -> str | None:
    """vLLM before 0.10 sent errors flat: `{"object": "error", "message": …}`; FastAPI sends `{"detail": …}`."""
    found, is_flat = fields.get("error"), "error" in (fields.get("object"), fields.get("type"))
    if is_flat and not found:
        return first_line(_message_of({**fields, "error": None})) or "an error without words"
    if not found and "choices" not in fields:
        found = fields.get("detail")
    said = first_line(_message_of(found)) if found else ""
    if said.lower() not in _NO_ERROR:
        return said
    code = _object(found).get("code")
    return f"error {code}" if isinstance(code, int) and code >= 400 else None


def server_message(body: bytes | str) -> str:
    """What an error's body says, in one line: `error.message`, `error`, `message`, `detail`, else its text; empty for a
    web page."""
    try:
        found: Any = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        text = body.decode("utf-8", "replace") if isinstance(body, bytes) else body
        return "" if text.lstrip().startswith("<") else one_line(text)
    return one_line(_message_of(found))


def one_line(text: str, longest: int = 300) -> str:
    """The first line that says anything, cut. What may repeat a key is masked before: half of it would pass."""
    line = first_line(text)
    return line if len(line) <= longest else line[: longest - 1] + "…"


def first_line(text: str) -> str:
    """The first that says anything; half a character of a JSON string is replaced."""
    text = text.encode("utf-8", "replace").decode()
    return next((line.strip() for line in text.splitlines() if line.strip()), "")


def _message_of(found: Any) -> str:
    while isinstance(found, dict):
        fields = cast("dict[str, Any]", found)
        found = next((fields[key] for key in ("error", "message", "detail", "msg") if fields.get(key)), "")
    if isinstance(found, list):
        return "; ".join(_message_of(part) for part in cast("list[Any]", found)[:3])
    return str(found)[:_LONGEST_MESSAGE]
