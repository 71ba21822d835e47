"""The end of a thought, as each chat template writes it."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from tests.engine.text.test_template import DEEPSEEK, GPT_OSS, QWEN, SMOL
from ttchat_tui.domain.thoughts import DIALECTS, ENDS, end_of_open_thought, ends_thought, split_thoughts
from ttchat_tui.engine.text.template import ChatTemplate, PromptPiece
from ttchat_tui.engine.text.thought_end import ThoughtEnd

CONTROLS = ("<|im_end|>", "<|start|>", "<|channel|>", "<|message|>", "<|end|>")
SHOWS_THOUGHTS = (
    "{% for m in messages %}[{{ m.role }}]{% if m.reasoning_content %}<think>\n{{ m.reasoning_content }}\n</think>\n\n"
    "{% endif %}{{ m.content }}{% endfor %}"
)


class Pieces:
    """Each piece is one id, and is kept."""

    def __init__(self) -> None:
        self.encoded: list[PromptPiece] = []

    def encode_pieces(self, pieces: Sequence[PromptPiece], start: int = 0) -> list[tuple[int, ...]]:
        self.encoded += pieces[start:]
        return [(number,) for number in range(start, len(pieces))]


def end(source: str, text: str, controls: Sequence[str] = CONTROLS) -> str:
    encoder = Pieces()
    ids = ThoughtEnd(ChatTemplate(source, {}, controls), encoder, controls).ids_after(text)
    assert len(ids) == len(encoder.encoded)
    assert all(piece.is_control == (piece.text in controls) for piece in encoder.encoded)
    return "".join(piece.text for piece in encoder.encoded)


@pytest.mark.parametrize(
    ("source", "text", "closing"),
    [
        (SHOWS_THOUGHTS, "<think>\nhm", "\n</think>\n\n"),
        (SHOWS_THOUGHTS, "<think>\nhm\n", "</think>\n\n"),
        (SHOWS_THOUGHTS, "<think>\nhm\n</think>\n\nWell", ""),
        (SHOWS_THOUGHTS, "Well", ""),
        (QWEN, "<think>\nhm", "\n</think>\n\n"),
        (DEEPSEEK, "<think>\nhm", "\n</think>\n\n"),
        (SMOL, "<thinking>hm", "\n</thinking>\n\n"),
        (SMOL, "[THINK]hm", "\n[/THINK]\n\n"),
    ],
)
def test_an_open_thought_is_closed_as_the_template_does_or_else_in_its_own_dialect(
    source: str, text: str, closing: str
) -> None:
    assert end(source, text) == closing


def test_control_tokens_of_the_end_are_control_tokens() -> None:
    assert end(GPT_OSS, "<|channel|>analysis<|message|>hm").replace("\n", "").startswith("<|end|>")
    assert end(SMOL, "<think>\nhm", [*CONTROLS, "[/THINK]"]) == "\n[/THINK]\n\n", "the vocabulary has it"


def test_each_dialect_has_its_end() -> None:
    assert len(ENDS) == len(DIALECTS)
    openers = ["<think>", "<seed:think>", "<thought>", "<reasoning>", "[THINK]", "◁think▷", "<|START_THINKING|>",
        "<|begin_of_thought|>", "<|inner_prefix|>", "<think:opensource>", "<|channel>thought", "<|channel|>analysis<|message|>"]  # fmt: skip
    for opener, closing in zip(openers, ENDS[:-1], strict=True):
        begun = f"{opener}hm"
        assert end_of_open_thought(begun) == closing
        assert ends_thought(closing)
        parts = split_thoughts(f"{begun}\n{closing}\n\nWell")
        assert [part.is_thought for part in parts] == [True, False], opener
        assert not end_of_open_thought(f"{begun}\n{closing}\n\nWell")
