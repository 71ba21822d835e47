"""A model's tokenizer and chat template, which belong together: what the template writes around messages are control tokens."""

from __future__ import annotations

import re
from collections.abc import Mapping
from contextlib import suppress
from types import MappingProxyType
from typing import Final, NamedTuple

from ttchat_tui.domain.chat import ChatMessage
from ttchat_tui.domain.model_spec import TemplateValue
from ttchat_tui.domain.thoughts import thought_tag
from ttchat_tui.engine.text.template import ChatTemplate, TemplateData
from ttchat_tui.engine.text.template_process import TemplateError
from ttchat_tui.engine.text.tokenizer import ChatTokenizer

_BRACKETED: Final = re.compile(r"[<\[]\S+[>\]]")
"""How control tokens are written. Others are runs of spaces and lines, which templates write too."""
_QUESTION: Final = ChatMessage("user", "a")
_CONVERSATIONS: Final = ((_QUESTION, ChatMessage("assistant", "b"), _QUESTION), (_QUESTION,))


class ChatText(NamedTuple):
    """What turns messages into token ids."""

    tokenizer: ChatTokenizer
    template: ChatTemplate


def chat_text(
    tokenizer: ChatTokenizer,
    data: TemplateData,
    options: Mapping[str, TemplateValue] = MappingProxyType({}),
) -> ChatText:
    """Both, with a control token of each added token that frames turns: Gemma's vocabularies have `<start_of_turn>` as a token
    that any text may contain, so that a message could begin a turn.

    Args:
        tokenizer: not to be used any more.
        options: variables of the template.
    Raises:
        TemplateError: the template is not valid Jinja, or does not end.
    """
    special = data.special if data.source else {**data.special, "bos_token": _beginning(tokenizer)}
    template = ChatTemplate(data.source, special, tokenizer.controls, options)
    framing = _framing(tokenizer, template)
    if not framing:
        return ChatText(tokenizer, template)
    tokenizer = tokenizer.with_controls(framing)
    return ChatText(tokenizer, ChatTemplate(data.source, special, tokenizer.controls, options))


def _beginning(tokenizer: ChatTokenizer) -> str:
    """The control tokens that the tokenizer puts before every text. Without a template a prompt is such a text: a vocabulary may
    name a token for its beginning that its model was not trained with (Qwen)."""
    return "".join(
        tokenizer.piece_of(each).decode() for each in tokenizer.beginning if each in tokenizer.control_ids
    )


def _framing(tokenizer: ChatTokenizer, template: ChatTemplate) -> set[str]:
    """Added tokens that the template writes in a plain conversation. Tags of thoughts are text: contents have them too."""
    candidates = {text for text in tokenizer.matched if _BRACKETED.fullmatch(text) and not thought_tag(text)}
    if not candidates:
        return set()
    found: set[str] = set()
    for messages in _CONVERSATIONS:
        with suppress(TemplateError):  # Some take no reply.
            prompt = template.render(messages)
            found |= {text for text in candidates if text in prompt}
    return found
