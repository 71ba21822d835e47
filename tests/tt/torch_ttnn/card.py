"""The whole engine in its process on a card that computes, and the reference beside it."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import msgspec

from tests.tt.conftest import shadow_card
from tests.tt.torch_ttnn.agreement import CardAgreement, agreement
from tests.tt.torch_ttnn.reference import ReferenceModel, ReplyOnCard, reply_of
from ttchat_tui.domain.chat import ChatMessage, Role
from ttchat_tui.domain.events import GenerationEvent, TokenEvent
from ttchat_tui.domain.generation import Candidate, GenerationControl, GenerationRequest
from ttchat_tui.domain.model_spec import EngineInfo, ModelSpec, TenstorrentOptions
from ttchat_tui.domain.sampling import SamplingParams
from ttchat_tui.engine.runtime.child import Timeouts
from ttchat_tui.engine.runtime.isolated import IsolatedEngine
from ttchat_tui.engine.runtime.timeouts import with_minimum
from ttchat_tui.engine.tenstorrent.declaration import TENSTORRENT

_IDS: Final = itertools.count(1)
_ROLES: Final[tuple[Role, Role]] = ("user", "assistant")


def request_for(
    *turns: str,
    tokens: int = 24,
    temperature: float = 0.0,
    seed: int = 1,
    candidates: Sequence[Candidate] = (),
    continue_last: bool = False,
    written_ids: Sequence[int] = (),
) -> GenerationRequest:
    """`turns`: the user's and the assistant's messages, in turn."""
    return GenerationRequest(
        id=next(_IDS),
        messages=tuple(ChatMessage(_ROLES[index % 2], text) for index, text in enumerate(turns)),
        sampling=SamplingParams(temperature=temperature, top_k=0, top_p=1.0, min_p=0.0, max_tokens=tokens),
        seed=seed,
        candidates=tuple(candidates),
        continue_last=continue_last,
        written_ids=tuple(written_ids),
    )


class Card:
    """An engine with a model on the card. Its replies are held to the reference's."""

    def __init__(
        self,
        checkout: Path,
        scratch: Path,
        card: str = "wormhole_n150",
        variables: Mapping[str, str] | None = None,
    ) -> None:
        self.log = scratch / "engine.log"
        self._scratch = scratch
        self.engine = IsolatedEngine(
            self.log,
            timeouts=with_minimum(Timeouts(), TENSTORRENT.min_timeouts),
            environment={**shadow_card(card), "TT_METAL_HOME": str(checkout), **(variables or {})},
        )

    def load(self, folder: Path, context_length: int, **options: object) -> EngineInfo:
        settings = TenstorrentOptions(cache_dir=str(self._scratch / "cache"))
        self.spec = ModelSpec(
            engine="tt",
            name=folder.name,
            path=str(folder),
            context_length=context_length,
            options=msgspec.structs.replace(settings, **{"trace": False, **options}),
        )
        self.reference = ReferenceModel(folder, context_length)
        return self.engine.load(self.spec, lambda progress: None)

    def run(
        self, request: GenerationRequest, cancel_after: int = 0, stop: Sequence[int] = ()
    ) -> list[GenerationEvent]:
        """Events of the reply; with `cancel_after`, it is cancelled once so many tokens are there. The rows `stop` are stopped
        at the first token."""
        control = GenerationControl(request.sampling)
        events: list[GenerationEvent] = []
        for event in self.engine.generate(request, control):
            events.append(event)
            if stop and isinstance(event, TokenEvent):
                control.stop_rows(*stop)
            if cancel_after and sum(isinstance(each, TokenEvent) for each in events) >= cancel_after:
                control.cancel()
        return events

    def reply(self, request: GenerationRequest, cancel_after: int = 0) -> tuple[ReplyOnCard, CardAgreement]:
        reply = reply_of(self.run(request, cancel_after))
        return reply, self.held(request, reply)

    def held(self, request: GenerationRequest, reply: ReplyOnCard, row: int = 0) -> CardAgreement:
        """`reply` is that of a row of the request."""
        own = request.candidates[row - 1].sampling if row else None
        ids, logits = self.reference.follow(request, reply)
        is_greedy = (own or request.sampling).temperature == 0
        return agreement(ids, logits, reply.logprobs, is_greedy=is_greedy)
