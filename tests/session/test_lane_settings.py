"""The setting that labels a lane is the one it runs with; all other settings are those of the sliders."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from msgspec.structs import replace

from tests.fakes import Gate, Script
from tests.session.test_candidates import FOUR, ask, finish
from tests.session.test_chat import Chat
from ttchat_tui.domain.events import PrefillProgress, TokenEvent
from ttchat_tui.domain.preset import BUILT_IN
from ttchat_tui.domain.reply_settings import ReplySettings, setting_words
from ttchat_tui.domain.sampling import SamplingParams
from ttchat_tui.engine.decoding.job import LiveSampling
from ttchat_tui.session.lane import Lane

Start = Callable[..., Chat]
BEGUN = SamplingParams(temperature=0.5, top_k=11, top_p=0.9, min_p=0.01, max_tokens=2, seed=1)
MOVED = SamplingParams(temperature=1.1, top_k=22, top_p=0.8, min_p=0.02, max_tokens=3, logit_bias={"x": 1.0})
"""Every slider is elsewhere."""

ORDERS = (
    "2 temperature=0.2,1.4",
    "2 top-k=3,4",
    "2 max-tokens=4,1",
    "2 top-p=0.3..0.4",
    "2 min-p=0.3",
    "2 logit-bias=a=5,b=5",
    "2 seed",
    "seed=8,9",
    "preset=precise,creative",
)


def used_by(chat: Chat, row: int = 0) -> SamplingParams:
    """What row `row` of the running request draws its next token with."""
    running = chat.session.running
    assert running is not None
    return LiveSampling(running.request, running.control, row).now


def is_as_labelled(chat: Chat, lane: Lane, used: SamplingParams, live: SamplingParams) -> bool:
    """The label is true of `used`, and what it does not say is as in `live`."""
    label = lane.label
    if label.startswith("preset "):
        wanted = BUILT_IN[label.removeprefix("preset ")].sampling_over(live, SamplingParams())
        return used == wanted
    if label.startswith("seed "):
        held = {"min_p": 0.3} if lane.variant.settings.sampling else {}
        message = lane.message
        assert message is not None
        assert message.reply is not None
        return used == replace(live, **held) and label == f"seed {message.reply.seed}"
    names = list(lane.variant.settings.sampling)
    if names == ["logit_bias"]:
        own = lane.variant.settings.sampling["logit_bias"]
        return used == replace(live, logit_bias={**live.logit_bias, **own})
    return used == replace(live, **{each: getattr(used, each) for each in names}) and label == ", ".join(
        setting_words(used, names)
    )


@pytest.mark.parametrize("order", ORDERS)
def test_a_lane_runs_with_its_label_in_the_batch_when_it_is_made_again_and_when_it_is_continued(
    start: Start, order: str
) -> None:
    gate = Gate()
    chat = start(Script(replies=(FOUR * 9,), batch_sizes=(4,), stepped=True, context_length=4096), gate)
    chat.session.set_sampling(BEGUN)
    ask(chat, f"{order} count")
    chat.until(PrefillProgress)
    lanes = chat.session.candidates.lanes
    for live in (BEGUN, MOVED):
        chat.session.set_sampling(live)
        assert [is_as_labelled(chat, lane, used_by(chat, row), live) for row, lane in enumerate(lanes)] == [
            True
        ] * 2
    gate.open()
    finish(chat)
    gate.shut()
    for lane in (*lanes, *lanes):
        for act in (chat.session.candidates.regenerate, chat.session.candidates.continue_reply):
            for live in (BEGUN, MOVED):
                chat.session.set_sampling(live)
                act(lane)
                gate.release()
                chat.until(TokenEvent)
                for moved in (live, MOVED, BEGUN):
                    chat.session.set_sampling(moved)
                    assert is_as_labelled(chat, lane, used_by(chat), moved)
                chat.session.candidates.stop(lane)
                gate.open()
                finish(chat)
                gate.shut()


def test_a_lane_that_waits_begins_with_the_sliders_of_then_and_its_own_label(start: Start) -> None:
    gate = Gate()
    chat = start(Script(replies=(FOUR,), batch_sizes=(1,), stepped=True), gate)
    chat.session.set_sampling(BEGUN)
    ask(chat, "2 temperature=0.2,1.4 count")
    chat.until(PrefillProgress)
    chat.session.set_sampling(MOVED)
    gate.open()
    finish(chat)
    assert [each.sampling.temperature for each in chat.engine.requests] == [0.2, 1.4]
    assert chat.engine.requests[1].sampling == replace(MOVED, temperature=1.4)


def test_the_settings_of_one_reply_hold_while_a_slider_moves(start: Start) -> None:
    gate = Gate()
    chat = start(Script(replies=(FOUR,), stepped=True), gate)
    gate.open()
    chat.ask("count")
    gate.shut()
    chat.session.branching.regenerate(settings=ReplySettings(sampling={"temperature": 0.2}))
    chat.until(PrefillProgress)
    chat.session.set_sampling(MOVED)
    assert used_by(chat) == replace(MOVED, temperature=0.2)
    gate.open()
    chat.until(TokenEvent)


def test_a_candidate_that_is_continued_in_the_chat_holds_what_it_was_compared_in(start: Start) -> None:
    gate = Gate()
    chat = start(Script(replies=(FOUR,), batch_sizes=(2,), stepped=True), gate)
    chat.session.set_sampling(BEGUN)
    ask(chat, "2 temperature=0.1,0.4 count")
    gate.open()
    finish(chat)
    gate.shut()
    chat.session.branching.continue_reply()
    chat.until(PrefillProgress)
    chat.session.set_sampling(MOVED)
    assert used_by(chat) == replace(MOVED, temperature=0.1)
    gate.open()


def test_what_a_slider_changes_in_a_sweep_is_in_the_recording_of_each_row(start: Start) -> None:
    gate = Gate()
    chat = start(Script(replies=(FOUR,), batch_sizes=(2,), stepped=True), gate)
    chat.session.set_sampling(replace(BEGUN, max_tokens=9))
    ask(chat, "2 temperature=0.1,0.4 count")
    gate.release()
    chat.until(TokenEvent, row=1)
    chat.session.set_sampling(replace(BEGUN, max_tokens=3, top_k=5))
    gate.open()
    finish(chat)
    for lane, temperature in zip(chat.session.candidates.lanes, (0.1, 0.4), strict=True):
        assert lane.text == "one two three"
        assert lane.message is not None
        (change,) = chat.store.recordings.of(lane.message.id).changes
        assert (change.at, change.sampling) == (
            1,
            replace(BEGUN, max_tokens=3, top_k=5, temperature=temperature),
        )
