"""A count predicts the prompt, whatever the template gets."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from tests.engine.text.test_template import QWEN, SMOL, THOUGHTFUL
from ttchat_tui.domain.sampling import SamplingParams
from ttchat_tui.engine.text.prompt_builder import PromptBuilder
from ttchat_tui.engine.text.template import ChatTemplate, PromptPiece


class Letters:
    """An id for each character."""

    def encode_pieces(self, pieces: Sequence[PromptPiece], start: int = 0) -> list[tuple[int, ...]]:
        return [tuple(map(ord, piece.text)) for piece in pieces[start:]]


def test_a_count_is_that_of_the_prompt_with_thinking_and_earlier_thoughts() -> None:
    lengths: set[int] = set()
    for source in (QWEN, SMOL):
        builder = PromptBuilder(ChatTemplate(source, {}, ()), Letters(), 4_000)
        for thinking, keep in itertools.product(("auto", "off"), ("auto", "always", "never")):
            sampling = SamplingParams(thinking=thinking, keep_thoughts=keep)
            prompt = builder.build(THOUGHTFUL, sampling=sampling)
            assert builder.count(THOUGHTFUL, sampling).tokens == len(prompt.ids)
            lengths.add(len(prompt.ids))
    assert len(lengths) >= 6, "each of these choices changes the prompt"
