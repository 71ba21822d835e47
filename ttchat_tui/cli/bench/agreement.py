"""How far another engine agrees with a reply: it follows the reply token by token (teacher forcing), and each time names
the token that it finds most probable.

Two engines rarely write the same long text: a difference in rounding picks another word somewhere, and the texts part. The
share of tokens that agree, each after the same tokens, tells a working engine from a broken one.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Final

import msgspec

from ttchat_tui.domain.chat import ChatMessage
from ttchat_tui.domain.events import GenerationFinished, GenerationStarted, TokenEvent
from ttchat_tui.domain.generation import GenerationControl, GenerationRequest
from ttchat_tui.domain.sampling import SamplingParams
from ttchat_tui.engine.base import Engine, EngineError

_GREEDY: Final = SamplingParams(temperature=0.0, top_k=0, top_p=1.0, max_tokens=1)
_ids = itertools.count(1)


class Reply(msgspec.Struct, frozen=True, kw_only=True):
    """A greedy reply to follow."""

    messages: tuple[ChatMessage, ...]
    """Its prompt."""
    prompt_tokens: int
    ids: tuple[int, ...]
    texts: tuple[str, ...]
    """The text that is complete after each id."""


class Agreement(msgspec.Struct, frozen=True, kw_only=True):
    """Results of `follow`."""

    label: str
    """The engine that followed."""
    compared: int
    """Tokens with the same ids before them in both engines. Left out: those after half a character."""
    agreed: int
    """Those that the other engine finds most probable, too."""
    first_difference: int | None
    """Number of the first token where it would have written another; the first token is 1."""


def follow(engine: Engine, label: str, reply: Reply) -> Agreement:
    """Let a loaded engine follow `reply`.

    Raises:
        EngineError: of the engine; or its tokenizer or chat template differs, so that nothing can be compared.
    """
    same: list[tuple[int, bool]] = []
    text = ""
    for number, (token_id, more) in enumerate(zip(reply.ids, reply.texts, strict=True), start=1):
        prompt_tokens, chosen = _next_id(engine, reply.messages, reply.ids[: number - 1], text)
        if prompt_tokens == reply.prompt_tokens + number - 1:
            same.append((number, chosen == token_id))
        text += more
    if not same:
        raise EngineError(
            f"{label} reads the prompt as other tokens: nothing can be compared.",
            "Give both engines the same files of the model.",
        )
    return Agreement(
        label=label,
        compared=len(same),
        agreed=sum(is_same for _, is_same in same),
        first_difference=next((number for number, is_same in same if not is_same), None),
    )


def _next_id(
    engine: Engine, messages: tuple[ChatMessage, ...], written: Sequence[int], text: str
) -> tuple[int, int | None]:
    """Tokens of the prompt with the part of the reply that is written, and the most probable next one; None: the end.

    Raises EngineError.
    """
    continued = (*messages, ChatMessage("assistant", text)) if written else messages
    request = GenerationRequest(
        id=next(_ids),
        messages=continued,
        sampling=_GREEDY,
        seed=1,
        continue_last=bool(written),
        written_ids=tuple(written),
    )
    prompt_tokens, chosen = 0, None
    for event in engine.generate(request, GenerationControl(_GREEDY)):
        if isinstance(event, GenerationStarted):
            prompt_tokens = event.prompt_tokens
        elif isinstance(event, TokenEvent) and event.token_ids:
            chosen = event.token_ids[0]
        elif isinstance(event, GenerationFinished) and event.error is not None:
            raise EngineError(event.error.message, event.error.cure, event.error.kind)
    return prompt_tokens, chosen
