"""Bans and boosts: the logit bias of the conversation on screen, or of its running reply alone.

A text is on trial until the engine counts the next prompt: one that is not a token of the model is taken back.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from msgspec import structs

from ttchat_tui.domain.errors import ErrorInfo
from ttchat_tui.domain.sampling import SamplingParams
from ttchat_tui.domain.updates import BiasRefused, Notice, Update
from ttchat_tui.session.conversation import OpenConversation
from ttchat_tui.storage.errors import StorageError

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


class BiasTrial:
    """Texts that were given a bias in the conversation on screen, until the engine has found their tokens."""

    def __init__(self) -> None:
        self._home: OpenConversation | None = None
        self._before: Mapping[str, float] = {}
        """The bias that the engine found usable, or that was there before."""
        self._set_over_default: SamplingParams | None = None
        """What the conversation got, if it had the defaults before."""
        self._reported: ErrorInfo | None = None

    def begin(self, home: OpenConversation, now: SamplingParams, sampling: SamplingParams) -> None:
        """A conversation with the parameters `now` gets `sampling`."""
        had_default = home.sampling is None
        if home is self._home:
            had_default = home.sampling == self._set_over_default
        elif sampling.logit_bias.keys() <= now.logit_bias.keys():
            return
        else:
            self._home, self._before = home, now.logit_bias
        is_alone = structs.replace(now, logit_bias=sampling.logit_bias) == sampling
        self._set_over_default = sampling if had_default and is_alone else None

    def decide(
        self, home: OpenConversation, sampling: SamplingParams, problem: ErrorInfo | None
    ) -> list[Update]:
        """The engine has looked for the tokens of the bias in `sampling`, the newest one of this conversation. A text that was
        not on trial stays, and requests are refused."""
        is_on_trial, is_reported = home is self._home, problem == self._reported
        if is_on_trial:
            self._home = None
        self._reported = problem
        if problem is None:
            return []
        if not is_on_trial:
            return [] if is_reported else [Notice(problem)]
        self._reported = None
        updates: list[Update] = []
        try:
            has_default = sampling == self._set_over_default
            home.set_sampling(None if has_default else structs.replace(sampling, logit_bias=self._before))
        except StorageError as error:  # it applies to this session
            updates = [Notice(error.info)]
        cure = "Nothing is set. A bias is for one token: give its exact text, with the space before it."
        return [*updates, BiasRefused(structs.replace(problem, cure=cure))]
