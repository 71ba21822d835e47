"""The fixed real text of tests/data/real_text, as a model's ids."""

from __future__ import annotations

import re
from pathlib import Path

from ttchat_tui.engine.text.template import PromptPiece
from ttchat_tui.engine.text.tokenizer import ChatTokenizer

FOLDER = Path(__file__).parent / "data" / "real_text"
KINDS = ("prose", "code", "list", "chat")
_CONTROL = re.compile(r"(<\|im_(?:start|end)\|>)")


def real_text_ids(tokenizer: ChatTokenizer, kind: str) -> list[int]:
    """One of `KINDS`; ChatML's tokens become control tokens where the model has them."""
    parts = _CONTROL.split((FOLDER / f"{kind}.txt").read_text(encoding="utf-8"))
    pieces = [PromptPiece(part, part in tokenizer.controls) for part in parts if part]
    return [token_id for piece in tokenizer.encode_pieces(pieces) for token_id in piece]


def all_real_text_ids(tokenizer: ChatTokenizer) -> list[int]:
    """The four kinds one after the other: 2,324 ids with SmolLM2's vocabulary."""
    return [token_id for kind in KINDS for token_id in real_text_ids(tokenizer, kind)]
