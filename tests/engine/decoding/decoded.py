"""Ids back to text, as a reply shows it."""

from __future__ import annotations

from collections.abc import Iterable

from ttchat_tui.engine.text.tokenizer import ChatTokenizer


def decoded(tokenizer: ChatTokenizer, ids: Iterable[int]) -> str:
    decoder = tokenizer.new_decoder(is_start=False)
    return "".join([decoder.push(token_id) for token_id in ids]) + decoder.flush()
