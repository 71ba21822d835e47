"""The timeline of a reply on a clock that moves only where a part of the loop says so: each second has one account."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from types import MappingProxyType

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from tests.size import sized
from ttchat_tui.domain.anatomy import parts_of, step_parts_of, whole_s
from ttchat_tui.domain.chat import ChatMessage
from ttchat_tui.domain.events import GenerationFinished, PrefillProgress, RowFinished, TokenEvent
from ttchat_tui.domain.generation import (
    Candidate,
    Forced,
    GenerationControl,
    GenerationRequest,
    GenerationStats,
)
from ttchat_tui.domain.sampling import SamplingParams
from ttchat_tui.domain.timeline import StepParts
from ttchat_tui.engine.base import OutOfMemory
from ttchat_tui.engine.decoding.job import PREFILL_CHUNK
from ttchat_tui.engine.decoding.loop import BatchStepper, PrefillAborted
from ttchat_tui.engine.decoding.responder import Responder
from ttchat_tui.engine.decoding.sampler import History
from ttchat_tui.engine.text.template import PromptPiece

END, VOCAB = 7, 8
FOREVER = 10**6


class Accounts:
    """A clock, and how much of its time each account has spent."""

    def __init__(self, costs_s: Iterable[float]) -> None:
        self._costs = iter(costs_s)
        self.now_s = 100.0
        self.spent: defaultdict[str, float] = defaultdict(float)

    def spend(self, account: str) -> None:
        cost_s = next(self._costs)
        self.now_s += cost_s
        self.spent[account] += cost_s


class TimedStepper(BatchStepper):
    """Draws `length` tokens, then END; `works` per call of prefill and step, `drafts` tells drafted tokens by number."""

    def __init__(
        self, accounts: Accounts, length: int, *, fails_at: int = FOREVER, drafts: Sequence[bool] = ()
    ) -> None:
        self._accounts = accounts
        self._length = length
        self._fails_at = fails_at
        self._drafts = drafts
        self.steps = 0

    @property
    def is_drafted(self) -> bool:
        return self.steps > 1 and self.steps - 2 < len(self._drafts) and self._drafts[self.steps - 2]

    def cached_prefix(self, ids: Sequence[int]) -> int:
        self._held = 1
        return self._held

    def prefill(self, ids: Sequence[int], report: Callable[[int, int], bool]) -> NDArray[np.float32]:
        while self._held < len(ids):
            self._held = min(self._held + PREFILL_CHUNK, len(ids))
            self._accounts.spend("prefill")
            if not report(self._held, len(ids)):
                raise PrefillAborted
        return self._logits(1)

    def step(self, token_id: int) -> NDArray[np.float32]:
        return self.step_rows([token_id])[0]

    def fork(self, rows: int) -> None:
        self._accounts.spend("first token")

    def step_rows(self, ids: Sequence[int]) -> NDArray[np.float32]:
        self.steps += 1
        self._accounts.spend("first step" if self.steps == 1 else "decode")
        if self.steps == self._fails_at:
            raise OutOfMemory("There is no memory left.", "Close something.")
        return np.stack([self._logits(1 + self.steps)] * len(ids))

    def freeze(self, row: int) -> None: ...

    def join(self) -> None: ...

    def _logits(self, token: int) -> NDArray[np.float32]:
        logits = np.zeros(VOCAB, dtype=np.float32)
        logits[END if token > self._length else token % END] = 50.0
        return logits


class Template:
    """A template, a tokenizer and a decoder in one, which take their time."""

    thinking = ()
    stop = ()
    end_ids = (END,)
    beginning = ()
    controls = ()
    control_texts = MappingProxyType[int, bytes]({})
    is_whole = True

    def __init__(self, accounts: Accounts) -> None:
        self._accounts = accounts

    def pieces(self, messages: Sequence[ChatMessage], **_options: object) -> tuple[PromptPiece, ...]:
        self._accounts.spend("template")
        return (PromptPiece("prompt", False),)

    def encode_pieces(self, pieces: Sequence[PromptPiece], start: int = 0) -> list[tuple[int, ...]]:
        self._accounts.spend("tokenise")
        return [tuple(range(600))]

    def new_decoder(self, *, is_start: bool) -> Template:
        return self

    def piece_of(self, token_id: int) -> bytes:
        return b"x"

    def push(self, token_id: int) -> str:
        self._accounts.spend("detokenise")
        return "x"

    def flush(self) -> str:
        return ""

    def save(self) -> object:
        return None

    def restore(self, state: object) -> None: ...

    def ids_of(self, text: str) -> Sequence[int]:
        return ()


class TimedReply:
    """One reply with its events and accounts."""

    def __init__(
        self,
        monkeypatch: pytest.MonkeyPatch,
        costs_s: Iterable[float],
        length: int,
        *,
        rows: int = 1,
        fails_at: int = FOREVER,
        cancels_after: int = FOREVER,
        pauses_after: int | Sequence[int] = FOREVER,
        ends_in_pause: int = FOREVER,
        drafts: Sequence[bool] = (),
    ) -> None:
        """`pauses_after`: so many tokens of all rows, or several such numbers. `ends_in_pause`: the pause in which the user chooses
        an end for row 0, from 1."""
        pauses = [pauses_after] if isinstance(pauses_after, int) else pauses_after
        self.paused: dict[int, float] = {}
        """How long each row was paused."""
        self.ended: dict[int, float] = {}
        self.accounts = accounts = Accounts(costs_s)
        self.stats: dict[int, GenerationStats] = {}
        self.tokens: list[TokenEvent] = []
        self.of_row_0 = 0
        monkeypatch.setattr("ttchat_tui.engine.decoding.row.Sampler", lambda *_: _Sampler(accounts))
        text, sampling = Template(accounts), SamplingParams(temperature=0.0, max_tokens=40)
        model = TimedStepper(accounts, length, fails_at=fails_at, drafts=drafts)
        responder = Responder(
            tokenizer=text,
            template=text,  # type: ignore[arg-type]
            context_length=1000,
            stepper=model,
            batch=model,
            batch_sizes=(1, 2, 3),
            clock=lambda: accounts.now_s,
        )
        control = _Control(sampling, accounts, lambda: self.of_row_0, ends_in_pause)
        request = GenerationRequest(
            id=1,
            messages=(ChatMessage("user", "?"),),
            sampling=sampling,
            seed=1,
            candidates=tuple(Candidate(seed=seed) for seed in range(1, rows)),
            record="chosen",
        )
        for event in responder.generate(request, control):
            if isinstance(event, TokenEvent):
                accounts.spend("send")
                self.tokens.append(event)
                self.of_row_0 += len(event.token_ids) * (event.row == 0)
                if len(self.tokens) == cancels_after:
                    control.cancel()
                if len(self.tokens) in pauses:
                    control.pause()
            elif isinstance(event, PrefillProgress):
                accounts.spend("prefill" if event.done < event.total else "first token")
            elif isinstance(event, RowFinished | GenerationFinished):
                row = event.row if isinstance(event, RowFinished) else 0
                if row not in self.stats:
                    self.stats[row] = event.stats
                    self.ended[row], self.paused[row] = accounts.now_s, accounts.spent["pause"]
                self.ended_s, self.spent = accounts.now_s, accounts.spent.copy()


class _Sampler:
    def __init__(self, accounts: Accounts) -> None:
        self._accounts = accounts
        self.history = History(VOCAB)

    def sample_recorded(self, logits: NDArray[np.float32], *_params: object, **_more: object) -> object:
        self._accounts.spend("sampling")
        self.history.add(int(logits.argmax()))
        return (int(logits.argmax()), -0.5), None


class _Control(GenerationControl):
    """A user who thinks about each pause for a while, and chooses an end in one."""

    def __init__(
        self, sampling: SamplingParams, accounts: Accounts, of_row_0: Callable[[], int], ends_in_pause: int
    ) -> None:
        super().__init__(sampling)
        self._accounts = accounts
        self._of_row_0 = of_row_0
        self._left = ends_in_pause

    def await_step(self, forced_taken: int | None = None, was_previewed: bool = True) -> bool:
        self._accounts.spend("pause")
        self._left -= 1
        if self._left == 0:
            self.force(Forced(END, instead_of=self._of_row_0() - 1))
            return False
        self.resume()
        return True


COSTS = st.lists(st.floats(0.001, 1.0), min_size=7, max_size=7)


def repeated(costs_s: Sequence[float]) -> Iterator[float]:
    while True:
        yield from costs_s


@settings(max_examples=sized(20, 2000), deadline=None)
@given(
    costs_s=COSTS,
    length=st.integers(0, 12),
    cancels_after=st.integers(1, 12) | st.just(FOREVER),
    pauses_after=st.integers(1, 12) | st.just(FOREVER),
    fails_at=st.integers(1, 12) | st.just(FOREVER),
    drafts=st.lists(st.booleans(), max_size=12),
)
def test_each_second_of_a_reply_is_in_the_part_that_spent_it(
    costs_s: list[float],
    length: int,
    cancels_after: int,
    pauses_after: int,
    fails_at: int,
    drafts: list[bool],
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        reply = TimedReply(
            patch,
            repeated(costs_s),
            length,
            cancels_after=cancels_after,
            pauses_after=pauses_after,
            fails_at=fails_at,
            drafts=drafts,
        )
    stats, spent = reply.stats[0], reply.spent
    found = {part.name: part.seconds for part in parts_of(stats)}
    assert stats.total_s == pytest.approx(reply.ended_s - 100.0 - spent["pause"])
    assert sum(found.values()) == pytest.approx(whole_s(stats), rel=1e-4)
    assert found.get("other", 0.0) <= 0.02 * (stats.total_s or 0.0)
    for name in ("template", "tokenise"):
        assert found[name] == pytest.approx(spent[name], abs=1e-5)  # type: ignore[index]
    if stats.completion_tokens:
        assert found["prefill"] == pytest.approx(spent["prefill"], abs=1e-5)
        before = ("template", "tokenise", "prepare", "prefill", "first token")
        assert sum(found.get(name, 0.0) for name in before) == pytest.approx(stats.ttft_s, abs=1e-5)
    parts = [event.spent[0] or StepParts() for event in reply.tokens if event.times_s]
    assert sum(each.detokenise_s for each in parts) == pytest.approx(spent["detokenise"])
    if parts and fails_at == cancels_after == FOREVER:  # all but the step for the end of the turn
        last_s = spent["sampling"] - sum(each.sample_s for each in parts)
        assert min(costs_s) * 0.999 <= last_s <= max(costs_s) * 1.001
        decoded = sum(each.forward_s for each in parts)
        assert spent["first step"] + spent["decode"] - decoded <= max(costs_s) * 1.001
        assert found.get("send", 0.0) == pytest.approx(sum(each.send_s for each in parts[2:]), abs=1e-4)


@settings(max_examples=sized(10, 1000), deadline=None)
@given(
    costs_s=COSTS,
    length=st.integers(1, 8),
    rows=st.integers(1, 3),
    pauses_after=st.lists(st.integers(1, 24), max_size=4),
    ends_in_pause=st.integers(1, 4),
)
@example([0.25] * 7, 5, 2, [4], 1)
def test_the_parts_of_each_row_of_a_batch_add_up_to_its_whole_without_its_pauses(
    costs_s: list[float], length: int, rows: int, pauses_after: list[int], ends_in_pause: int
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        reply = TimedReply(
            patch,
            repeated(costs_s),
            length,
            rows=rows,
            pauses_after=pauses_after,
            ends_in_pause=ends_in_pause,
        )
    assert len(reply.stats) == rows
    for row, stats in reply.stats.items():
        assert stats.paused_s == pytest.approx(reply.paused[row])
        assert stats.total_s == pytest.approx(reply.ended[row] - 100.0 - reply.paused[row])
        recorded_s = sum(pause.seconds for each in reply.tokens if each.row == row for pause in each.pauses)
        assert recorded_s == pytest.approx(stats.paused_s)
        found = {part.name: part.seconds for part in parts_of(stats)}
        assert sum(found.values()) == pytest.approx(stats.total_s, rel=1e-4)
        assert found.get("other", 0.0) <= 0.02 * (stats.total_s or 0.0)


def test_a_step_is_the_mean_of_those_after_the_first_two_tokens(monkeypatch: pytest.MonkeyPatch) -> None:
    reply = TimedReply(monkeypatch, repeated([0.25]), 10)
    assert step_parts_of(reply.stats[0]) == [
        ("decode", 0.25),
        ("sampling", 0.25),
        ("detokenise", 0.25),
        ("send", 0.25),
    ]
    assert reply.stats[0].itl_p50_s == 1.0
    assert reply.stats[0].itl_p99_s == 1.0


def test_only_the_first_reply_after_a_load_counts_as_the_first(monkeypatch: pytest.MonkeyPatch) -> None:
    timeline = TimedReply(monkeypatch, repeated([0.25]), 4).stats[0].timeline
    assert timeline is not None
    assert timeline.is_first
    assert [chunk.tokens for chunk in timeline.chunks] == [256, 256, 87]
