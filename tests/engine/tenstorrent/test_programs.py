"""Programs that are compiled after the trace was recorded: none is overwritten by a replay, and nothing is recorded in vain."""

from __future__ import annotations

import types
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, TypeAlias

import msgspec
import pytest

from tests.engine.tenstorrent.fakes.card import CHUNK, EVENTS, FakeMesh, lasting, misuses
from tests.engine.tenstorrent.fakes.installation import GENERATIONS, Installation
from tests.engine.tenstorrent.talk import GREEDY, expected, load, prompt_ids, reply
from tests.size import sized
from ttchat_tui.domain.chat import ChatMessage
from ttchat_tui.domain.events import GenerationFinished, TokenEvent
from ttchat_tui.domain.generation import Candidate, GenerationControl, GenerationRequest
from ttchat_tui.domain.sampling import SamplingParams
from ttchat_tui.domain.timeline import Timeline
from ttchat_tui.engine.tenstorrent.engine import TenstorrentEngine
from ttchat_tui.engine.tenstorrent.families import release_traces

TRACED = tuple(generation for generation in GENERATIONS if generation != "s7")
"""S7 refuses to compile anything once its trace is recorded."""

Conversation: TypeAlias = tuple[ChatMessage, ...]
_AROUND: Final = 23
"""Tokens of the template around a message of one-token words."""


def words(length: int) -> Conversation:
    """A prompt of so many tokens."""
    return (ChatMessage("user", " ".join(["word"] * (length - _AROUND))),)


@pytest.fixture(params=TRACED)
def installed(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Installation]:
    with Installation(request.param, tmp_path, {CHUNK: "512"}) as installation:
        yield installation


@pytest.fixture(params=["host", "device"])
def engine(installed: Installation, request: pytest.FixtureRequest) -> Iterator[TenstorrentEngine]:
    engine = TenstorrentEngine()
    load(engine, installed, sampling=request.param)
    yield engine
    engine.close()


def programs(engine: TenstorrentEngine) -> int:
    assert engine._loaded is not None
    count: int = engine._loaded.card.mesh.device.num_program_cache_entries()
    return count


def recorded() -> int:
    return sum(event.startswith("trace ") for event in EVENTS)


@pytest.mark.parametrize("length", sized([33, 129, 513], [24, 32, 33, 128, 129, 256, 257, 512, 513, 900]))
def test_a_prompt_of_any_length_continues_like_a_full_prefill_for_each_token(
    engine: TenstorrentEngine, installed: Installation, length: int
) -> None:
    """Each side of a tile, a bucket and a chunk."""
    turn = words(length)
    assert len(prompt_ids(installed, turn)) == length
    for _ in range(2):
        assert reply(engine, turn)[0] == expected(installed, turn)
    assert not misuses()


def test_the_step_is_recorded_anew_if_and_only_if_a_prompt_compiled_something(
    engine: TenstorrentEngine, installed: Installation
) -> None:
    short = msgspec.structs.replace(GREEDY, max_tokens=9)
    for length in (40, 40, 220, 221, 600, 220, 24, 40):
        before, traces = programs(engine), recorded()
        timeline = timed(engine, words(length), short)
        compiles = programs(engine) > before
        assert recorded() - traces == compiles
        assert cold_work(timeline) == (["compile", "trace"] if compiles else ["", ""])
        before, traces = programs(engine), recorded()
        assert cold_work(timed(engine, words(length), short)) == ["", ""]
        assert (programs(engine), recorded()) == (before, traces)
    assert lasting() == ["open", "trace"]


@pytest.mark.parametrize("generation", GENERATIONS)
def test_without_a_trace_each_generation_says_what_it_compiled(generation: str, tmp_path: Path) -> None:
    short = msgspec.structs.replace(GREEDY, max_tokens=3)
    with Installation(generation, tmp_path, {CHUNK: "512"}) as installation:
        engine = TenstorrentEngine()
        load(engine, installation, trace=False)
        seen: list[bool] = []
        for length in (600, 600, 40, 40):
            before = programs(engine)
            works = cold_work(timed(engine, words(length), short))
            assert any(works) == (programs(engine) > before)
            assert set(works) <= {"", "compile"}
            seen.append(any(works))
        assert seen[:2] == [True, False]
        assert not seen[3]
        engine.close()


def timed(engine: TenstorrentEngine, turn: Conversation, sampling: SamplingParams) -> Timeline:
    request = GenerationRequest(id=1, messages=turn, sampling=sampling, seed=1)
    *_, last = engine.generate(request, GenerationControl(sampling))
    assert isinstance(last, GenerationFinished)
    assert last.stats.timeline is not None
    return last.stats.timeline


def cold_work(timeline: Timeline) -> list[str]:
    """Of prefill, which is one call on a card, and of the first step."""
    assert timeline.first_step is not None
    return [*(chunk.work for chunk in timeline.chunks), timeline.first_step.work]


def test_a_batch_records_the_step_once_for_all_of_its_rows(
    engine: TenstorrentEngine, installed: Installation
) -> None:
    traces = recorded()
    rows = reply(engine, words(200), GREEDY, 1, Candidate(seed=2), Candidate(seed=3))
    assert rows == [expected(installed, words(200))] * 3
    assert recorded() - traces == 1
    assert not misuses()


def test_a_program_that_is_compiled_in_mid_reply_changes_nothing(
    engine: TenstorrentEngine, installed: Installation
) -> None:
    request = GenerationRequest(id=1, messages=words(40), sampling=GREEDY, seed=1)
    said: list[int] = []
    traces = recorded()
    for event in engine.generate(request, GenerationControl(GREEDY)):
        if isinstance(event, TokenEvent):
            said.extend(event.token_ids)
            if len(said) == 5:
                assert engine._loaded is not None
                engine._loaded.card.mesh.device.compile("late")
    assert said == expected(installed, words(40))
    assert recorded() - traces == 1
    assert not misuses()


@pytest.mark.parametrize("suffix", ["text", "decode"])
@pytest.mark.parametrize("is_there_from_the_start", [True, False])
def test_nothing_of_a_released_trace_is_kept(suffix: str, is_there_from_the_start: bool) -> None:
    """Its buffers would take memory, and a generation that finds them would not record."""
    generator = types.SimpleNamespace(model=[], model_args=[types.SimpleNamespace(mesh_device="mesh")])
    held: dict[Any, Any] = {True: {0: 7}} if is_there_from_the_start else {0: 7}
    for name in (f"trace_ids_{suffix}", f"trace_inputs_{suffix}", f"trace_output_{suffix}"):
        setattr(generator, name, defaultdict(lambda: None, held) if is_there_from_the_start else dict(held))
    generator._prepared_decode_traces = {"key": "buffers"}
    released: list[tuple[str, int]] = []
    release_traces(generator, lambda mesh, trace: released.append((mesh, trace)))
    assert released == [("mesh", 7)]
    left = {name: value for name, value in vars(generator).items() if "trace" in name}
    assert not any(left.values())
    assert (f"trace_ids_{suffix}" in left) == is_there_from_the_start


def test_a_load_compiles_what_short_prompts_need(engine: TenstorrentEngine) -> None:
    before = programs(engine)
    for length in (24, 64, 65, 128, 1000):
        reply(engine, words(length))
    assert programs(engine) == before


def test_without_the_count_a_replay_overwrites_a_program(
    installed: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The scripted card finds it: this is what the tests above are worth."""
    monkeypatch.setattr(FakeMesh, "num_program_cache_entries", lambda mesh: 0)
    engine = TenstorrentEngine()
    load(engine, installed)
    assert reply(engine, words(200))[0] != expected(installed, words(200))
    assert misuses()
    engine.close()
