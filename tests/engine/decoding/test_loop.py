"""The decode loop over a stepper of bytes: ids are UTF-8 bytes, and the model recites a text."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import msgspec
import numpy as np
import pytest
from numpy.typing import NDArray

from ttchat_tui.domain.events import (
    GenerationEvent,
    GenerationFinished,
    GenerationStarted,
    PrefillProgress,
    TokenEvent,
)
from ttchat_tui.domain.generation import Forced, GenerationControl, GenerationRequest
from ttchat_tui.domain.recording import Pause, RecordLevel, SamplingChange
from ttchat_tui.domain.recording import ids_of as alternative_ids
from ttchat_tui.domain.sampling import SamplingParams
from ttchat_tui.engine.base import EngineDied, OutOfMemory
from ttchat_tui.engine.decoding.job import ReplyJob
from ttchat_tui.engine.decoding.loop import PrefillAborted, Stepper, run_generation
from ttchat_tui.engine.text.text_stream import TextStream, Utf8Decoder

END, OTHER_END, VOCAB = 256, 257, 260
GREEDY = SamplingParams(temperature=0.0)


class RecitingStepper(Stepper):
    """Recites `line` after a prompt, byte by byte, then END. Its KV cache is a list of ids, its clock a counter."""

    def __init__(self, line: str | bytes, end: int = END) -> None:
        self.line = [*(line.encode() if isinstance(line, str) else line), end]
        self.cache: list[int] = []
        self.spoken = 0
        self.now_s = 100.0
        self.computed: list[int] = []
        """How many ids each chunk of prefill had."""
        self.before_step: Callable[[int], None] = lambda step: None
        self.chunk = 4
        self.long_from = 1000
        self.is_long = False

    def becomes_long(self, length: int) -> bool:
        return length >= self.long_from

    def cached_prefix(self, ids: Sequence[int]) -> int:
        same = 0
        for mine, theirs in zip(self.cache, ids[:-1], strict=False):
            if mine != theirs:
                break
            same += 1
        return same

    def prefill(self, ids: Sequence[int], report: Callable[[int, int], bool]) -> NDArray[np.float32]:
        if self.is_long != self.becomes_long(len(ids)):
            self.is_long = not self.is_long
            self.cache.clear()
            self.spoken += 1  # The step that made it long.
        done = self.cached_prefix(ids)
        del self.cache[done:]
        while done < len(ids):
            self.computed.append(min(self.chunk, len(ids) - done))
            done += self.computed[-1]
            self.cache = list(ids[:done])
            self.now_s += 0.5
            if not report(done, len(ids)):
                raise PrefillAborted
        return self._logits()

    def step(self, token_id: int) -> NDArray[np.float32]:
        self.spoken += 1
        self.before_step(self.spoken)
        self.cache.append(token_id)
        self.now_s += 0.25
        return self._logits()

    def _logits(self) -> NDArray[np.float32]:
        logits = np.zeros(VOCAB, dtype=np.float32)
        logits[self.line[min(self.spoken, len(self.line) - 1)]] = 20.0
        return logits


class BytesText(TextStream):
    """Each id is a byte."""

    def __init__(self, stop: str = "") -> None:
        super().__init__(Utf8Decoder(lambda token_id: bytes([token_id])), (stop,))


@dataclass
class LoopRun:
    """One call of the loop; `events` runs it to its end."""

    stepper: RecitingStepper
    sampling: SamplingParams = GREEDY
    prompt_ids: Sequence[int] = tuple(range(10))
    context_length: int = 1000
    stop: str = ""
    seed: int = 1
    prefill_chunk: int = 256
    record: RecordLevel = "off"
    text: BytesText = field(init=False)
    control: GenerationControl = field(init=False)

    def __post_init__(self) -> None:
        self.text = BytesText(self.stop)
        self.control = GenerationControl(self.sampling)

    def __iter__(self) -> Iterator[GenerationEvent]:
        job = ReplyJob(
            request=GenerationRequest(
                id=7, messages=(), sampling=self.sampling, seed=self.seed, record=self.record
            ),
            piece_of=lambda token_id: f"<{token_id}>".encode(),
            control=self.control,
            prompt_ids=self.prompt_ids,
            text_streams=[self.text],
            stop_ids={END, OTHER_END},
            context_length=self.context_length,
            clock=lambda: self.stepper.now_s,
            received_s=99.0,
            dropped_messages=3,
            prefill_chunk=self.prefill_chunk,
        )
        return run_generation(job, self.stepper)

    @property
    def events(self) -> list[GenerationEvent]:
        return list(self)


def finished(events: list[GenerationEvent]) -> GenerationFinished:
    last = events[-1]
    assert isinstance(last, GenerationFinished)
    assert [e for e in events if isinstance(e, GenerationFinished)] == [last]
    return last


def tokens(events: list[GenerationEvent]) -> list[TokenEvent]:
    return [event for event in events if isinstance(event, TokenEvent)]


def text_of(events: list[GenerationEvent]) -> str:
    return "".join(event.text for event in tokens(events)) + finished(events).text


def ids_of(events: list[GenerationEvent]) -> bytes:
    return bytes(i for event in tokens(events) for i in event.token_ids)


def test_a_reply_is_started_then_prefill_then_tokens_then_finished() -> None:
    events = LoopRun(RecitingStepper("Hi!")).events
    assert [type(e).__name__ for e in events] == [
        "GenerationStarted",
        "PrefillProgress",
        "TokenEvent",
        "TokenEvent",
        "TokenEvent",
        "GenerationFinished",
    ]
    assert {event.request_id for event in events} == {7}
    assert events[0] == GenerationStarted(
        request_id=7,
        prompt_tokens=10,
        cached_tokens=0,
        context_length=1000,
        dropped_messages=3,
        time_s=1.0,
        received_at_s=99.0,
    )


@pytest.mark.parametrize("end", [END, OTHER_END])
def test_the_end_of_turn_stops_the_reply_and_is_neither_text_nor_id_nor_counted(end: int) -> None:
    events = LoopRun(RecitingStepper("Hi!", end)).events
    assert finished(events).reason == "stop"
    assert (text_of(events), ids_of(events)) == ("Hi!", b"Hi!")
    assert finished(events).stats.completion_tokens == 3


def test_an_empty_reply_is_a_reply() -> None:
    events = LoopRun(RecitingStepper("")).events
    assert (finished(events).reason, text_of(events), finished(events).stats.ttft_s) == ("stop", "", None)


def test_times_and_figures_count_from_the_receipt_of_the_request() -> None:
    events = LoopRun(RecitingStepper("Hi!!")).events
    assert [event.times_s for event in tokens(events)] == [(2.5,), (2.75,), (3.0,), (3.25,)]
    stats = finished(events).stats
    assert (stats.ttft_s, stats.prefill_s, stats.prefill_tps) == (2.5, 1.5, 10 / 1.5)
    assert (stats.decode_tps, stats.total_s, stats.dropped_messages) == (4.0, 3.5, 3)


def test_every_token_carries_its_logprob() -> None:
    (event, *_) = tokens(LoopRun(RecitingStepper("Hi")).events)
    assert event.logprobs == (pytest.approx(-np.log1p((VOCAB - 1) * np.exp(-20.0)), abs=1e-6),)


def test_each_token_brings_the_pieces_that_are_new() -> None:
    events = tokens(LoopRun(RecitingStepper("Hi!!"), record="full").events)
    assert [token_id in event.pieces for event in events for token_id in event.token_ids] == [
        True,
        True,
        True,
        False,
    ]
    assert {token_id for event in events for token_id in event.pieces} >= set(
        alternative_ids(events[-1].distributions[0].alternatives)  # type: ignore[union-attr]
    )
    assert events[0].pieces[events[0].token_ids[0]] == b"<72>"


def test_of_the_chosen_token_alone_the_alternatives_are_left_out() -> None:
    (event, *_) = tokens(LoopRun(RecitingStepper("Hi"), record="chosen").events)
    (distribution,) = event.distributions
    assert distribution is not None
    assert (distribution.rank, distribution.alternatives, len(event.pieces)) == (0, b"", 1)
    assert distribution.entropy == pytest.approx(0.0, abs=1e-4)


def test_max_tokens_ends_with_length_and_does_not_compute_a_token_too_many() -> None:
    stepper = RecitingStepper("Yes, sir")
    events = LoopRun(stepper, SamplingParams(temperature=0.0, max_tokens=3)).events
    assert (finished(events).reason, text_of(events), stepper.spoken) == ("length", "Yes", 2)


def test_a_full_context_ends_with_context_when_prompt_and_reply_fill_it() -> None:
    events = LoopRun(RecitingStepper("Hello"), context_length=12).events
    assert (finished(events).reason, text_of(events)) == ("context", "He")


@pytest.mark.parametrize("size", [10, 11])
def test_a_prompt_that_leaves_no_room_is_refused_with_both_numbers(size: int) -> None:
    events = LoopRun(RecitingStepper("Hello"), prompt_ids=range(size), context_length=10).events
    error = finished(events).error
    assert len(events) == 1
    assert error is not None
    assert error.kind == "prompt_too_long"
    assert f"{size} tokens" in error.message
    assert "holds 10" in error.message


def test_a_stop_string_ends_the_reply_before_it_and_its_tokens_count() -> None:
    events = LoopRun(RecitingStepper("one END two"), stop="END").events
    assert (finished(events).reason, text_of(events), ids_of(events)) == ("stop", "one ", b"one END")


def test_half_a_character_is_never_shown_and_text_held_back_comes_with_the_end() -> None:
    events = LoopRun(RecitingStepper("né")).events
    assert [event.text for event in tokens(events)] == ["n", "", "é"]
    held = LoopRun(RecitingStepper("so EN"), stop="END").events
    assert [event.text for event in tokens(held)][-2:] == ["", ""]
    assert (finished(held).text, text_of(held)) == ("EN", "so EN")


def test_cancel_stops_before_the_next_step_and_keeps_the_text_so_far() -> None:
    stepper = RecitingStepper("Hello")
    run = LoopRun(stepper)
    events: list[GenerationEvent] = []
    for event in run:
        events.append(event)
        if len(tokens(events)) == 2:
            run.control.cancel()
    assert (finished(events).reason, text_of(events), stepper.spoken) == ("cancelled", "He", 1)
    assert finished(events).stats.completion_tokens == 2


def test_cancel_during_a_step_shows_no_further_token() -> None:
    stepper = RecitingStepper("Hello")
    run = LoopRun(stepper)
    stepper.before_step = lambda step: run.control.cancel() if step == 2 else None
    assert (text_of(run.events), stepper.spoken) == ("He", 2)


def test_cancel_between_two_chunks_of_prefill_computes_no_more() -> None:
    stepper = RecitingStepper("Hello")
    run = LoopRun(stepper, prompt_ids=range(40), prefill_chunk=8)
    events: list[GenerationEvent] = []
    for event in run:
        events.append(event)
        if isinstance(event, PrefillProgress) and event.done == 16:
            run.control.cancel()
    assert (finished(events).reason, len(stepper.cache), tokens(events)) == ("cancelled", 16, [])


def test_cancel_reaches_into_a_chunk_of_prefill_through_the_report() -> None:
    stepper = RecitingStepper("Hello")
    run = LoopRun(stepper, prompt_ids=range(40))
    run.control.cancel()
    stream = iter(run)
    next(stream)
    assert [type(e).__name__ for e in stream] == ["GenerationFinished"]
    late = LoopRun(RecitingStepper("Hello"), prompt_ids=range(40))
    late.stepper.chunk = 1
    report_cancels_at(late, 5)
    assert (finished(late.events).reason, len(late.stepper.cache)) == ("cancelled", 5)


def report_cancels_at(run: LoopRun, ids: int) -> None:
    """Cancel as another thread would, while the stepper is in the middle of its prefill."""
    prefill = run.stepper.prefill

    def cancelling(prompt: Sequence[int], report: Callable[[int, int], bool]) -> NDArray[np.float32]:
        def seen(done: int, total: int) -> bool:
            if done == ids:
                run.control.cancel()
            return report(done, total)

        return prefill(prompt, seen)

    run.stepper.prefill = cancelling  # type: ignore[method-assign]


def test_progress_of_prefill_counts_cached_tokens_and_nothing_is_computed_twice() -> None:
    stepper = RecitingStepper("Hello")
    stepper.cache = list(range(7))
    events = LoopRun(stepper, prompt_ids=range(20), prefill_chunk=5).events
    started = events[0]
    assert isinstance(started, GenerationStarted)
    assert started.cached_tokens == 7
    progress = [(e.done, e.total) for e in events if isinstance(e, PrefillProgress)]
    assert progress == [(15, 20), (20, 20)]
    assert stepper.computed == [4, 4, 4, 1]
    assert finished(events).stats.cached_tokens == 7


def test_a_conversation_that_becomes_long_is_read_anew_with_progress() -> None:
    stepper = RecitingStepper("Hello")
    stepper.long_from = 12
    events = LoopRun(stepper, prefill_chunk=4).events
    kinds = "".join("r" if isinstance(event, PrefillProgress) else "t" for event in events[1:-1])
    assert kinds == "rrr" + "tt" + "rrr" + "ttt", "ten ids of the prompt, then two tokens, then twelve ids"
    again = [event for event in events if isinstance(event, PrefillProgress)][3:]
    assert [(event.done, event.total, event.time_s) for event in again] == [
        (4, 12, None),
        (8, 12, None),
        (12, 12, None),
    ]
    assert (text_of(events), finished(events).reason) == ("Hello", "stop")
    assert stepper.cache == [*range(10), *b"Hello"]
    (plain,) = {
        event.prefill_s
        for event in (finished(LoopRun(RecitingStepper("Hello"), prefill_chunk=4).events).stats,)
    }
    assert finished(events).stats.prefill_s == plain, "the reading of the prompt alone"


def test_a_prompt_that_is_long_is_read_as_long_from_its_first_chunk_on() -> None:
    stepper = RecitingStepper("Hello")
    stepper.long_from = 12
    events = LoopRun(stepper, prompt_ids=range(20), prefill_chunk=4).events
    assert len([event for event in events if isinstance(event, PrefillProgress)]) == 5
    assert stepper.computed == [4] * 5, "no chunk twice"


def test_cancel_reaches_into_the_step_that_reads_a_conversation_anew() -> None:
    run = LoopRun(RecitingStepper("Hello"))
    run.stepper.long_from = 12
    events = []
    for event in run:
        events.append(event)
        if len(tokens(events)) == 2:
            report_cancels_at(run, 8)
    assert (finished(events).reason, text_of(events), len(run.stepper.cache)) == ("cancelled", "He", 8)


def test_parameters_are_read_for_every_token() -> None:
    run = LoopRun(RecitingStepper("Hello, world"))
    events: list[GenerationEvent] = []
    for event in run:
        events.append(event)
        if len(tokens(events)) == 4:
            run.control.set_sampling(SamplingParams(temperature=0.0, max_tokens=6))
    assert (finished(events).reason, text_of(events)) == ("length", "Hello,")
    assert finished(events).stats.sampling_changes == 1
    changed = [place for place, event in enumerate(tokens(events)) if event.sampling_changes]
    assert changed == [4]
    assert tokens(events)[4].sampling_changes == (
        SamplingChange(0, SamplingParams(temperature=0.0, max_tokens=6)),
    )


def test_parameters_that_change_before_the_first_token_are_those_of_the_whole_reply() -> None:
    run = LoopRun(RecitingStepper("Hello"))
    warmer = SamplingParams(temperature=0.0, max_tokens=2)
    run.control.set_sampling(warmer)
    events = list(run)
    assert text_of(events) == "He"
    assert tokens(events)[0].sampling_changes == (SamplingChange(0, warmer),)
    assert finished(events).stats.sampling_changes == 0


class SlowHand(GenerationControl):
    """Every pause takes a minute of the stepper's clock."""

    def __init__(self, stepper: RecitingStepper) -> None:
        super().__init__(GREEDY)
        self._stepper = stepper
        self.paused_at: list[int] = []
        """Steps of the model before each pause."""

    def await_step(self, forced_taken: int | None = None, was_previewed: bool = True) -> bool:
        self._stepper.now_s += 60.0
        self.paused_at.append(self._stepper.spoken)
        return super().await_step(forced_taken, was_previewed)


def test_no_figure_but_its_own_includes_a_pause() -> None:
    whole = LoopRun(RecitingStepper("Hello, world")).events
    run = LoopRun(RecitingStepper("Hello, world"))
    run.control = hand = SlowHand(run.stepper)
    events: list[GenerationEvent] = []
    for event in run:
        events.append(event)
        if len(tokens(events)) in (4, 5):
            run.control.pause()
            run.control.step()
        elif len(tokens(events)) == 6:
            run.control.resume()
    assert hand.paused_at == [3, 4], "before the step, and the first token needs none"
    figures = finished(events).stats
    assert figures == msgspec.structs.replace(finished(whole).stats, paused_s=120.0)
    assert [event.times_s for event in tokens(events)] == [event.times_s for event in tokens(whole)]
    assert {at: event.pauses for at, event in enumerate(tokens(events)) if event.pauses} == {
        4: (Pause(0, 60.0),),
        5: (Pause(0, 60.0),),
    }


def test_an_end_token_that_the_user_chooses_in_a_pause_ends_the_reply_at_once() -> None:
    class Chooser(GenerationControl):
        waits = 0

        def await_step(self, forced_taken: int | None = None, was_previewed: bool = True) -> bool:
            self.waits += 1
            if self.waits == 1:
                self.force(Forced(END, instead_of=1))
            else:
                self.resume()  # or the test would wait for ever
            return super().await_step(forced_taken, was_previewed)

    run = LoopRun(RecitingStepper("Hello"))
    run.control = chooser = Chooser(GREEDY)
    events: list[GenerationEvent] = []
    for event in run:
        events.append(event)
        if len(tokens(events)) == 2:
            run.control.pause()
    assert (tokens(events)[-1].replaces, finished(events).reason) == (1, "stop")
    assert (chooser.waits, run.stepper.spoken) == (1, 1)


def test_penalties_forget_a_token_that_the_user_replaces() -> None:
    class Chooser(GenerationControl):
        def await_step(self, forced_taken: int | None = None, was_previewed: bool = True) -> bool:
            if not self.forced:
                self.force(Forced(9, instead_of=0))
            else:
                self.resume()
            return super().await_step(forced_taken, was_previewed)

    stepper = RecitingStepper("")
    stepper._logits = lambda: np.arange(VOCAB, 0, -1, dtype=np.float32)  # type: ignore[method-assign]
    run = LoopRun(stepper, SamplingParams(temperature=0.0, frequency_penalty=1.5, max_tokens=3))
    run.control = Chooser(run.sampling)
    events: list[GenerationEvent] = []
    for event in run:
        events.append(event)
        if len(tokens(events)) == 1:
            run.control.pause()
    assert [event.token_ids for event in tokens(events)] == [(0,), (9,), (0,), (1,)], "0 was not written"


def test_unchanged_parameters_count_as_no_change() -> None:
    assert finished(LoopRun(RecitingStepper("Hello")).events).stats.sampling_changes == 0


def test_the_same_seed_gives_the_same_ids_and_another_seed_others() -> None:
    hot = SamplingParams(temperature=2.0, top_k=0, top_p=1.0, max_tokens=40, stop=())

    def ids(seed: int) -> list[int]:
        stepper = RecitingStepper(b"\x20" * 60)
        stepper._logits = lambda: np.zeros(256, dtype=np.float32)  # type: ignore[method-assign]
        return [i for event in tokens(LoopRun(stepper, hot, seed=seed).events) for i in event.token_ids]

    assert ids(3) == ids(3)
    assert ids(3) != ids(4)


@pytest.mark.parametrize(
    ("failure", "kind"),
    [(RuntimeError("no memory bank 3"), "internal"), (OutOfMemory("full"), "out_of_memory")],
)
def test_a_failing_stepper_ends_with_an_error_and_the_text_so_far_is_kept(
    failure: Exception, kind: str
) -> None:
    stepper = RecitingStepper("Hé")

    def fail(step: int) -> None:
        if step == 2:
            raise failure

    stepper.before_step = fail
    last = finished(events := LoopRun(stepper).events)
    assert (last.reason, text_of(events)) == ("error", "H")
    assert last.stats.completion_tokens == 2
    assert last.error is not None
    assert last.error.kind == kind
    assert str(failure) in last.error.message


def test_logits_without_a_usable_score_end_with_an_error_that_says_so() -> None:
    stepper = RecitingStepper("Hello")
    stepper._logits = lambda: np.full(VOCAB, np.nan, dtype=np.float32)  # type: ignore[method-assign]
    error = finished(LoopRun(stepper).events).error
    assert error is not None
    assert error.kind == "no_usable_logits"


def test_engine_death_is_raised_to_the_host() -> None:
    stepper = RecitingStepper("Hello")

    def die(step: int) -> None:
        raise EngineDied("gone")

    stepper.before_step = die
    with pytest.raises(EngineDied):
        _ = LoopRun(stepper).events


def test_a_decoder_that_fails_still_lets_the_reply_finish() -> None:
    run = LoopRun(RecitingStepper("Hi"))

    def fail() -> str:
        raise ValueError("broken")

    run.text.flush = fail  # type: ignore[method-assign]
    last = finished(run.events)
    assert (last.reason, last.text, last.stats.completion_tokens) == ("error", "", 2)
