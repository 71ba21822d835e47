"""`[tt] prefill_trace`: the prefill of short prompts is recorded where the generation can, and the text stays the same."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import msgspec
import pytest

from tests.engine.tenstorrent.fakes.card import EVENTS, Transformer, lasting, misuses
from tests.engine.tenstorrent.fakes.generator import ModelArgs
from tests.engine.tenstorrent.fakes.installation import Installation
from tests.engine.tenstorrent.talk import GREEDY, expected, load, reply
from ttchat_tui.domain.chat import ChatMessage
from ttchat_tui.domain.generation import Candidate
from ttchat_tui.domain.model_spec import EngineInfo
from ttchat_tui.engine.tenstorrent.engine import TenstorrentEngine

ONE: Final = msgspec.structs.replace(GREEDY, max_tokens=1)
"""No decode step: the only token is of the prefill's logits."""


def words(count: int) -> tuple[ChatMessage, ...]:
    return (ChatMessage("user", "word " * count),)


SHORT, LONGER = words(9), words(600)
"""Prompts padded to 128 and to 1,024 positions, which upstream records on most cards."""


@pytest.fixture(params=["s4", "s5", "s6"])
def installed(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Installation]:
    with Installation(request.param, tmp_path) as installation:
        yield installation


@pytest.fixture
def only_128(monkeypatch: pytest.MonkeyPatch) -> None:
    """A card on which upstream records nothing else."""
    monkeypatch.setattr(ModelArgs, "can_enable_trace", lambda self, length, cached=0: length == 128)


@pytest.fixture
def engine(installed: Installation) -> Iterator[TenstorrentEngine]:
    engine = TenstorrentEngine()
    info = load(engine, installed, prefill_trace=True)
    assert info.notes == ()
    yield engine
    engine.close()


@pytest.fixture
def replayed(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The traces that are replayed, in order."""
    traces: list[int] = []
    run_trace = Transformer.run_trace

    def noted(self: Transformer, trace: int) -> None:
        traces.append(trace)
        run_trace(self, trace)

    monkeypatch.setattr(Transformer, "run_trace", noted)
    return traces


def recorded() -> int:
    return sum(event.startswith("trace ") for event in EVENTS)


def test_a_short_prompt_is_replayed_and_continues_like_a_full_prefill_for_each_token(
    engine: TenstorrentEngine, installed: Installation, replayed: list[int]
) -> None:
    for turn in (SHORT, words(70), LONGER, words(720), SHORT):
        replayed.clear()
        before = recorded()
        assert reply(engine, turn, ONE)[0] == expected(installed, turn, 1)
        assert len(replayed) == 1
        assert reply(engine, turn)[0] == expected(installed, turn)
        assert recorded() == before
    assert not misuses()


@pytest.mark.usefixtures("only_128")
def test_prompts_of_other_lengths_are_not_and_what_they_compile_has_everything_recorded_anew(
    engine: TenstorrentEngine, installed: Installation, replayed: list[int]
) -> None:
    replayed.clear()
    before = recorded()
    assert reply(engine, LONGER, ONE)[0] == expected(installed, LONGER, 1)
    assert replayed == []
    for turn in (LONGER, SHORT, words(500), SHORT, SHORT):
        assert reply(engine, turn)[0] == expected(installed, turn)
    assert recorded() - before == 4  # The step and the short prefill, after each of two.
    assert not misuses()


@pytest.mark.usefixtures("only_128")
def test_a_prefill_is_not_replayed_over_the_programs_of_a_reply_without_steps(
    engine: TenstorrentEngine, installed: Installation
) -> None:
    for count in (300, 400, 500):
        reply(engine, words(count), ONE)
        assert reply(engine, SHORT, ONE)[0] == expected(installed, SHORT, 1)
    assert not misuses()


def test_every_row_of_a_batch_is_replayed(
    engine: TenstorrentEngine, installed: Installation, replayed: list[int]
) -> None:
    replayed.clear()
    rows = reply(engine, SHORT, ONE, 1, Candidate(seed=2), Candidate(seed=3))
    assert rows == [expected(installed, SHORT, 1)] * 3
    assert len(replayed) == 3


def test_a_load_compiles_before_it_records(engine: TenstorrentEngine) -> None:
    assert (
        recorded() == 2 + 2 + 2
    )  # The two prefills and the step: once to compile what the recording needs, once to stay.


def test_a_prefill_behind_a_cached_prefix_is_not_recorded(tmp_path: Path) -> None:
    with Installation("s6", tmp_path) as installed:
        engine = TenstorrentEngine()
        load(engine, installed, prefill_trace=True, kv_reuse=True)
        reply(engine, LONGER, cached=[])
        before, cached = recorded(), list[int]()
        turns = (*LONGER, ChatMessage("assistant", " buli"), *SHORT)
        assert reply(engine, turns, cached=cached)[0] == expected(installed, turns)
        assert cached[0] > 0
        assert recorded() == before
        engine.close()


def test_an_unload_releases_every_trace(engine: TenstorrentEngine) -> None:
    reply(engine, LONGER)
    reply(engine, SHORT)
    engine.unload()
    assert not misuses()
    assert sum(event.startswith("release ") for event in EVENTS) == recorded()


def test_by_default_no_prefill_is_recorded(installed: Installation, replayed: list[int]) -> None:
    engine = TenstorrentEngine()
    load(engine, installed)
    assert lasting() == ["open", "trace"]
    replayed.clear()
    reply(engine, SHORT, ONE)
    assert replayed == []
    engine.close()


def with_prefill_trace(installed: Installation, **options: Any) -> EngineInfo:
    """Load and close; the text must be right, and no prefill may be recorded."""
    engine = TenstorrentEngine()
    info = load(engine, installed, prefill_trace=True, **options)
    assert reply(engine, SHORT)[0] == expected(installed, SHORT)
    engine.close()
    assert not misuses()
    return info


@pytest.mark.parametrize(("generation", "reason"), [("s1", "2025-12"), ("s3", "2025-12"), ("s7", "refuses")])
def test_a_generation_that_cannot_record_prefill_says_so(
    tmp_path: Path, generation: str, reason: str
) -> None:
    with Installation(generation, tmp_path) as installed:
        (note,) = with_prefill_trace(installed).notes
    assert note.startswith("[tt] prefill_trace has no effect: ")
    assert reason in note


def test_without_a_trace_of_the_step_none_of_prefill_is_recorded(installed: Installation) -> None:
    (note,) = with_prefill_trace(installed, trace=False).notes
    assert "[tt] trace is off" in note
    assert recorded() == 0


def test_a_card_that_samples_records_no_prefill(installed: Installation) -> None:
    """A replay would write over the step's inputs, which only the card has then."""
    _, note = with_prefill_trace(installed, sampling="device").notes
    assert "sampling on the card" in note


def test_a_model_for_which_upstream_records_no_prefill_is_named(
    installed: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ModelArgs, "can_enable_trace", lambda *_: False)
    (note,) = with_prefill_trace(installed).notes
    assert "no prefill of Llama-3.2-1B-Instruct on this card" in note
