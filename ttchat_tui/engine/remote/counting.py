"""How many tokens a prompt takes: the server's own count where it offers one, else an estimate that says so.

Estimates rest on UTF-8 bytes per token: four at first, then what the server's own figures have shown.
"""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any, Final, cast

import msgspec

from ttchat_tui.domain.chat import ChatMessage
from ttchat_tui.engine.base import EngineError
from ttchat_tui.engine.remote.caller import Caller
from ttchat_tui.engine.remote.dialects import Counting, Dialect

_log = logging.getLogger(__name__)

_TIMEOUT_S: Final = 2.0
_REMEMBERED: Final = 64
_TOKENS_A_MESSAGE: Final = 5
"""What a chat template adds around each message, about."""
_BYTES_A_TOKEN: Final = 4.0


class Count(msgspec.Struct, frozen=True):
    tokens: int
    is_estimate: bool


class PromptCounter:
    """Counts prompts for one model of one server."""

    def __init__(self, caller: Caller, dialect: Dialect, model: str) -> None:
        self._caller = caller
        self._way: Counting = dialect.counting
        self._model = model
        self._known: OrderedDict[tuple[ChatMessage, ...], Count] = OrderedDict()
        self._bytes_a_token = _BYTES_A_TOKEN

    @property
    def can_count(self) -> bool:
        """The server counts; otherwise every count is an estimate."""
        return self._way != "none"

    def known(self, messages: Sequence[ChatMessage]) -> Count:
        """What is known without asking the server."""
        found = self._known.get(tuple(messages))
        return found or Count(self._estimate(messages), True)

    def count(self, messages: Sequence[ChatMessage]) -> Count:
        """The server's count where it gives one; asks it at most once for the same messages."""
        key = tuple(messages)
        found = self._known.get(key)
        if found is None or (found.is_estimate and self.can_count):
            found = self._ask(key) or Count(self._estimate(key), True)
            self._remember(key, found)
        return found

    def learn(self, messages: Sequence[ChatMessage], tokens: int) -> None:
        """The server has said what these messages took."""
        self._remember(tuple(messages), Count(tokens, False))
        text_tokens = tokens - _TOKENS_A_MESSAGE * len(messages)
        if text_tokens > 20:  # less is mostly template
            self._bytes_a_token = min(max(_size(messages) / text_tokens, 1.0), 8.0)

    def _estimate(self, messages: Sequence[ChatMessage]) -> int:
        return round(_size(messages) / self._bytes_a_token) + _TOKENS_A_MESSAGE * len(messages)

    def _remember(self, key: tuple[ChatMessage, ...], count: Count) -> None:
        self._known[key] = count
        self._known.move_to_end(key)
        while len(self._known) > _REMEMBERED:
            self._known.popitem(last=False)

    def _ask(self, messages: Sequence[ChatMessage]) -> Count | None:
        if not messages:
            return Count(0, False)
        try:
            match self._way:
                case "none":
                    return None
                case "vllm":
                    body = {"model": self._model, "messages": messages, "add_generation_prompt": True}
                    return _exact(self._post("/tokenize", body).get("count"))
                case "llama.cpp":
                    prompt = self._post("/apply-template", {"messages": messages}).get("prompt", "")
                    body = {"content": prompt, "add_special": True, "parse_special": True}
                    tokens = self._post("/tokenize", body).get("tokens")
                    return _exact(len(cast("list[Any]", tokens)) if isinstance(tokens, list) else None)
                case "llama-cpp-python":  # counts text; what the template adds stays a guess
                    text = "\n".join(message.content for message in messages)
                    tokens = self._post("/extras/tokenize/count", {"input": text}).get("count")
                    extra = _TOKENS_A_MESSAGE * len(messages)
                    return Count(tokens + extra, True) if isinstance(tokens, int) else None
        except EngineError as error:
            _log.info("the server did not count: %s", error)
            return None

    def _post(self, path: str, body: object) -> dict[str, Any]:
        answer = self._caller.ask(self._caller.root_url(path), body, timeout_s=_TIMEOUT_S)
        if answer.status in (404, 405, 501):
            self._way = "none"  # a release without it
        found = answer.json()
        return cast("dict[str, Any]", found) if isinstance(found, dict) else {}


def _exact(tokens: object) -> Count | None:
    return Count(tokens, False) if isinstance(tokens, int) else None


def _size(messages: Sequence[ChatMessage]) -> int:
    return sum(len(message.content.encode("utf-8", "replace")) for message in messages)
