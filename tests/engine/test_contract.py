"""What every engine has to do, in whichever process it runs. See `ttchat_tui.engine.base.Engine`."""

from __future__ import annotations

import re
from itertools import pairwise
from typing import Any, Final, get_args

import msgspec
import pytest

from tests.engine.engine_subject import (
    GREEDY,
    QUESTION,
    SYSTEM,
    PausedReply,
    Subject,
    finished,
    ids,
    piece_in,
    recording_of,
    require_bias,
    started,
    text,
    tokens,
)
from tests.engine.recorded_subject import fork_holds, recording_holds
from tests.fakes import MODEL_MISSING
from ttchat_tui.domain.anatomy import parts_of
from ttchat_tui.domain.chat import ChatMessage
from ttchat_tui.domain.constraint import Constraint
from ttchat_tui.domain.events import (
    GenerationEvent,
    GenerationFinished,
    GenerationStarted,
    LoadPhase,
    LoadProgress,
    PrefillProgress,
    StepScores,
    TokenEvent,
)
from ttchat_tui.domain.generation import END_OF_THOUGHT, Forced, GenerationControl, Given
from ttchat_tui.domain.logit_bias import BAN, text_of
from ttchat_tui.domain.model_spec import ModelSpec
from ttchat_tui.domain.recording import SamplingChange, alternatives_of
from ttchat_tui.domain.sampling import SamplingParams
from ttchat_tui.domain.thoughts import split_thoughts
from ttchat_tui.engine.base import EngineError, LoadCancelled
from ttchat_tui.engine.decoding.step_preview import StepPreview

PHASES: tuple[str, ...] = get_args(LoadPhase)


# -- loading


def test_load_phases_come_in_their_order_and_never_pass_their_end(subject: Subject) -> None:
    subject.loaded()
    order = [PHASES.index(progress.phase) for progress in subject.progress]
    assert order == sorted(order)
    begins_and_ends = {"start", "compile"} if subject.spec.engine == "tt" else {"start", "read", "warm up"}
    assert begins_and_ends <= {progress.phase for progress in subject.progress}
    assert all(progress.done <= progress.total for progress in subject.progress if progress.total)


def test_the_engine_reports_what_it_loaded(subject: Subject) -> None:
    info = subject.loaded()
    expected = (subject.spec.name, subject.spec.engine, subject.context)
    assert (info.model, info.engine, info.context_length) == expected
    assert info.vocab_size > 1_000
    assert info.load_s > 0
    if info.engine == "cpu":
        assert info.parameters > 1_000_000
        assert info.threads >= 1
    assert info.label


def test_a_load_that_fails_says_so_and_leaves_the_engine_empty_and_usable(subject: Subject) -> None:
    subject.loaded()
    missing = ModelSpec(engine=subject.spec.engine, name=MODEL_MISSING, path="/no/such/file.gguf")
    with pytest.raises(EngineError) as caught:
        subject.engine.load(missing, subject.progress.append)
    assert caught.value.info.message
    assert caught.value.info.kind not in ("internal", "engine_died")
    assert subject.refuses_to_generate()
    subject.load()
    assert ids(subject.reply())


def test_a_load_is_cancelled_from_its_reporter(subject: Subject) -> None:
    subject.loaded()
    calls = iter([False, False])

    def report(_progress: LoadProgress) -> None:
        if next(calls, True):
            raise LoadCancelled("cancelled")

    with pytest.raises(LoadCancelled):
        subject.engine.load(subject.spec, report)
    assert subject.refuses_to_generate()
    subject.load()
    assert ids(subject.reply())


def test_unloading_empties_the_engine_and_may_be_repeated(subject: Subject) -> None:
    subject.loaded()
    subject.engine.unload()
    subject.engine.unload()
    assert subject.refuses_to_generate()
    with pytest.raises(EngineError):
        subject.engine.count(1, [QUESTION])
    subject.load()
    assert ids(subject.reply())


# -- one reply


def test_a_reply_starts_once_and_ends_once_and_all_events_carry_its_id(subject: Subject) -> None:
    subject.loaded()
    request = subject.request(max_tokens=6)
    events = subject.reply(request)
    kinds = [type(event) for event in events]
    assert kinds[0] is GenerationStarted
    assert kinds[-1] is GenerationFinished
    assert (kinds.count(GenerationStarted), kinds.count(GenerationFinished)) == (1, 1)
    assert {event.request_id for event in events} == {request.id}
    assert started(events).context_length == subject.context


def test_prefill_is_reported_up_to_the_whole_prompt_before_the_first_token(subject: Subject) -> None:
    subject.loaded()
    events = subject.reply(subject.request(max_tokens=3))
    before = events[1 : events.index(tokens(events)[0])]
    assert all(isinstance(event, PrefillProgress) for event in before)
    done = [event.done for event in before if isinstance(event, PrefillProgress)]
    assert done == sorted(done)
    assert done[-1] == started(events).prompt_tokens


def test_every_token_has_its_time_and_times_only_grow(subject: Subject) -> None:
    subject.loaded()
    events = subject.reply(subject.request(max_tokens=20))
    assert all(len(event.token_ids) == len(event.times_s) >= 1 for event in tokens(events))
    assert all(len(event.logprobs) in (0, len(event.token_ids)) for event in tokens(events))
    assert {(event.distributions, *event.pieces) for event in tokens(events)} == {((),)}, "not asked for"
    assert started(events).prompt_ids == ()
    times = [time for event in tokens(events) for time in event.times_s]
    assert times == sorted(times)
    assert times[0] > 0


def test_the_parts_of_a_reply_add_up_and_agree_with_its_figures(subject: Subject) -> None:
    """Each second is in one part: this holds however busy the machine is."""
    subject.loaded()
    events = subject.reply(msgspec.structs.replace(subject.request(max_tokens=6), record="chosen"))
    stats = finished(events).stats
    parts = {part.name: part.seconds for part in parts_of(stats)}
    assert sum(parts.values()) == pytest.approx(stats.total_s, abs=1e-4)
    assert parts.get("other", 0.0) < 1e-4
    before = ("template", "tokenise", "prepare", "prefill", "compile", "first token")
    assert sum(parts.get(name, 0.0) for name in before) == pytest.approx(stats.ttft_s, abs=1e-4)
    assert min(parts["template"], parts["tokenise"]) > 0.0
    steps = [spent.total_s for event in tokens(events)[1:] for spent in event.spent if spent is not None]
    times = [time_s for event in tokens(events) for time_s in event.times_s]
    assert steps == pytest.approx([after - before for before, after in pairwise(times)], abs=1e-5)


def test_what_is_recorded_is_whole_and_says_which_logits_were_never_seen(subject: Subject) -> None:
    recording_holds(subject)


def test_a_reply_continues_after_its_ids_with_another_token(subject: Subject) -> None:
    fork_holds(subject)


def test_the_figures_at_the_end_are_those_of_the_events(subject: Subject) -> None:
    subject.loaded()
    events = subject.reply(subject.request(max_tokens=12))
    stats = finished(events).stats
    times = [time for event in tokens(events) for time in event.times_s]
    assert stats.completion_tokens == len(ids(events)) == 12
    assert stats.prompt_tokens == started(events).prompt_tokens
    assert stats.cached_tokens == started(events).cached_tokens
    assert stats.ttft_s == pytest.approx(times[0])
    if stats.decode_tps is not None:  # too short a time has no rate
        assert stats.decode_tps == pytest.approx(10 / (times[-1] - times[1]))


def test_the_same_request_twice_is_the_same_reply(subject: Subject) -> None:
    subject.loaded()
    first, second = (subject.reply(subject.request(max_tokens=24)) for _ in range(2))
    assert ids(first) == ids(second)
    assert text(first) == text(second) != ""


def test_the_same_seed_is_the_same_reply_when_tokens_are_drawn(subject: Subject) -> None:
    subject.loaded()
    first, second = (subject.reply(subject.request(max_tokens=24, temperature=1.0)) for _ in range(2))
    assert ids(first) == ids(second)


def test_max_tokens_ends_the_reply(subject: Subject) -> None:
    subject.loaded()
    events = subject.reply(subject.request(max_tokens=5))
    assert len(ids(events)) == 5
    assert finished(events).reason == "length"


def test_a_full_context_ends_the_reply(subject: Subject) -> None:
    subject.loaded()
    two, four = (
        subject.engine.count(1, [ChatMessage("user", "word " * words)]).prompt_tokens for words in (20, 40)
    )
    words = 20 + (subject.context - 40 - two) * 20 // (four - two)  # which leave 40 tokens or so
    events = subject.reply(
        subject.request(ChatMessage("user", "word " * words), max_tokens=1_000, repetition_penalty=1.0)
    )
    used = started(events).prompt_tokens + len(ids(events))
    reason = finished(events).reason
    assert used <= subject.context
    assert reason in ("context", "stop")
    assert (reason == "context") == (used == subject.context)


def test_a_stop_string_ends_the_reply_before_it(subject: Subject) -> None:
    subject.loaded()
    whole = text(subject.reply(subject.request(max_tokens=40)))
    stop = re.findall(r"\w+\W+\w+", whole)[3]
    events = subject.reply(subject.request(max_tokens=40, stop=(stop,)))
    assert finished(events).reason == "stop"
    assert text(events) == whole[: whole.index(stop)]


def test_a_reply_can_be_continued(subject: Subject) -> None:
    subject.loaded()
    whole = text(subject.reply(subject.request(max_tokens=24)))
    half = ChatMessage("assistant", whole[: len(whole) // 2])
    events = subject.reply(subject.request(QUESTION, half, continue_last=True, max_tokens=8))
    assert finished(events).reason in ("length", "stop")
    assert ids(events)
    assert started(events).prompt_tokens > subject.engine.count(1, [QUESTION]).prompt_tokens


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
    assert second not in ids(paused.end())[1:]


def test_a_text_of_several_tokens_cannot_be_biased_and_is_named(subject: Subject) -> None:
    require_bias(subject)
    last = finished(subject.reply(subject.request(logit_bias={" hopelessly several words": 1.0})))
    assert last.error is not None
    assert last.error.kind == "logit_bias"
    sampling = msgspec.structs.replace(GREEDY, logit_bias={" hopelessly several words": 1.0})
    if subject.spec.engine != "remote":  # servers are not asked for it while a prompt is counted
        assert len(subject.engine.count(1, [QUESTION], sampling).problems) == 1
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


# -- a reply again, and given tokens


def test_the_prompt_as_ids_and_the_seed_give_the_same_reply_again(subject: Subject) -> None:
    subject.loaded()
    request = subject.request(SYSTEM, QUESTION, max_tokens=8, temperature=1.0)
    events = subject.reply(msgspec.structs.replace(request, record="full"))
    prompt = started(events).prompt_ids
    assert len(prompt) == started(events).prompt_tokens
    request = subject.request(max_tokens=8, temperature=1.0)
    again = msgspec.structs.replace(request, messages=(), given=Given(prompt_ids=prompt))
    assert ids(subject.reply(again)) == ids(events)


def test_a_change_of_sampling_can_be_given_for_a_token(subject: Subject) -> None:
    subject.loaded()
    request = subject.request(max_tokens=20)
    shorter = SamplingChange(3, msgspec.structs.replace(request.sampling, max_tokens=5))
    events = subject.reply(msgspec.structs.replace(request, given=Given(changes=(shorter,))))
    assert len(ids(events)) == 5


def test_a_token_can_be_given_in_place_of_the_drawn_one(subject: Subject) -> None:
    subject.loaded()
    plain = ids(subject.reply(subject.request(max_tokens=4)))
    request = subject.request(max_tokens=4)
    events = subject.reply(msgspec.structs.replace(request, given=Given(chosen={2: plain[0]})))
    assert ids(events)[:3] == [*plain[:2], plain[0]]
    assert len(ids(events)) == 4


def test_a_reply_is_followed_with_the_probabilities_that_it_was_written_with(subject: Subject) -> None:
    if not subject.loaded().capabilities.follows:
        given = Given(ids=(1, 2))
        refused = subject.reply(msgspec.structs.replace(subject.request(), given=given))
        error = finished(refused).error
        assert error is not None
        assert (error.kind, ids(refused), bool(error.cure)) == ("cannot_follow", [], True)
        return
    request = subject.request(max_tokens=6, temperature=1.0)
    events = subject.reply(msgspec.structs.replace(request, record="full"))
    given = Given(prompt_ids=started(events).prompt_ids, ids=tuple(ids(events)))
    request = msgspec.structs.replace(subject.request(max_tokens=2), messages=(), given=given)
    followed = subject.reply(msgspec.structs.replace(request, record="full"))
    assert (ids(followed), finished(followed).reason) == (ids(events), "length")
    for own, other in zip(recording_of(events).tokens, recording_of(followed).tokens, strict=True):
        assert (other.rank, other.logprob) == (own.rank, pytest.approx(own.logprob, abs=1e-5))
        assert other.entropy == pytest.approx(own.entropy, abs=1e-5)
        listed, drawn = (alternatives_of(each) for each in (other, own))
        assert [each.token_id for each in listed] == [each.token_id for each in drawn]


def test_a_text_is_followed_without_a_chat_template(subject: Subject) -> None:
    if not subject.loaded().capabilities.follows:
        pytest.skip("it follows nothing")
    given = Given(text="Once upon a time there was a clock.")
    request = msgspec.structs.replace(subject.request(), record="full", messages=(), given=given)
    events = subject.reply(request)
    recording = recording_of(events)
    pieces = b"".join(recording.piece_of(token.token_id) for token in recording.tokens)
    assert pieces.decode().strip() == given.text
    assert started(events).prompt_tokens == len(recording.tokens)
    assert finished(events).reason == "length"
    assert all(token.logprob is not None and token.alternatives for token in recording.tokens[1:])


# -- the prompt


def test_a_count_equals_the_length_of_the_prompt(subject: Subject) -> None:
    subject.loaded()
    messages = (SYSTEM, QUESTION)
    counted = subject.engine.count(41, messages)
    assert (counted.count_id, counted.context_length, counted.dropped_messages) == (41, subject.context, 0)
    assert (
        counted.prompt_tokens
        == started(subject.reply(subject.request(*messages, max_tokens=1))).prompt_tokens
    )


def test_messages_that_do_not_fit_are_dropped_from_the_oldest_and_reported(subject: Subject) -> None:
    subject.loaded()
    turns = [
        ChatMessage(role, f"{n} " + "word " * (subject.context // 13))
        for n in range(10)
        for role in ("user", "assistant")
    ]
    messages = (SYSTEM, *turns, QUESTION)
    counted = subject.engine.count(1, messages)
    events = subject.reply(subject.request(*messages, max_tokens=2))
    assert counted.dropped_messages > 0
    assert (
        started(events).dropped_messages
        == finished(events).stats.dropped_messages
        == counted.dropped_messages
    )
    assert started(events).prompt_tokens == counted.prompt_tokens < subject.context
    left = (SYSTEM, *messages[1 + counted.dropped_messages :])
    assert subject.engine.count(2, left).prompt_tokens == counted.prompt_tokens, (
        "the newest and the system prompt stay"
    )


def test_a_pinned_turn_stays_and_each_message_has_its_share(subject: Subject) -> None:
    subject.loaded()
    turns = [
        ChatMessage(role, f"{n} " + "word " * (subject.context // 13 + 3 * (n == 1)))
        for n in range(10)
        for role in ("user", "assistant")
    ]
    messages = (SYSTEM, *turns, QUESTION)
    counted = subject.engine.count(1, messages, keep=(3,))
    assert counted.fallen
    assert not {0, 3, 4, len(messages) - 1} & set(counted.fallen)
    request = msgspec.structs.replace(subject.request(*messages, max_tokens=2), keep=(3,))
    assert started(subject.reply(request)).prompt_tokens == counted.prompt_tokens
    assert len(counted.message_tokens) == len(messages)
    sent = [n for place, n in enumerate(counted.message_tokens) if place not in counted.fallen]
    assert 0 < sum(sent) <= counted.prompt_tokens


def test_a_message_that_cannot_fit_is_refused_with_both_numbers(subject: Subject) -> None:
    subject.loaded()
    events = subject.reply(subject.request(SYSTEM, ChatMessage("user", "word " * 2_000)))
    last = finished(events)
    assert not tokens(events)
    assert last.error is not None
    assert last.error.kind == "prompt_too_long"
    assert len(re.findall(r"\d[\d,]*", last.error.message)) >= 2
    assert ids(subject.reply()), "and the next one is answered"


# -- constraints


IN_FORM: Final = {
    Constraint("regex", "(yes|no)[.]"): ("yes.", "no."),
    Constraint("json-schema", '{"enum": ["yes", "no"]}'): ('"yes"', '"no"'),
}
"""A constraint, and the replies that fit."""


def test_a_constrained_reply_has_its_form_or_the_request_is_refused(subject: Subject) -> None:
    """An engine that claims constraints knows each kind; a server knows at least one."""
    info = subject.loaded()
    refused = 0
    for constraint, replies in IN_FORM.items():
        events = subject.reply(subject.request(constraint=constraint))
        end = finished(events)
        if end.error is None:
            assert end.reason == "stop"
            assert text(events) in replies
        else:
            assert len(events) == 1, "nothing came before"
            assert end.error.kind == "constraint"
            refused += 1
    if "constraint" not in info.capabilities.sampling:
        assert refused == len(IN_FORM)
    elif info.engine == "remote":
        assert refused < len(IN_FORM)
    else:
        assert not refused
    assert tokens(subject.reply()), "the next reply has any form"
