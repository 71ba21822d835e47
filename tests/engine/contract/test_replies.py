"""What every engine has to do with a request, in whichever process it runs. See `ttchat_tui.engine.base.Engine`."""

from __future__ import annotations

import re
from itertools import pairwise
from typing import Final

import msgspec
import pytest

from tests.engine.engine_subject import (
    QUESTION,
    Subject,
    finished,
    ids,
    started,
    text,
    tokens,
)
from tests.engine.recorded_subject import fork_holds, recording_holds
from ttchat_tui.domain.anatomy import parts_of
from ttchat_tui.domain.chat import ChatMessage
from ttchat_tui.domain.constraint import Constraint
from ttchat_tui.domain.events import (
    GenerationFinished,
    GenerationStarted,
    PrefillProgress,
)


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


# -- constraints


IN_FORM: Final = {
    Constraint("regex", "(yes|no)[.]"): ("yes.", "no."),
    Constraint("choices", 'maybe,"no, thanks"'): ("maybe", "no, thanks"),
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
