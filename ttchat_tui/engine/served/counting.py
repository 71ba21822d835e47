"""Prompt token counts: from the server if it counts, else from a local copy of the tokenizer, else an estimate.

Estimates assume a number of UTF-8 bytes per token: four at first, then the ratio the server's figures show.
"""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import Any, Final, cast

import msgspec

from ttchat_tui.domain.chat import ChatMessage
from ttchat_tui.engine.base import EngineError, TokenCounter
from ttchat_tui.engine.served.caller import Caller, Tick
from ttchat_tui.engine.served.dialects import Counting, Dialect

_log = logging.getLogger(__name__)

_TIMEOUT_S: Final = 2.0
_REMEMBERED: Final = 64
_TOKENS_A_MESSAGE: Final = 5
"""Roughly what a chat template adds around each message."""
_BYTES_A_TOKEN: Final = 4.0


class TokenCount(msgspec.Struct, frozen=True):
    tokens: int
    is_estimate: bool


class PromptCounter:
    """Counts prompts for one model of one server."""

    def __init__(
        self, caller: Caller, dialect: Dialect, model: str, local: TokenCounter | None = None
    ) -> None:
        self._caller = caller
        self._way: Counting = dialect.counting
        self._model = model
        self._local = local
        self._is_local_true = local is not None and local.has_template
        """The server's figures have not contradicted the local tokenizer."""
        self._known: OrderedDict[tuple[ChatMessage, ...], TokenCount] = OrderedDict()
        self._bytes_a_token = _BYTES_A_TOKEN

    def bias_ids(self, bias: Mapping[str, float]) -> dict[int, float]:
        """The tokens of a logit bias, by the local tokenizer. Raises EngineError: a text is not one token."""
        return self._local.bias_ids(bias) if bias and self._local is not None else {}

    def known(self, messages: Sequence[ChatMessage]) -> TokenCount:
        """The best count without asking the server."""
        key = tuple(messages)
        return self._known.get(key) or self._locally(key) or TokenCount(self._estimate(key), True)

    def count(self, messages: Sequence[ChatMessage], tick: Tick = lambda: None) -> TokenCount:
        """The best count available; asks the server at most once for the same messages.

        `tick` is called about twenty times a second meanwhile. Its exceptions are passed on.
        """
        key = tuple(messages)
        found = self._known.get(key)
        if found is None or (found.is_estimate and self._way != "none"):
            asked = self._ask(key, tick)
            if asked is None or asked.is_estimate:
                asked = self._locally(key) or asked or TokenCount(self._estimate(key), True)
            found = asked
            self._remember(key, found)
        return found

    def shares(self, messages: Sequence[ChatMessage], tokens: int) -> tuple[int, ...]:
        """`tokens` of a prompt split over its messages by the length of their texts, after a guess of the template's share:
        an estimate."""
        said, size = max(tokens - _TOKENS_A_MESSAGE * len(messages), 0), _size(messages)
        return tuple(said * _size([message]) // size if size else 0 for message in messages)

    def learn(self, messages: Sequence[ChatMessage], tokens: int) -> None:
        """Record the server's own count for these messages."""
        if self._is_local_true and (here := self._locally(messages)) is not None and here.tokens != tokens:
            _log.info("the local tokenizer counts %d where the server counts %d", here.tokens, tokens)
            self._is_local_true = False
        self._remember(tuple(messages), TokenCount(tokens, False))
        text_tokens = tokens - _TOKENS_A_MESSAGE * len(messages)
        if text_tokens > 20:  # below that it is mostly template
            self._bytes_a_token = min(max(_size(messages) / text_tokens, 1.0), 8.0)

    def _locally(self, messages: Sequence[ChatMessage]) -> TokenCount | None:
        if self._local is None or not messages:
            return None
        try:
            return TokenCount(self._local.count(messages), not self._is_local_true)
        except EngineError as error:
            _log.info("the local tokenizer did not count: %s", error)
            return None

    def _estimate(self, messages: Sequence[ChatMessage]) -> int:
        return round(_size(messages) / self._bytes_a_token) + _TOKENS_A_MESSAGE * len(messages)

    def _remember(self, key: tuple[ChatMessage, ...], count: TokenCount) -> None:
        self._known[key] = count
        self._known.move_to_end(key)
        while len(self._known) > _REMEMBERED:
            self._known.popitem(last=False)

    def _ask(self, messages: Sequence[ChatMessage], tick: Tick) -> TokenCount | None:
        if not messages:
            return TokenCount(0, False)
        try:
            match self._way:
                case "none":
                    return None
                case "vllm":
                    body = {"model": self._model, "messages": messages, "add_generation_prompt": True}
                    return _exact(self._post("/tokenize", tick, body).get("count"))
                case "llama.cpp":
                    prompt = self._post("/apply-template", tick, {"messages": messages}).get("prompt")
                    if not isinstance(prompt, str):
                        return None
                    body = {"content": prompt, "add_special": True, "parse_special": True}
                    tokens = self._post("/tokenize", tick, body).get("tokens")
                    return _exact(len(cast("list[Any]", tokens)) if isinstance(tokens, list) else None)
                case "llama-cpp-python":  # counts text only: the template's share is a guess
                    text = "\n".join(message.content for message in messages)
                    tokens = self._post("/extras/tokenize/count", tick, {"input": text}).get("count")
                    extra = _TOKENS_A_MESSAGE * len(messages)
                    return TokenCount(tokens + extra, True) if isinstance(tokens, int) else None
        except EngineError as error:
            _log.info("the server did not count: %s", error)
            return None

    def _post(self, path: str, tick: Tick, body: object) -> dict[str, Any]:
        answer = self._caller.ask(self._caller.root_url(path), body, timeout_s=_TIMEOUT_S, tick=tick)
        if answer.status in (404, 405, 501):
            self._way = "none"  # an older release
        found = answer.json()
        return cast("dict[str, Any]", found) if isinstance(found, dict) else {}


def _exact(tokens: object) -> TokenCount | None:
    return TokenCount(tokens, False) if isinstance(tokens, int) else None


def _size(messages: Sequence[ChatMessage]) -> int:
    """In bytes. Thoughts of earlier replies do not count: most templates drop them."""
    return sum(len(message.content.encode("utf-8", "replace")) for message in messages)
