"""Bans and boosts: the logit bias of the conversation on screen, or of its running reply alone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from msgspec import structs

from ttchat_tui.domain.errors import ErrorInfo

if TYPE_CHECKING:
    from ttchat_tui.session.chat import ChatSession


class Biasing:
    """Part of a `ChatSession`. A bias acts from the next token on."""

    def __init__(self, session: ChatSession) -> None:
        self._session = session

    @property
    def all(self) -> Mapping[str, float]:
        """In force for the next token: text → amount."""
        running = self._session.running
        own = running.own_bias if running is not None and self._session.is_answering else {}
        return {**self._session.sampling.logit_bias, **own}

    @property
    def why_not(self) -> ErrorInfo | None:
        """Why the loaded model cannot be biased; None: it can, or none is loaded."""
        info = self._session.info
        if info is None or "logit_bias" in info.capabilities.sampling:
            return None
        where = "the server" if info.endpoint else "the card's own sampler"
        return ErrorInfo(
            kind="usage", message=f"{info.label} takes no bias: {where} has none for a token's text."
        )

    def set(self, text: str, amount: float, *, in_reply: bool = False) -> ErrorInfo | None:
        """Give a token this bias; 0 removes it. `in_reply`: until the running reply ends. Returns why that is impossible.

        Raises:
            StorageError: it applies to this session only.
        """
        session = self._session
        if amount and (refusal := self.why_not) is not None:
            return refusal
        running = session.running if session.is_answering else None
        if in_reply:
            if running is None:
                return ErrorInfo(
                    kind="usage", message="No reply is running.", cure="Ban it in the conversation: x."
                )
            running.own_bias[text] = amount
            running.set_sampling(session.sampling, waits=False)
            return None
        if running is not None:
            running.own_bias.pop(text, None)
        bias = {name: each for name, each in session.sampling.logit_bias.items() if name != text}
        self._set({**bias, text: amount} if amount else bias)
        return None

    def clear(self) -> None:
        """Remove all. Raises StorageError: it applies to this session only."""
        running = self._session.running
        if running is not None and self._session.is_answering:
            running.own_bias.clear()
        self._set({})

    def _set(self, bias: Mapping[str, float]) -> None:
        self._session.set_sampling(structs.replace(self._session.sampling, logit_bias=bias))
