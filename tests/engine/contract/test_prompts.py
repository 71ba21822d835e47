"""What every engine makes of a prompt: of messages that fit or do not, of ids, and of given tokens."""

from __future__ import annotations

import re

import msgspec
import pytest

from tests.engine.engine_subject import (
    QUESTION,
    SYSTEM,
    Subject,
    finished,
    ids,
    recording_of,
    started,
    tokens,
)
from ttchat_tui.domain.chat import ChatMessage
from ttchat_tui.domain.generation import Given
from ttchat_tui.domain.recording import SamplingChange, alternatives_of

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
