"""The context ledger: what the next prompt holds, message by message, and what it does not."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, TypeAlias

import msgspec

from ttchat_tui.domain.chat import Role

RowKind: TypeAlias = Literal["system", "summary", "message", "draft"]

Fate: TypeAlias = Literal["sent", "falls out", "left out", "summarised"]
"""falls out: it does not fit. left out: by the user, or a reply to a message that is. summarised: a summary is sent in its
place."""


class LedgerRow(msgspec.Struct, frozen=True, kw_only=True):
    kind: RowKind
    message_id: int = 0
    """Of a message; of a summary, the last message that it stands for. 0 for the others."""
    role: Role = "user"
    text: str
    """Its beginning."""
    tokens: int | None = None
    """None: not counted."""
    fate: Fate = "sent"
    is_kept: bool = False


class Ledger(msgspec.Struct, frozen=True, kw_only=True):
    rows: Sequence[LedgerRow]
    """In the order of the prompt; each may be made when it is looked at."""
    most_tokens: int = 0
    """Of the largest row."""
    fallen: int = 0
    """Rows that fall out."""
    fallen_tokens: int = 0
    """Of those."""
    prompt_tokens: int | None = None
    """All that is sent, the chat template included; None until the engine has counted."""
    template_tokens: int | None = None
    """Those of them that the chat template adds to the texts."""
    context_length: int = 0
    """0: unknown."""
    max_tokens: int = 0
    """The longest reply that the settings allow."""
    is_current: bool = True
    """False: something has changed since the tokens were counted, such as a message that was sent."""
    is_estimate: bool = False
    """`prompt_tokens` is an estimate."""
    is_split_estimated: bool = False
    """The tokens of each row are estimates."""

    @property
    def left_for_reply(self) -> int | None:
        """Tokens that the reply can have; None if that is not known."""
        if self.prompt_tokens is None:
            return None
        if not self.context_length:
            return self.max_tokens
        return max(0, min(self.max_tokens, self.context_length - self.prompt_tokens))
