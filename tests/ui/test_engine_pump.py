"""The event pump: adjacent tokens are merged, and the pause follows the cost of a flush."""

from __future__ import annotations

from pathlib import Path

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from tests.ui.chat_app import ChatApp, running, until
from ttchat_tui.domain.chat import ChatMessage
from ttchat_tui.domain.events import PrefillProgress, TokenEvent
from ttchat_tui.domain.recording import BatchChange, Distribution, Pause, Recording, SamplingChange
from ttchat_tui.domain.sampling import SamplingParams
from ttchat_tui.session.recorder import Recorder
from ttchat_tui.ui.engine_pump import LONGEST_PAUSE_S, SHORTEST_PAUSE_S, merge_tokens, next_pause_s


def token(number: int, request_id: int = 1) -> TokenEvent:
    return TokenEvent(
        request_id=request_id,
        token_ids=(number,),
        text=f"t{number} ",
        times_s=(number / 10,),
        logprobs=(-0.5,),
    )


def test_adjacent_token_events_of_a_request_are_merged_without_loss() -> None:
    assert merge_tokens([token(1), token(2), token(3)]) == [
        TokenEvent(
            request_id=1,
            token_ids=(1, 2, 3),
            text="t1 t2 t3 ",
            times_s=(0.1, 0.2, 0.3),
            logprobs=(-0.5, -0.5, -0.5),
        )
    ]


def test_the_rows_of_a_batch_come_in_turn_and_are_merged_each_by_itself() -> None:
    def of_row(number: int, row: int) -> TokenEvent:
        return msgspec.structs.replace(token(number), row=row)

    end = PrefillProgress(1, 1, 1)
    events = [of_row(1, 0), of_row(1, 1), of_row(2, 0), of_row(2, 1), end, of_row(3, 0)]
    merged = merge_tokens(events)
    assert [(each.row, each.token_ids) for each in merged if isinstance(each, TokenEvent)] == [
        (0, (1, 2)),
        (1, (1, 2)),
        (0, (3,)),
    ]
    assert merged[2] is end


def test_a_merged_event_says_which_tokens_have_no_logprob() -> None:
    drawn_by_a_device = msgspec.structs.replace(token(2), logprobs=())
    (event,) = merge_tokens([token(1), drawn_by_a_device])
    assert isinstance(event, TokenEvent)
    assert event.logprobs == (-0.5, None)


def test_what_is_recorded_keeps_its_token_when_events_are_merged() -> None:
    first, third = Distribution(0, 0.5, b""), Distribution(3, 1.5, b"")
    warmer = SamplingParams(temperature=1.5)
    (event,) = merge_tokens(
        [
            msgspec.structs.replace(token(1), distributions=(first,), pieces={1: b"a"}),
            token(2),
            msgspec.structs.replace(
                token(3),
                distributions=(third,),
                pieces={3: b"c"},
                sampling_changes=(SamplingChange(0, warmer),),
                pauses=(Pause(0, 4.0), Pause(0, 1.0)),
            ),
        ]
    )
    assert isinstance(event, TokenEvent)
    assert event.distributions == (first, None, third)
    assert event.pieces == {1: b"a", 3: b"c"}
    assert event.sampling_changes == (SamplingChange(2, warmer),)
    assert event.pauses == (Pause(2, 4.0), Pause(2, 1.0))


PARAMETERS = st.builds(SamplingParams, temperature=st.sampled_from((0.2, 1.5)))
EVENTS = st.lists(
    st.builds(
        lambda number, **fields: msgspec.structs.replace(token(number), **fields),
        st.integers(0, 9),
        row=st.integers(0, 1),
        drafted=st.sampled_from(((), (True,))),
        forced=st.sampled_from(((), (True,))),
        distributions=st.sampled_from(((), (Distribution(2, 0.5, b""),))),
        pieces=st.sampled_from(({}, {1: b"a"})),
        controls=st.sampled_from(({}, {2: b"b"})),
        sampling_changes=st.just(()) | st.tuples(st.builds(SamplingChange, st.just(0), PARAMETERS)),
        pauses=st.sampled_from(((), (Pause(0, 1.0),))),
        batches=st.sampled_from(((), (BatchChange(0, (0, 1)),))),
    ),
    max_size=6,
)


@given(EVENTS)
def test_a_recording_of_merged_events_is_that_of_all_events(events: list[TokenEvent]) -> None:
    def recordings(taken: list[TokenEvent]) -> list[Recording]:
        recorders = Recorder(), Recorder()
        for event in taken:
            recorders[event.row].add(event)
        return [recorder.recording for recorder in recorders]

    merged = [event for event in merge_tokens(events) if isinstance(event, TokenEvent)]
    assert recordings(merged) == recordings(events)


def test_an_event_says_of_each_token_whether_it_was_drafted() -> None:
    guessed = msgspec.structs.replace(token(2), drafted=(True,))
    (event,) = merge_tokens([token(1), guessed, token(3)])
    assert isinstance(event, TokenEvent)
    assert event.drafted == (False, True, False)


def test_a_merged_event_keeps_the_end_of_a_thought() -> None:
    closing = msgspec.structs.replace(token(2), ends_thought=True)
    (event,) = merge_tokens([token(1), closing, token(3)])
    assert isinstance(event, TokenEvent)
    assert event.ends_thought


def test_an_event_that_replaces_a_token_is_not_merged() -> None:
    other = msgspec.structs.replace(token(9), replaces=1, forced=(True,))
    chosen = msgspec.structs.replace(token(4), forced=(True,))
    first, between, last = merge_tokens([token(1), token(2), other, token(3), chosen])
    assert between == other
    assert isinstance(first, TokenEvent)
    assert isinstance(last, TokenEvent)
    assert (first.token_ids, last.token_ids, last.forced) == ((1, 2), (3, 4), (False, True))


def test_events_other_than_tokens_of_one_request_keep_their_order() -> None:
    progress = PrefillProgress(request_id=2, done=1, total=2, time_s=0.0)
    events = [token(1), progress, token(2), token(3, request_id=2)]
    assert merge_tokens(events) == events


def test_a_cheap_flush_is_followed_by_the_shortest_pause_and_a_dear_one_by_the_longest() -> None:
    assert next_pause_s(0.0) == SHORTEST_PAUSE_S
    assert next_pause_s(1.0) == LONGEST_PAUSE_S


def test_between_the_bounds_flushes_take_less_than_a_tenth_of_a_core() -> None:
    for flush_cpu_s in (0.009, 0.015, 0.024):
        pause_s = next_pause_s(flush_cpu_s)
        assert SHORTEST_PAUSE_S < pause_s < LONGEST_PAUSE_S
        assert flush_cpu_s / (flush_cpu_s + pause_s) < 0.1


async def test_updates_while_the_app_exits_are_not_drawn_and_do_not_crash(tmp_path: Path) -> None:
    chat = ChatApp(tmp_path)
    async with running(chat) as pilot:
        for timer in list(chat.screen._timers):  # they do nothing while an app exits
            timer.stop()
        await chat.screen.query_one("#columns").remove()
        chat.host.count([ChatMessage("user", "hi")])
        await until(pilot, lambda: chat.screen.pump._wake.is_set())
        await pilot.pause()
        (worker,) = [worker for worker in chat.app.workers if worker.group == "pump"]
        assert worker.is_running
        assert worker.error is None
