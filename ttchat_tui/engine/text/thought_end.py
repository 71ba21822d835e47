"""How the model's own chat template ends a thought: the ids between a thought and the answer after it."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from functools import cached_property
from typing import Final

from ttchat_tui.domain.chat import ChatMessage
from ttchat_tui.domain.thoughts import ENDS, end_of_open_thought, ends_thought
from ttchat_tui.engine.text.template import ChatTemplate, PromptPiece
from ttchat_tui.engine.text.template_process import TemplateError
from ttchat_tui.engine.text.token_ledger import PieceEncoder

_THOUGHT: Final = "ttchat-thought"
_ANSWER: Final = "ttchat-answer"


class ThoughtEnd:
    """Of one model. The template shows it where it renders a finished reply with its thought; many drop thoughts of earlier
    replies, and then the tag is that of the open thought, or the one that the vocabulary has as a control token."""

    def __init__(self, template: ChatTemplate, encoder: PieceEncoder, controls: Collection[str]) -> None:
        self._template = template
        self._encoder = encoder
        self._controls = controls

    def ids_after(self, text: str) -> tuple[int, ...]:
        """The ids that end the thought which is open at the end of `text`, a reply so far; none: no thought is open."""
        tag = end_of_open_thought(text)
        if not tag:
            return ()
        first, *rest = self._of_template or self._usual(tag)
        if text.endswith("\n") and not first.is_control:
            first = first._replace(text=first.text.lstrip("\n"))
        pieces = [PromptPiece("", False), *([first] if first.text else []), *rest]
        return tuple(each for ids in self._encoder.encode_pieces(pieces, 1) for each in ids)

    @cached_property
    def _of_template(self) -> list[PromptPiece]:
        """What the template has between thought and answer; empty if that is no end of a thought."""
        messages = [ChatMessage("user", "?"), ChatMessage("assistant", _ANSWER, reasoning_content=_THOUGHT)]
        try:
            pieces = self._template.pieces(messages, add_generation_prompt=False)
        except TemplateError:
            return []
        found = _between(pieces)
        return found if ends_thought("".join(piece.text for piece in found)) else []

    def _usual(self, tag: str) -> list[PromptPiece]:
        tag = next((each for each in ENDS if each in self._controls), tag)
        if tag in self._controls:
            return [PromptPiece("\n", False), PromptPiece(tag, True), PromptPiece("\n\n", False)]
        return [PromptPiece(f"\n{tag}\n\n", False)]


def _between(pieces: Sequence[PromptPiece]) -> list[PromptPiece]:
    """The pieces between the two marks."""
    found: list[PromptPiece] = []
    is_after = False
    for text, is_control in pieces:
        if not is_control and not is_after and _THOUGHT in text:
            text, is_after = text.partition(_THOUGHT)[2], True
        if is_after:
            before, mark, _ = text.partition(_ANSWER)
            if before:
                found.append(PromptPiece(before, is_control))
            if mark:
                return found
    return []
