"""What the decode loop sends for the sampler's preview."""

from __future__ import annotations

import numpy as np
import pytest

from tests.engine.decoding.test_loop import END, LoopRun, RecitingStepper, tokens
from ttchat_tui.domain.events import GenerationEvent, StepScores
from ttchat_tui.domain.generation import GenerationControl


class Watched(GenerationControl):
    """A pause begins closed; the preview opens, and at the next wait the reply resumes."""

    waits = 0

    def await_step(self, forced_taken: int | None = None, was_previewed: bool = True) -> bool:
        self.waits += 1
        self.set_previewed(True)
        if self.waits == 2:
            self.resume()
        return super().await_step(forced_taken, was_previewed)


def steps(events: list[GenerationEvent]) -> list[StepScores]:
    return [event for event in events if isinstance(event, StepScores)]


def test_nothing_is_sent_while_the_preview_is_closed() -> None:
    assert not steps(LoopRun(RecitingStepper("Hello")).events)


def test_each_step_is_sent_with_what_its_token_was_drawn_from() -> None:
    run = LoopRun(RecitingStepper("aba"), prompt_ids=[5, 6])
    run.control.set_previewed(True)
    events = run.events
    shown = steps(events)
    assert [(each.at, each.token_id) for each in shown] == [
        (0, ord("a")),
        (1, ord("b")),
        (2, ord("a")),
        (3, END),
    ]
    assert [events.index(each) for each in shown] == [3, 5, 7, 8], "each after its token, before the end"
    for each in shown:
        assert int(np.frombuffer(each.logits, "<f4").argmax()) == each.token_id
    assert sorted(np.frombuffer(shown[2].seen_ids, "<i4").tolist()) == [5, 6, ord("a"), ord("b")]
    assert np.frombuffer(shown[3].reply_ids, "<i4").tolist() == [ord("a"), ord("b")]
    assert np.frombuffer(shown[3].reply_counts, "<i4").tolist() == [2, 1]
    assert len(shown[0].pieces) == 256
    assert not shown[0].pieces.keys() & shown[1].pieces.keys(), "each piece is sent once"


def test_fast_steps_are_left_out_but_never_the_last_one() -> None:
    run = LoopRun(stepper := RecitingStepper("Hello, world"))
    run.control.set_previewed(True)
    stepper.before_step = lambda step: setattr(stepper, "now_s", stepper.now_s - 0.25 + 0.02)
    assert [each.at for each in steps(run.events)] == [0, 5, 10, 12]


@pytest.mark.parametrize("is_previewed", [True, False])
def test_a_cancel_in_a_step_shows_the_token_before_it(is_previewed: bool) -> None:
    run = LoopRun(stepper := RecitingStepper("Helium"))
    logits, own = np.zeros(260, np.float32), stepper._logits

    def overwritten() -> np.ndarray:
        np.copyto(logits, own())
        return logits

    def before_step(step: int) -> None:
        stepper.now_s -= 0.25
        if step == 3:
            run.control.set_previewed(True)
            run.control.cancel()

    stepper._logits = overwritten  # type: ignore[method-assign]
    stepper.before_step = before_step
    run.control.set_previewed(is_previewed)
    last = steps(run.events)[-1:]
    if is_previewed:
        assert (last[0].at, chr(int(np.frombuffer(last[0].logits, "<f4").argmax()))) == (2, "l")
    else:
        assert not last, "its scores are gone"


def test_a_preview_that_opens_during_a_pause_shows_the_step_before_it() -> None:
    run = LoopRun(RecitingStepper("Hello"))
    run.control = Watched(run.sampling)
    events: list[GenerationEvent] = []
    for event in run:
        events.append(event)
        if len(tokens(events)) == 2:
            run.control.pause()
    shown = steps(events)[0]
    assert (run.control.waits, shown.at, chr(shown.token_id)) == (2, 1, "e")
    assert events.index(shown) == 4, "before the next token"


def test_steps_are_sent_again_after_a_long_pause_with_the_preview_open() -> None:
    class LongPause(Watched):
        def await_step(self, forced_taken: int | None = None, was_previewed: bool = True) -> bool:
            stepper.now_s += 30.0 * self.is_paused
            return super().await_step(forced_taken, was_previewed)

    run = LoopRun(stepper := RecitingStepper("Hello"))
    run.control = LongPause(run.sampling)
    events: list[GenerationEvent] = []
    for event in run:
        events.append(event)
        if len(tokens(events)) == 2:
            run.control.pause()
    assert [each.at for each in steps(events)] == [1, 2, 3, 4, 5]
