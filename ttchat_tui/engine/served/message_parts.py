"""The parts of a delta or message: text, thoughts, a refusal, tool calls, media.

Servers write content as a string, an object with a `text`, or a list of typed parts. Other types are ignored.
"""

from __future__ import annotations

import json
from typing import Any, Final, cast

import msgspec

from ttchat_tui.engine.served.loose_json import object_of

_THOUGHTS: Final = (
    *("reasoning_content", "reasoning", "thinking", "reasoning_text", "reasoning_details"),
    *("thinking_blocks", "thinking_content"),
)
"""Fields that hold thoughts (several may repeat the same text). DeepSeek, llama.cpp; vLLM, Ollama, OpenRouter; LiteLLM."""
_WORDS: Final = ("text", "value", "thinking", "reasoning", "reasoning_text", "summary", "content")
"""Keys that hold an object's text; the first non-empty one counts."""
_THINKING_TYPES: Final = ("thinking", "reasoning", "thought")
_MEDIA: Final = {
    "images": "an image",
    "image": "an image",
    "audio": "audio",
    "video": "a video",
    "annotations": "a list of sources",
    "citations": "a list of sources",
}
"""Fields that hold content this app cannot show."""


_LONGEST_KIND: Final = 30
"""Longest part type shown, in characters."""


class Call(msgspec.Struct, frozen=True):
    """A piece of a tool call: name and arguments may come in pieces."""

    index: int
    id: str = ""
    name: str = ""
    arguments: str = ""


class MessageParts(msgspec.Struct, frozen=True):
    """The content of one delta or message. Text may end in half a surrogate pair; the next delta completes it."""

    text: str = ""
    thinking: str = ""
    refusal: str = ""
    calls: tuple[Call, ...] = ()
    media: tuple[str, ...] = ()
    """Descriptions: `an image`."""

    @property
    def is_nothing(self) -> bool:
        return not (self.text or self.thinking or self.refusal or self.calls or self.media)


NOTHING: Final = MessageParts()


def parts_of(found: object) -> MessageParts:
    """Read a delta or a message of any JSON type: an object with `content`, a list of parts, or the text itself."""
    if not isinstance(found, dict):
        return _content(cast("Any", found)) if isinstance(found, (str, list)) else NOTHING
    fields = cast("dict[str, Any]", found)
    content = _content(fields.get("content"))
    fields = {**object_of(fields.get("provider_specific_fields")), **fields}  # LiteLLM
    thoughts = (words_of(fields.get(name)) for name in _THOUGHTS)
    thinking, text = next((each for each in thoughts if each), ""), content.text
    if content.thinking != thinking:
        thinking += content.thinking
    if _is_marked_as_thought(fields):
        thinking, text = thinking + text, ""
    media = [words for name, words in _MEDIA.items() if _is_there(fields.get(name))]
    return MessageParts(
        text=text or words_of(fields.get("text")) or _transcript(fields.get("audio")),
        thinking=thinking,
        refusal=words_of(fields.get("refusal")) or content.refusal,
        calls=_calls(fields),
        media=tuple(dict.fromkeys((*content.media, *media))),
    )


def _is_marked_as_thought(fields: dict[str, Any]) -> bool:
    """Gemini marks content as a thought with a flag."""
    found: Any = fields
    for name in ("extra_content", "google", "thought"):
        found = cast("dict[str, Any]", found).get(name) if isinstance(found, dict) else None
    return found is True


def _transcript(found: object) -> str:
    """The transcript of audio."""
    said = cast("dict[str, object]", found).get("transcript") if isinstance(found, dict) else None
    return said if isinstance(said, str) else ""


def words_of(found: object) -> str:
    """The text of a string, of an object with a text, or of a list of these."""
    pending, parts, left = [found], list[str](), 10_000
    while pending and left:
        one, left = pending.pop(), left - 1
        if isinstance(one, str):
            parts.append(one)
        elif isinstance(one, list):
            pending += reversed(cast("list[object]", one))
        elif isinstance(one, dict):
            fields = cast("dict[str, object]", one)
            pending.append(next((fields[name] for name in _WORDS if fields.get(name)), None))
    return "".join(parts)


def _content(found: object) -> MessageParts:
    if isinstance(found, str):
        return MessageParts(text=found)
    if isinstance(found, (int, float)) and not isinstance(found, bool):
        return MessageParts(text=str(found))
    listed = cast("list[Any]", found) if isinstance(found, list) else [found]
    text, thinking, refusal, media = "", "", "", list[str]()
    for part in listed:
        fields = cast("dict[str, Any]", part) if isinstance(part, dict) else {"text": part}
        kind = str(fields.get("type") or "text").lower()
        words = words_of(fields)
        if any(word in kind for word in _THINKING_TYPES):
            thinking += words
        elif kind == "refusal":
            refusal += words or words_of(fields.get("refusal"))
        elif words:
            text += words
        elif named := next((said for word, said in _MEDIA.items() if word in kind), ""):
            media.append(named)
        elif kind in ("file", "document", "resource"):
            media.append("a file")
        elif "text" not in kind and kind != "message":
            media.append(f"a part of the type {kind[:_LONGEST_KIND]!r}")
    return MessageParts(text, thinking, refusal, media=tuple(dict.fromkeys(media)))


def _is_there(found: Any) -> bool:
    return bool(found) and not isinstance(found, (int, float))


def _calls(fields: dict[str, Any]) -> tuple[Call, ...]:
    found = fields.get("tool_calls")
    listed = cast("list[Any]", found) if isinstance(found, list) else [found]
    calls = [
        _call(cast("dict[str, Any]", each), place)
        for place, each in enumerate(listed)
        if isinstance(each, dict)
    ]
    if isinstance(legacy := fields.get("function_call"), dict):
        calls.append(_call({"function": legacy}, 0))
    return tuple(calls)


def _call(found: dict[str, Any], place: int) -> Call:
    inner = next((found[name] for name in ("function", "custom") if isinstance(found.get(name), dict)), found)
    fields = cast("dict[str, Any]", inner)
    index, given = found.get("index"), fields.get("arguments", fields.get("input"))
    return Call(
        index if isinstance(index, int) else place,
        found["id"] if isinstance(found.get("id"), str) else "",
        fields["name"] if isinstance(fields.get("name"), str) else "",
        given if isinstance(given, str) else _json_of(given),
    )


def _json_of(found: Any) -> str:
    return json.dumps(found, ensure_ascii=False) if found else ""
