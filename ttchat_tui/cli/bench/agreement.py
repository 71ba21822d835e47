"""`bench --compare`: another engine follows the greedy reply that was measured."""

from __future__ import annotations

import msgspec

from ttchat_tui.cli.recorded_run import record, require_following
from ttchat_tui.domain.agreement import Agreement, agreement_of
from ttchat_tui.domain.chat import ChatMessage
from ttchat_tui.domain.generation import GenerationRequest, Given
from ttchat_tui.domain.model_spec import EngineInfo
from ttchat_tui.domain.recording import RecordedToken
from ttchat_tui.domain.sampling import SamplingParams
from ttchat_tui.engine.base import Engine, EngineError

_GREEDY = SamplingParams(temperature=0.0, top_k=0, top_p=1.0)


class Reply(msgspec.Struct, frozen=True, kw_only=True):
    """A greedy reply to follow."""

    messages: tuple[ChatMessage, ...]
    """Its prompt."""
    prompt_tokens: int
    ids: tuple[int, ...]


def follow(engine: Engine, info: EngineInfo, reply: Reply) -> Agreement:
    """Let a loaded engine follow `reply`.

    Raises:
        EngineError: of the engine; or its tokenizer or chat template differs, so that nothing can be compared.
    """
    require_following(info)
    request = GenerationRequest(
        id=1,
        messages=reply.messages,
        sampling=_GREEDY,
        seed=1,
        record="chosen",
        given=Given(ids=reply.ids),
    )
    followed = record(engine, request)
    if followed.prompt_tokens != reply.prompt_tokens:
        raise EngineError(
            f"{info.label} reads the prompt as other tokens: nothing can be compared.",
            "Give both engines the same files of the model.",
        )
    written = [RecordedToken(each, 0.0, rank=0) for each in reply.ids]  # greedy: the most probable
    return agreement_of(info.label, written, followed.recording.tokens)
