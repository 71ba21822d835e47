"""Detection of requests that are too long for a server, with the numbers that it gives. Pure.

Patterns collected from vLLM, SGLang, TGI, llama.cpp, llama-cpp-python, LM Studio, Ollama, OpenAI, Azure, OpenRouter, Anthropic,
Mistral, Gemini, xAI, Groq, Cohere, Fireworks, DashScope, DeepSeek.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

import msgspec

from ttchat_tui.engine.served.loose_json import unescaped

_STATUSES: Final = frozenset({400, 413, 422, 500})

_IS_OVERFLOW: Final = re.compile(
    r"context[ _](?:length|size|window|limit)|context the overflows|context overflow|exceed_context|n_ctx"
    r"|(?:input|prompt|request) is too (?:long|large)|too many tokens|maximum (?:prompt|input|model) length"
    r"|max_new_tokens`? must be <=|`inputs` must have|input token count|prompt token count|range of input length"
    r"|reduce the length of|reduce your (?:message|prompt)|tokens to keep from the initial prompt|model token limit"
    r"|prompt exceeds max length|prompt 超长|max_seq_len|max_context|maximum supported sequence length"
    r"|(?:prompt|input) (?:has|of|length)[^.\n]{0,40}\b(?:exceeds|max(?:imum)?)\b",
    re.IGNORECASE,
)
_NUMBER: Final = r"\d[\d,]{0,12}(?!\d)"
_N: Final = rf"(?<!\d)({_NUMBER})"
_LIMIT: Final = tuple(
    re.compile(pattern, re.IGNORECASE)
    for pattern in (
        rf"(?:maximum|'s) context length (?:is|of):? (?:only )?{_N}",
        rf"(?:token|configured) limit(?: of)?:? {_N}",
        rf"(?:max_seq_len|max_context|sequence length of)\W{{0,3}}{_N}",
        rf"limit (?:for this model )?is {_N}",
        rf"tokens, max {_N} tokens",
        rf'"?n_ctx"?\s*[:=]\s*{_N}',
        rf"with {_N} maximum context length",
        rf"maximum (?:prompt|input|model) length (?:is|of):? {_N}",
        rf"max_new_tokens`? must be <= ?{_N}",
        rf"`inputs` must have less than {_N}",
        rf"too long: {_N} tokens > (?P<limit>{_NUMBER})",
        rf"exceed context limit: {_N} \+ {_N} > (?P<limit>{_NUMBER})",
        rf"maximum number of tokens allowed \(?{_N}",
        rf"range of input length should be \[\d{{1,13}}, ?(?P<limit>{_NUMBER})\]",
        rf"limit {_N}, requested",
        rf"(?:cannot exceed|exceeds the limit of) {_N}",
        # Neither the excess nor MiniMax's error number.
        rf"context[ _](?:size|window|length)(?! exceeds limit)(?:(?! by )[^\d\n]){{0,40}}?\(?{_N}",
    )
)
_PROMPT: Final = tuple(
    re.compile(pattern, re.IGNORECASE)
    for pattern in (
        rf"\({_N} (?:in the messages|of text input)",
        rf"{_N} tokens from the input",
        rf"(?:request|prompt) (?:has|contains) (?:at least )?{_N} (?:input )?tokens",
        rf'"n_prompt_tokens":\s*{_N}',
        rf"resulted in {_N} tokens",
        rf"passed {_N} input tokens",
        rf"given: {_N}",
        rf"too long: {_N}",
        rf"exceed context limit: {_N}",
        rf"prompt \(length {_N}",
        rf"(?:input|prompt) token count (?:of )?\(?{_N}",
        rf"(?:input|prompt|request) \({_N} tokens",
        rf"n_keep\s*[:=]\s*{_N}",
        rf"keep the first {_N} tokens",
        rf"received {_N}",
        rf"(?:prompt|current) length (?:is )?\(?{_N}",
        rf"length {_N} is greater",
        rf"(?:message|prompt) has {_N} tokens",
        rf"exceeded: {_N}",
        rf"requested(?: about| a total of| tokens)?:? \(?{_N}",
    )
)


class Overflow(msgspec.Struct, frozen=True):
    """The numbers of such a refusal; 0 for one that it does not give."""

    prompt_tokens: int
    limit: int


def overflow(status: int, body: bytes) -> Overflow | None:
    """The overflow that a refusal reports; None if it has another reason."""
    text = unescaped(body)
    if status not in _STATUSES or not _IS_OVERFLOW.search(text):
        return None
    return Overflow(_number(_PROMPT, text), _number(_LIMIT, text))


def _number(patterns: Sequence[re.Pattern[str]], text: str) -> int:
    found = next((match for pattern in patterns if (match := pattern.search(text))), None)
    if found is None:
        return 0
    named = found.groupdict().get("limit") or found.group(1)
    return int(named.replace(",", ""))
