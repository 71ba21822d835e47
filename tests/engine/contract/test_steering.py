"""How every engine is steered while it replies: cancelled, changed, paused, biased, and given tokens by the user."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from tests.engine.engine_subject import (
    GREEDY,
    QUESTION,
    PausedReply,
    Subject,
    finished,
    ids,
    piece_in,
    require_bias,
    text,
    tokens,
)
from ttchat_tui.domain.chat import ChatMessage
from ttchat_tui.domain.events import (
    GenerationEvent,
    RequestAdapted,
    StepScores,
    TokenEvent,
)
from ttchat_tui.domain.generation import END_OF_THOUGHT, Forced, GenerationControl
from ttchat_tui.domain.logit_bias import BAN, text_of
from ttchat_tui.domain.sampling import SamplingParams
from ttchat_tui.domain.thoughts import split_thoughts
from ttchat_tui.engine.decoding.step_preview import StepPreview

# -- steering


def test_cancel_stops_within_a_step_and_keeps_the_tokens_so_far(subject: Subject) -> None:
    subject.loaded()
    subject.only(3)
    request = subject.request(max_tokens=150)
    control = GenerationControl(request.sampling)
    events: list[GenerationEvent] = []
    for event in subject.engine.generate(request, control):
        events.append(event)
        if len(ids(events)) == 3:
            control.cancel()
    assert finished(events).reason == "cancelled"
    assert 3 <= len(ids(events)) <= 3 + subject.late
    assert finished(events).stats.completion_tokens == len(ids(events))
    assert text(events)


def test_a_reply_cancelled_before_it_began_has_no_tokens(subject: Subject) -> None:
    subject.loaded()
    subject.only(0)
    request = subject.request()
    control = GenerationControl(request.sampling)
    control.cancel()
    events = list(subject.engine.generate(request, control))
    assert finished(events).reason == "cancelled"
    assert len(ids(events)) <= subject.late


def test_sampling_changed_during_a_reply_applies_from_the_next_token(subject: Subject) -> None:
    subject.loaded()
    subject.only(3)
    request = subject.request(max_tokens=150)
    control = GenerationControl(request.sampling)
    events: list[GenerationEvent] = []
    for event in subject.engine.generate(request, control):
        events.append(event)
        if len(ids(events)) == 3:
            control.set_sampling(SamplingParams(temperature=0.0, max_tokens=5))
        if len(ids(events)) >= 3:
            subject.release(1)
    assert finished(events).reason == "length"
    assert 5 <= len(ids(events)) <= 5 + subject.late


def test_a_paused_reply_makes_single_steps_and_resumes_as_if_it_had_never_paused(subject: Subject) -> None:
    paused = PausedReply(subject, subject.request(max_tokens=24, temperature=1.0))
    for _ in range(3):
        paused.step()
    paused.control.resume()
    events = paused.end()
    assert len(paused.stopped_before) in (3, 4), "the fourth one if the engine waited for it"
    assert ids(events) == ids(subject.reply(subject.request(max_tokens=24, temperature=1.0)))
    assert finished(events).stats.paused_s == pytest.approx(
        sum(pause.seconds for event in tokens(events) for pause in event.pauses)
    )


def test_sampling_changed_during_a_pause_applies_to_the_next_token(subject: Subject) -> None:
    paused = PausedReply(subject, subject.request(max_tokens=24))
    paused.step()
    had = len(ids(paused.events))
    paused.control.set_sampling(SamplingParams(temperature=0.0, max_tokens=had + 1))
    paused.step()
    assert finished(paused.end()).reason == "length"
    assert len(ids(paused.events)) == had + 1


def test_a_preview_that_opens_during_a_pause_gets_the_scores_that_the_next_token_is_drawn_from(
    subject: Subject,
) -> None:
    paused = PausedReply(subject, subject.request(max_tokens=6))
    paused.step()
    paused.control.set_previewed(True)
    paused.step()
    paused.control.resume()
    events = paused.end()
    shown = [event for event in events if isinstance(event, StepScores)]
    if subject.info is None or not subject.info.capabilities.logprobs:
        assert not shown, "the host never sees them"
        return
    written = ids(events)

    assert shown[-1].at >= 5, "the last one is always sent"
    for each in shown:
        view = StepPreview.of(each).under(SamplingParams(temperature=0.0), 13)
        assert view.tokens[0].token_id == each.token_id, "greedy"
        assert view.total == subject.info.vocab_size
        assert (
            each.token_id == written[each.at]
            if each.at < len(written)
            else each.token_id in subject.info.end_ids
        )
    known = {token_id for each in shown for token_id in each.pieces}
    assert {each.token_id for each in shown} <= known


def test_a_paused_reply_is_cancelled_and_keeps_its_tokens(subject: Subject) -> None:
    paused = PausedReply(subject, subject.request(max_tokens=150))
    paused.step()
    had = len(ids(paused.events))
    paused.control.cancel()
    events = paused.end()
    assert finished(events).reason == "cancelled"
    assert len(ids(events)) == finished(events).stats.completion_tokens == had


# -- a bias, and tokens that the user chooses


def test_a_banned_token_is_not_drawn_also_where_the_ban_comes_during_the_reply(subject: Subject) -> None:
    require_bias(subject)
    asked = msgspec.structs.replace(subject.request(max_tokens=6, temperature=1.0), record="full")
    events = subject.reply(asked)
    second = ids(events)[1]
    word = text_of(piece_in(events, second))
    banned = subject.reply(subject.request(max_tokens=6, temperature=1.0, logit_bias={word: BAN}))
    assert ids(banned)[0] == ids(events)[0] or ids(events)[0] == second
    assert second not in ids(banned)
    paused = PausedReply(subject, subject.request(max_tokens=6, temperature=1.0))
    paused.step()
    paused.control.set_sampling(
        msgspec.structs.replace(asked.sampling, logit_bias={word: BAN, "no such token, really": 1.0})
    )
    paused.control.resume()
    ended = paused.end()
    assert second not in ids(ended)[1:]
    if subject.gate is None and subject.spec.engine in ("cpu", "tt"):  # a script has no vocabulary to look in
        (note,) = (note for event in ended if isinstance(event, RequestAdapted) for note in event.notes)
        assert note.startswith('"no␣such␣token,␣really" is ')
        assert note.endswith(" It is not biased.")


def test_a_text_of_several_tokens_cannot_be_biased_and_is_named(subject: Subject) -> None:
    require_bias(subject)
    last = finished(subject.reply(subject.request(logit_bias={" hopelessly several words": 1.0})))
    assert last.error is not None
    assert last.error.kind == "logit_bias"
    sampling = msgspec.structs.replace(GREEDY, logit_bias={" hopelessly several words": 1.0})
    if subject.spec.engine != "remote":  # servers are not asked for it while a prompt is counted
        assert subject.engine.count(1, [QUESTION], sampling).bias_problem is not None
    assert "hopelessly" in last.error.message
    assert " tokens" in last.error.message


def test_the_reply_goes_on_from_tokens_that_the_user_chooses(subject: Subject) -> None:
    wanted: dict[str, Any] = {"max_tokens": 8, "repetition_penalty": 1.2}
    info = subject.loaded()
    first, second, other = ids(subject.reply(subject.request(**wanted)))[:3]
    paused = PausedReply(subject, subject.request(**wanted))
    paused.step()
    paused.control.force(Forced(other, instead_of=0))
    replaced = paused.wait_for(lambda event: isinstance(event, TokenEvent) and event.replaces is not None)
    assert isinstance(replaced, TokenEvent)
    assert (replaced.token_ids, replaced.forced, other != first) == ((other,), (True,), True)
    paused.control.force(Forced(first, instead_of=7), Forced(second))
    paused.control.resume()
    events = paused.end()
    assert ids(events)[:3] == [first, other, second], "the second one is in the place of the first"
    assert finished(events).stats.completion_tokens == len(ids(events)) - 1
    if subject.gate is not None or info.engine not in ("cpu", "tt"):
        return  # what these say does not depend on what they have said
    begun = "".join(event.text for event in tokens(events)[1:3])
    asked = subject.request(
        QUESTION, ChatMessage("assistant", begun), continue_last=True, **{**wanted, "max_tokens": 6}
    )
    rest = subject.reply(msgspec.structs.replace(asked, written_ids=(other, second)))
    assert ids(rest) == ids(events)[3:]


def test_an_open_thought_ends_as_the_template_ends_it_and_nothing_else_does(subject: Subject) -> None:
    for begun, is_open in (("<think>\nHm, what", True), ("Well, what", False)):
        request = subject.request(
            QUESTION, ChatMessage("assistant", begun), continue_last=True, max_tokens=12
        )
        paused = PausedReply(subject, request)
        paused.control.force(Forced(END_OF_THOUGHT))
        paused.control.resume()
        events = paused.end()
        assert ("</think>" in text(events)) == is_open == any(any(each.forced) for each in tokens(events))
        parts = split_thoughts(begun + text(events))
        assert not any(part.is_open for part in parts)
        assert parts[0].is_thought == is_open
