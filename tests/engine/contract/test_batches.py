"""What every engine has to do with a request for several candidates, in whichever process it runs."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from tests.engine.engine_subject import (
    QUESTION,
    PausedReply,
    Subject,
    finished,
    piece_in,
    recording_of,
    require_bias,
    started,
)
from ttchat_tui.domain.anatomy import parts_of
from ttchat_tui.domain.chat import ChatMessage
from ttchat_tui.domain.events import (
    GenerationEvent,
    GenerationFinished,
    GenerationStarted,
    RowFinished,
    TokenEvent,
)
from ttchat_tui.domain.generation import (
    END_OF_THOUGHT,
    Candidate,
    Forced,
    GenerationControl,
    GenerationRequest,
    Given,
)
from ttchat_tui.domain.logit_bias import BAN, text_of
from ttchat_tui.domain.sampling import SamplingParams
from ttchat_tui.engine.base import BatchTooLarge

SHORT = SamplingParams(temperature=0.0, max_tokens=5)


def tokens(events: list[GenerationEvent], row: int) -> list[TokenEvent]:
    return [event for event in events if isinstance(event, TokenEvent) and event.row == row]


def ids(events: list[GenerationEvent], row: int) -> list[int]:
    return [token_id for event in tokens(events, row) for token_id in event.token_ids]


def ends(events: list[GenerationEvent]) -> dict[int, RowFinished]:
    return {event.row: event for event in events if isinstance(event, RowFinished)}


def batch(subject: Subject, *candidates: Candidate, **sampling: Any) -> GenerationRequest:
    """Skips the test where the engine generates one reply at a time."""
    info = subject.loaded()
    if max(info.capabilities.batch_sizes) < 1 + len(candidates):
        pytest.skip(f"{info.label} takes batches of {info.capabilities.batch_sizes}")
    return subject.request(candidates=candidates, **sampling)


def test_every_row_streams_ends_once_and_the_batch_ends_last(subject: Subject) -> None:
    request = batch(subject, Candidate(seed=2), Candidate(seed=3, sampling=SHORT), max_tokens=9)
    events = subject.reply(request)
    assert [type(event) for event in events].count(GenerationStarted) == 1
    assert len([event for event in events if isinstance(event, RowFinished)]) == 3
    assert isinstance(events[-1], GenerationFinished)
    assert [len(ids(events, row)) for row in range(3)] == [9, 9, 5]
    assert {row: end.reason for row, end in ends(events).items()} == dict.fromkeys(range(3), "length")
    for row, end in ends(events).items():
        assert end.stats.completion_tokens == len(ids(events, row))
        assert events.index(end) > events.index(tokens(events, row)[-1])
    assert events.index(ends(events)[2]) < events.index(tokens(events, 0)[-1]), (
        "reported as soon as it is over"
    )
    last = finished(events)
    assert (last.reason, last.text, last.stats.completion_tokens) == ("length", "", 23)


def test_each_row_is_recorded_with_its_own_pieces(subject: Subject) -> None:
    request = batch(subject, Candidate(seed=2), max_tokens=4, temperature=1.0)
    events = subject.reply(msgspec.structs.replace(request, record="full"))
    for row in range(2):
        recording = recording_of(events, row)
        assert [token.token_id for token in recording.tokens] == ids(events, row)
        assert all(recording.piece_of(token.token_id) for token in recording.tokens)
        stats = ends(events)[row].stats
        parts = {part.name: part.seconds for part in parts_of(stats)}
        assert sum(parts.values()) == pytest.approx(stats.total_s, abs=1e-4)
        assert parts.get("other", 0.0) < 1e-4
        seen = [token.logprob is not None for token in recording.tokens[1:]]
        assert set(seen) == {subject.loaded().capabilities.logprobs}


def test_a_batch_is_made_again_from_the_prompt_as_ids(subject: Subject) -> None:
    request = batch(subject, Candidate(seed=2), max_tokens=4, temperature=1.0)
    events = subject.reply(msgspec.structs.replace(request, record="full"))
    given = Given(prompt_ids=started(events).prompt_ids)
    again = subject.reply(msgspec.structs.replace(request, id=900, messages=(), given=given))
    assert [ids(again, row) for row in range(2)] == [ids(events, row) for row in range(2)]


def test_greedy_rows_start_like_a_single_reply(subject: Subject) -> None:
    """Only as long as the choice is clear: in reduced precision the kernels for one row and for several round apart."""
    request = batch(subject, Candidate(seed=1), max_tokens=2)
    subject.reply(subject.request(max_tokens=1))  # The prompt is in the KV cache from here on, for both.
    rows = subject.reply(request)
    alone = subject.reply(subject.request(max_tokens=2))
    assert ids(rows, 0) == ids(rows, 1) == ids(alone, 0)


def test_another_seed_gives_another_reply(subject: Subject) -> None:
    # The scripted engine and the echo say at their end which seed they have.
    tokens_at_most = 30 if subject.spec.engine == "tt" or subject.spec.name.startswith("smollm2") else 140
    request = batch(
        subject, Candidate(seed=98), temperature=1.5, top_k=0, top_p=1.0, max_tokens=tokens_at_most
    )
    events = subject.reply(request)
    assert ids(events, 0) != ids(events, 1)


def test_cancel_ends_all_rows_and_keeps_the_tokens_so_far(subject: Subject) -> None:
    request = batch(subject, Candidate(seed=2), Candidate(seed=3), max_tokens=100)
    subject.only(3)
    control = GenerationControl(request.sampling)
    events: list[GenerationEvent] = []
    for event in subject.engine.generate(request, control):
        events.append(event)
        if isinstance(event, TokenEvent) and len(ids(events, 2)) == 3:
            control.cancel()
    assert finished(events).reason == "cancelled"
    assert {end.reason for end in ends(events).values()} == {"cancelled"}
    assert len(ends(events)) == 3
    for row in range(3):
        assert 3 <= len(ids(events, row)) <= 3 + subject.late


def test_a_row_that_is_stopped_ends_alone(subject: Subject) -> None:
    request = batch(subject, Candidate(seed=2), Candidate(seed=3), max_tokens=9)
    whole = subject.reply(request)
    # More tokens than an engine in another process is ahead of its control.
    longer = msgspec.structs.replace(request.sampling, max_tokens=9 + subject.late)
    control = GenerationControl(longer)
    control.stop_rows(0)
    subject.only(1)
    events: list[GenerationEvent] = []
    request = msgspec.structs.replace(request, id=request.id + 400, sampling=longer)
    for event in subject.engine.generate(request, control):
        events.append(event)
        subject.release(isinstance(event, TokenEvent) and event.row == 2)
        if isinstance(event, TokenEvent) and len(ids(events, 1)) == 3:
            control.stop_rows(1)
    assert {row: end.reason for row, end in ends(events).items()} == {
        0: "cancelled",
        1: "cancelled",
        2: "length",
    }
    assert len(ids(events, 0)) <= 1 + subject.late
    assert 3 <= len(ids(events, 1)) <= 3 + subject.late
    assert len(ids(events, 2)) == 9 + subject.late
    for row in range(3):
        known = ids(whole, row)
        assert ids(events, row)[:9] == known[: len(ids(events, row))]


def test_a_batch_leaves_the_engine_like_a_single_reply(subject: Subject) -> None:
    request = batch(subject, Candidate(seed=2), max_tokens=6)
    subject.reply(request)
    reply = subject.reply(subject.request(max_tokens=6))
    assert finished(reply).reason == "length"
    assert not ends(reply), "a request without candidates has no rows"


def test_more_rows_than_the_engine_takes_are_refused_with_both_numbers(subject: Subject) -> None:
    largest = max(subject.loaded().capabilities.batch_sizes)
    request = subject.request(candidates=tuple(Candidate(seed=n) for n in range(largest)))
    (only,) = subject.reply(request)
    assert isinstance(only, GenerationFinished)
    assert only.error is not None
    assert only.error.kind == BatchTooLarge.kind
    assert str(largest + 1) in only.error.message
    assert only.error.cure


def test_a_prompt_that_cannot_fit_is_refused_once(subject: Subject) -> None:
    batch(subject, Candidate(seed=2))
    message = ChatMessage("user", "word " * 2_000)
    (only,) = subject.reply(subject.request(message, QUESTION, message, candidates=(Candidate(seed=2),)))
    assert isinstance(only, GenerationFinished)
    assert only.error is not None
    assert only.error.kind == "prompt_too_long"
    assert f"{subject.context:,}" in only.error.message


def test_each_row_has_its_own_bias_and_the_first_one_the_users_tokens(subject: Subject) -> None:
    warm = SamplingParams(temperature=1.0, max_tokens=6)
    plain = subject.reply(
        msgspec.structs.replace(batch(subject, Candidate(seed=1, sampling=warm)), record="full")
    )
    require_bias(subject)
    second = ids(plain, 1)[1]
    biased = msgspec.structs.replace(warm, logit_bias={text_of(piece_in(plain, second)): BAN})
    paused = PausedReply(subject, batch(subject, Candidate(seed=1, sampling=biased), max_tokens=6))
    paused.control.force(Forced(second), Forced(END_OF_THOUGHT))
    paused.control.resume()
    events = paused.end()
    assert second not in ids(events, 1)
    assert ids(events, 1)[0] == ids(plain, 1)[0] or ids(plain, 1)[0] == second
    assert ids(events, 0)[0] == second
    assert [any(event.forced) for event in tokens(events, 0)] == [True, *[False] * 5]


def test_all_rows_pause_step_and_resume_together(subject: Subject) -> None:
    request = batch(subject, Candidate(seed=2), Candidate(seed=3), max_tokens=9, temperature=1.0)
    paused = PausedReply(subject, request)
    for _ in range(2):
        paused.step(rows=3)
        assert len({len(ids(paused.events, row)) for row in range(3)}) == 1
    paused.control.resume()
    events = paused.end()
    whole = subject.reply(msgspec.structs.replace(request, id=request.id + 500))
    assert [ids(events, row) for row in range(3)] == [ids(whole, row) for row in range(3)]
    longest_s = max(end.stats.paused_s for end in ends(events).values())
    assert finished(events).stats.paused_s == longest_s > 0
