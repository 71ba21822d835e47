"""Thoughts in prompts: the arguments by which chat templates switch thinking on and off, and thoughts of earlier replies."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Final

from msgspec.structs import replace

from ttchat_tui.domain.chat import ChatMessage
from ttchat_tui.domain.sampling import KeepThoughts, Thinking
from ttchat_tui.domain.thoughts import CLOSING, OPENING

_SWITCHES: Final = ("enable_thinking", "thinking")
"""True or false. Qwen3, GLM, SmolLM3, Hunyuan; DeepSeek V3.1, Granite."""
_EFFORT: Final = "reasoning_effort"
"""`low`, `medium` or `high`: gpt-oss."""
EFFORTS: Final[tuple[Thinking, ...]] = ("low", "medium", "high")


def levels_of(variables: Collection[str]) -> tuple[Thinking, ...]:
    """What a template understands that reads these variables."""
    switches: tuple[Thinking, ...] = ("off", "on") if any(name in variables for name in _SWITCHES) else ()
    return (*switches, *(EFFORTS if _EFFORT in variables else ()))


def arguments_of(level: Thinking, variables: Collection[str]) -> Mapping[str, bool | str]:
    """The template's arguments for a level; none for `auto` and for levels that it does not understand."""
    if level not in levels_of(variables):
        return {}
    switches = {name: level != "off" for name in _SWITCHES if name in variables}
    return switches if level in ("off", "on") else {**switches, _EFFORT: level}


def with_thoughts(messages: Sequence[ChatMessage], keep: KeepThoughts) -> tuple[ChatMessage, ...]:
    """`messages` with their thoughts apart (`auto`), in their contents, or without any."""
    if keep == "auto":
        return tuple(messages)
    return tuple(
        _with_thoughts(message, keep) if message.reasoning_content else message for message in messages
    )


def _with_thoughts(message: ChatMessage, keep: KeepThoughts) -> ChatMessage:
    block = f"{OPENING}{message.reasoning_content}{CLOSING}\n" if keep == "always" else ""
    return replace(message, content=block + message.content, reasoning_content="")
