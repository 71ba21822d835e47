"""A text under a model: its tokens are followed by the decode loop, window by window."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from ttchat_tui.domain.events import GenerationEvent, GenerationFinished, GenerationStarted, TokenEvent
from ttchat_tui.domain.generation import GenerationStats
from ttchat_tui.engine.decoding.job import ReplyJob
from ttchat_tui.engine.decoding.loop import AnyStepper, run_generation
from ttchat_tui.engine.decoding.scoring_windows import windows


def run_scoring(job: ReplyJob, stepper: AnyStepper) -> Iterator[GenerationEvent]:
    """Follow a text, which is `job.followed`: `GenerationStarted` with the number of its tokens as that of the prompt, a
    `TokenEvent` for each of them, and `GenerationFinished`. `job.prompt_ids` is the beginning of every window."""
    beginning, ids, request_id = job.prompt_ids, job.followed, job.request.id
    yield GenerationStarted(
        request_id=request_id,
        prompt_tokens=len(ids),
        cached_tokens=0,
        context_length=job.context_length,
        time_s=job.now_s(),
    )
    if not beginning:
        yield _without_probability(job, ids[0])
    room = job.context_length - len(beginning)
    for window in windows(len(ids), room, has_beginning=bool(beginning)):
        prompt = (*beginning, *ids[window.start : window.first])
        part = msgspec.structs.replace(job, prompt_ids=prompt, followed=ids[window.first : window.end])
        for event in run_generation(part, stepper):
            match event:
                case GenerationStarted():
                    pass
                case GenerationFinished(reason="length"):
                    pass
                case GenerationFinished():
                    yield event
                    return
                case _:
                    yield event
    stats = GenerationStats(
        completion_tokens=len(ids), context_length=job.context_length, total_s=job.now_s()
    )
    yield GenerationFinished(request_id=request_id, reason="length", stats=stats)


def _without_probability(job: ReplyJob, token_id: int) -> TokenEvent:
    return TokenEvent(
        request_id=job.request.id,
        token_ids=(token_id,),
        text=job.text_streams[0].push(token_id),
        times_s=(job.now_s(),),
        pieces={token_id: job.piece_of(token_id)},
    )
