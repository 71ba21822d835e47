"""The engine contract, over HTTP: the tests of every engine, on this folder's subjects, but for a few with a reason."""

from __future__ import annotations

from types import ModuleType
from typing import Final

from tests.engine.contract import test_batches, test_loading, test_prompts, test_replies, test_steering
from tests.engine.contract.test_batches import batch, ends, ids
from tests.engine.engine_subject import Subject, finished
from tests.engine.served.conftest import REAL_URL
from ttchat_tui.domain.events import GenerationEvent
from ttchat_tui.domain.generation import Candidate, GenerationControl

OTHERWISE_HERE: Final = {
    "test_load_phases_come_in_their_order_and_never_pass_their_end": "the server has loaded its model already",
    "test_the_engine_reports_what_it_loaded": "a server reports neither its vocabulary nor its threads",
    "test_sampling_changed_during_a_reply_applies_from_the_next_token": "a request is sent once",
    "test_every_row_streams_ends_once_and_the_batch_ends_last": "rows are requests: nothing holds them in step",
    "test_cancel_ends_all_rows_and_keeps_the_tokens_so_far": "rows are requests: nothing holds them in step",
    "test_the_prompt_as_ids_and_the_seed_give_the_same_reply_again": "a server gets messages, no ids",
    "test_the_parts_of_a_reply_add_up_and_agree_with_its_figures": "it has other parts: `test_engine` has the like of this",
    "test_a_change_of_sampling_can_be_given_for_a_token": "a request is sent once",
    "test_a_token_can_be_given_in_place_of_the_drawn_one": "a server gets messages, no ids",
    "test_a_reply_is_followed_with_the_probabilities_that_it_was_written_with": "it says no ids: `test_following`",
    "test_a_batch_is_made_again_from_the_prompt_as_ids": "a server gets messages, no ids",
}
"""Test → why it cannot hold."""

UNSURE_OF_A_REAL_ONE: Final = {
    "test_a_full_context_ends_the_reply": "not every server reports its context",
    "test_a_count_equals_the_length_of_the_prompt": "not every server counts",
    "test_messages_that_do_not_fit_are_dropped_from_the_oldest_and_reported": "not every server reports its context",
    "test_a_pinned_turn_stays_and_each_message_has_its_share": "not every server reports its context",
    "test_a_message_that_cannot_fit_is_refused_with_both_numbers": "not every server refuses: some drop or stretch",
    "test_a_prompt_that_cannot_fit_is_refused_once": "not every server refuses: some drop or stretch",
    "test_a_reply_can_be_continued": "not every server continues a message",
    "test_the_figures_at_the_end_are_those_of_the_events": "a chunk may be several tokens, or none",
    "test_prefill_is_reported_up_to_the_whole_prompt_before_the_first_token": "the count may be an estimate",
    "test_max_tokens_ends_the_reply": "a chunk may be several tokens, or none",
    "test_cancel_stops_within_a_step_and_keeps_the_tokens_so_far": "a chunk may be several tokens, or none",
}
"""What `make test-remote` leaves to tests that ask the server first."""


def _of(module: ModuleType) -> dict[str, object]:
    left_out = OTHERWISE_HERE | (UNSURE_OF_A_REAL_ONE if REAL_URL else {})
    tests = {name: test for name, test in vars(module).items() if name.startswith("test_")}
    return {name: test for name, test in tests.items() if name not in left_out}


CONTRACT: Final = (test_batches, test_loading, test_prompts, test_replies, test_steering)
for module in CONTRACT:
    globals().update(_of(module))


def test_the_exceptions_are_tests_that_exist() -> None:
    tests = {name for module in CONTRACT for name in vars(module)}
    assert {*OTHERWISE_HERE, *UNSURE_OF_A_REAL_ONE} <= tests


def test_a_server_is_named_by_its_endpoint(subject: Subject) -> None:
    info = subject.loaded()
    assert info.engine == "remote"
    assert info.endpoint in info.label
    assert f"remote:{info.model}" in info.served


def test_every_row_is_a_request_that_ends_once(subject: Subject) -> None:
    events = subject.reply(batch(subject, Candidate(seed=2), Candidate(seed=3), max_tokens=9))
    assert sorted(ends(events)) == [0, 1, 2]
    for row, end in ends(events).items():
        assert end.stats.completion_tokens == len(ids(events, row)) == 9
    assert finished(events).stats.completion_tokens == 27


def test_cancel_ends_every_row_and_keeps_what_came(subject: Subject) -> None:
    request = batch(subject, Candidate(seed=2), Candidate(seed=3), max_tokens=100)
    subject.only(3)
    control = GenerationControl(request.sampling)
    events: list[GenerationEvent] = []
    for event in subject.engine.generate(request, control):
        events.append(event)
        if all(len(ids(events, row)) >= 3 for row in range(3)):
            control.cancel()
    assert {row: end.reason for row, end in ends(events).items()} == dict.fromkeys(range(3), "cancelled")
    assert finished(events).reason == "cancelled"
