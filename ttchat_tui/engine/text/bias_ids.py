"""The texts of a logit bias as the token ids of one model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from ttchat_tui.domain.given_settings import setting
from ttchat_tui.domain.logit_bias import shown_text, text_of
from ttchat_tui.engine.base import EngineError
from ttchat_tui.engine.text.template import PromptPiece
from ttchat_tui.engine.text.token_ledger import PieceEncoder


class NoSingleToken(EngineError):
    """A text of the logit bias is not one token of this model."""

    kind = "logit_bias"


class NamedTokens(PieceEncoder, Protocol):
    """What it needs of a tokenizer (`tokenizer.ChatTokenizer`)."""

    def piece_of(self, token_id: int) -> bytes:
        """The bytes of a token."""
        ...

    def ids_of(self, text: str) -> Sequence[int]:
        """The tokens whose text is exactly this; usually one, none if a text takes several."""
        ...


class BiasIds:
    """Finds the tokens of a bias."""

    def __init__(self, tokens: NamedTokens) -> None:
        self._tokens = tokens

    def find(self, bias: Mapping[str, float]) -> tuple[dict[int, float], tuple[str, ...]]:
        """The amount of each token, and a sentence for each text that is not one token, which has no effect."""
        amounts, problems = dict[int, float](), list[str]()
        for text, amount in bias.items():
            ids = self._tokens.ids_of(text)
            amounts |= dict.fromkeys(ids, amount)
            if not ids:
                problems.append(self._problem(text))
        return amounts, tuple(problems)

    def require(self, bias: Mapping[str, float]) -> dict[int, float]:
        """The amount of each token. Raises NoSingleToken, which names every text that is not one token."""
        amounts, problems = self.find(bias)
        if problems:
            raise NoSingleToken(
                " ".join(problems),
                "A bias is for one token: give its exact text, space included, or take it out "
                f"(/unban, {setting('sampling.logit_bias')}).",
            )
        return amounts

    def _problem(self, text: str) -> str:
        (ids,) = self._tokens.encode_pieces([PromptPiece("", False), PromptPiece(text, False)], 1)
        parts = [shown_text(text_of(self._tokens.piece_of(each))) for each in ids]
        if len(parts) < 2:  # bytes, or a text that the tokenizer changes
            return f"The model has no token {shown_text(text)}."
        return f"{shown_text(text)} is {len(parts)} tokens of this model: {' '.join(parts)}."
