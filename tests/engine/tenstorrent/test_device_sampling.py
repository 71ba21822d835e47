"""`[tt] sampling = "device"`: the card samples by the current parameters, from the right token on, in each generation."""

from __future__ import annotations

import json
import logging
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.engine.tenstorrent.fakes import s1, s4, s7
from tests.engine.tenstorrent.fakes.card import EVENTS, lasting
from tests.engine.tenstorrent.fakes.generator import NO_SAMPLER
from tests.engine.tenstorrent.fakes.installation import GENERATIONS, Installation
from tests.engine.tenstorrent.talk import (
    DRAWN,
    FIRST,
    GREEDY,
    SECOND,
    WORDY,
    anew,
    expected,
    load,
    prompt_ids,
    reply,
)
from ttchat_tui.domain.events import TokenEvent
from ttchat_tui.domain.generation import Candidate, GenerationControl, GenerationRequest
from ttchat_tui.domain.model_spec import Capabilities, TenstorrentOptions
from ttchat_tui.domain.sampling import SamplingParams
from ttchat_tui.engine.tenstorrent import families, package
from ttchat_tui.engine.tenstorrent.engine import TenstorrentEngine
from ttchat_tui.engine.tenstorrent.sampler_choice import choose_sampler

WITH_PARAMETERS = ("s4", "s5", "s6", "s7")
GREEDY_ONLY = ("s1", "s2", "s3")
REPETITION = msgspec.structs.replace(GREEDY, repetition_penalty=0.6)
PRESENCE = msgspec.structs.replace(GREEDY, presence_penalty=-2.0, frequency_penalty=-2.0)
"""Rewards rather than penalties: words repeat, so that a wrong count shows in the text."""
DEVICE = TenstorrentOptions(sampling="device")


@pytest.fixture
def installed(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Installation]:
    with Installation(request.param, tmp_path) as installation:
        yield installation


each = pytest.mark.parametrize("installed", GENERATIONS, indirect=True)
each_with_parameters = pytest.mark.parametrize("installed", WITH_PARAMETERS, indirect=True)
each_greedy = pytest.mark.parametrize("installed", GREEDY_ONLY, indirect=True)


# -- the text


@each
@pytest.mark.parametrize("trace", [True, False])
def test_turn_after_turn_the_card_gives_the_text_of_a_full_prefill_for_each_token(
    engine: TenstorrentEngine, installed: Installation, trace: bool
) -> None:
    wanted = [expected(installed, messages) for messages in (FIRST, SECOND)]
    load(engine, installed, sampling="device", trace=trace)
    said = [reply(engine, messages)[0] for messages in (FIRST, SECOND, FIRST)]
    assert said == [*wanted, wanted[0]]


@each_with_parameters
@pytest.mark.parametrize("sampling", [REPETITION, PRESENCE], ids=["repetition", "presence and frequency"])
def test_penalties_count_the_prompt_and_the_reply_but_not_earlier_replies(
    engine: TenstorrentEngine, installed: Installation, sampling: SamplingParams
) -> None:
    load(engine, installed, sampling="device")
    wanted = expected(installed, WORDY, sampling=lambda place: sampling)
    assert wanted != expected(installed, WORDY)
    reply(engine, FIRST, sampling)
    assert [reply(engine, WORDY, sampling)[0] for _ in range(2)] == [wanted] * 2


@each_with_parameters
@pytest.mark.parametrize("changed", [GREEDY, REPETITION, PRESENCE], ids=["greedy", "repetition", "presence"])
def test_changed_sampling_applies_from_the_next_token_with_the_whole_history(
    engine: TenstorrentEngine, installed: Installation, changed: SamplingParams
) -> None:
    load(engine, installed, sampling="device")
    changed = msgspec.structs.replace(changed, max_tokens=40)
    drawn = msgspec.structs.replace(DRAWN, max_tokens=40)
    reply(engine, FIRST, msgspec.structs.replace(PRESENCE, max_tokens=40))
    said = reply(engine, FIRST, drawn, change={10: changed})[0]
    assert said == expected(installed, FIRST, 40, lambda place: changed, said[:10])
    assert said != expected(installed, FIRST, 40)


@each_with_parameters
def test_a_seed_reproduces_its_reply_and_another_seed_gives_another(
    engine: TenstorrentEngine, installed: Installation
) -> None:
    load(engine, installed, sampling="device")
    seeds = (7, 8, 7 + 2**62)
    once = [reply(engine, FIRST, DRAWN, seed)[0] for seed in seeds]
    assert [reply(engine, FIRST, DRAWN, seed)[0] for seed in seeds] == once
    assert once[0] != once[1]


@each_with_parameters
def test_each_row_of_a_batch_is_the_reply_of_its_own_seed_and_sampling(
    engine: TenstorrentEngine, installed: Installation
) -> None:
    """Three rows of four: one is idle, and the rows end one after the other."""
    load(engine, installed, sampling="device")
    short = msgspec.structs.replace(DRAWN, max_tokens=5)
    rows = reply(
        engine, FIRST, DRAWN, 7, Candidate(seed=8, sampling=short), Candidate(seed=9, sampling=GREEDY)
    )
    assert rows == [
        reply(engine, FIRST, DRAWN, 7)[0],
        reply(engine, FIRST, DRAWN, 8)[0][:5],
        expected(installed),
    ]


@each_with_parameters
def test_every_token_is_among_the_32_most_probable_the_first_included(
    engine: TenstorrentEngine, installed: Installation
) -> None:
    load(engine, installed, sampling="device")
    wild = SamplingParams(temperature=2.0, top_k=0, top_p=1.0, max_tokens=20)
    prompt = prompt_ids(installed, FIRST)
    for seed in (1, 2, 3):
        said = reply(engine, FIRST, wild, seed)[0]
        places = [
            int((anew([*prompt, *said[:n]]) > anew([*prompt, *said[:n]])[token]).sum())
            for n, token in enumerate(said)
        ]
        assert max(places) < 32
        assert max(places) > 0


@each_with_parameters
def test_top_k_and_top_p_cut_on_the_card(engine: TenstorrentEngine, installed: Installation) -> None:
    load(engine, installed, sampling="device")
    for cut in ({"top_k": 1}, {"top_p": 0.0}):
        assert reply(engine, FIRST, msgspec.structs.replace(DRAWN, **cut))[0] == expected(installed, count=12)


@each_greedy
def test_up_to_s3_device_sampling_is_greedy_whatever_the_sliders_say(
    engine: TenstorrentEngine, installed: Installation
) -> None:
    info = load(engine, installed, sampling="device")
    assert reply(engine, FIRST, DRAWN)[0] == expected(installed, count=12)
    assert info.capabilities.sampling == {"max_tokens", "stop"}
    assert "most probable" in info.notes[0]


# -- the capabilities


@each_with_parameters
def test_the_load_notes_what_device_sampling_cannot_do(
    engine: TenstorrentEngine, installed: Installation
) -> None:
    info = load(engine, installed, sampling="device")
    every = Capabilities().sampling
    assert info.capabilities.sampling == every - {"min_p", "logit_bias"}
    assert not info.capabilities.logprobs
    assert '[tt] sampling = "host"' in info.capabilities.constraint_cure
    assert info.label.endswith("device sampling")
    assert "32" in info.notes[0]
    request = GenerationRequest(id=1, messages=FIRST, sampling=GREEDY, seed=1)
    events = engine.generate(request, GenerationControl(GREEDY))
    known = [len(event.logprobs) for event in events if isinstance(event, TokenEvent)]
    assert known == [1] + [0] * 23, "the first token is drawn from the prefill's logits"


@each
def test_by_default_the_host_samples(engine: TenstorrentEngine, installed: Installation) -> None:
    info = load(engine, installed)
    assert info.capabilities.sampling >= Capabilities().sampling
    assert info.capabilities.logprobs
    assert "host" not in info.capabilities.constraint_cure
    assert info.notes == ()


@pytest.mark.parametrize("installed", ["s4", "s5", "s6"], indirect=True)
def test_a_vocabulary_too_long_for_the_card_is_sampled_on_the_host_with_a_note(
    engine: TenstorrentEngine,
    installed: Installation,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setenv(NO_SAMPLER, "1")
    with caplog.at_level(logging.WARNING):
        info = load(engine, installed, sampling="device")
    assert "vocabulary" in info.notes[0]
    assert "vocabulary" in caplog.text
    assert info.capabilities.sampling >= Capabilities().sampling
    host = reply(engine, FIRST, DRAWN)
    load(engine, installed)
    assert reply(engine, FIRST, DRAWN) == host


@pytest.mark.parametrize("installed", ["s1", "s4", "s5", "s6"], indirect=True)
def test_the_host_samples_with_a_note_when_the_cards_sampler_fails(
    engine: TenstorrentEngine, installed: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As with S5's sources and a ttnn that is months newer: top-k refuses its arguments."""

    def refuse(*_: Any) -> None:
        raise RuntimeError(
            "TT_FATAL @ topk.cpp:499: shape\ninfo:\nIndices tensor has incorrect shape!\nbacktrace:\n x"
        )

    monkeypatch.setattr(families, "native_greedy", refuse)
    monkeypatch.setattr(families, "native_sampling", refuse)
    info = load(engine, installed, sampling="device")
    (note,) = info.notes
    assert "Indices tensor has incorrect shape" in note
    assert "host samples" in note
    assert "backtrace" not in note
    assert info.capabilities.sampling >= Capabilities().sampling
    assert reply(engine)[0] == expected(installed)
    assert EVENTS.count("trace 1") == 1
    notes = load(engine, installed, sampling="device", prefill_trace=True).notes
    assert not any("with sampling on the card" in each for each in notes)


def test_a_package_without_sampling_parameters_is_sampled_on_the_host(tmp_path: Path) -> None:
    with Installation("s7", tmp_path) as installed:
        (installed.site / "tt_transformers" / "sampling" / "sampling_params.py").unlink()
        engine = TenstorrentEngine()
        info = load(engine, installed, sampling="device")
        assert "no SamplingParams" in info.notes[0]
        assert reply(engine)[0] == expected(installed)
        engine.close()


def test_what_upstream_samples_on_the_host_is_sampled_there() -> None:
    model = types.SimpleNamespace(_supports_on_device_sampling=True)
    wish: dict[str, Any] = {"has_parameters": True, "label": "S4"}
    assert choose_sampler(DEVICE, s4, model, name="Llama-3.1-8B", **wish).kind is s4.SamplingParams
    refused = choose_sampler(DEVICE, s4, model, name="Mistral-7B-Instruct-v0.3", **wish)
    assert refused.kind is None
    assert "34763" in refused.notes[0]
    assert choose_sampler(DEVICE, types.SimpleNamespace(), model, name="x", **wish).kind is None
    assert choose_sampler(TenstorrentOptions(), s4, model, name="x", **wish).notes == ()


def test_a_model_that_does_not_declare_device_sampling_has_it_only_where_no_model_declares_it() -> None:
    silent = types.SimpleNamespace()
    assert (
        choose_sampler(DEVICE, s1, silent, name="x", has_parameters=False, label="S1").kind
        is s1.SamplingParams
    )
    assert choose_sampler(DEVICE, s4, silent, name="x", has_parameters=True, label="S4").kind is None


# -- the card


@each
def test_one_trace_at_a_time_is_recorded_and_released(
    engine: TenstorrentEngine, installed: Installation
) -> None:
    load(engine, installed, sampling="device")
    reply(engine, FIRST, DRAWN)
    reply(engine, SECOND, PRESENCE, 1, Candidate(seed=2), Candidate(seed=3))
    engine.unload()
    end = ["cleanup"] if installed.api == "package" else []
    assert lasting() == ["open", "trace", *end, "release", "synchronize", "close"]


def test_the_packages_older_executor_draws_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(s7, "ReloadingExecutor", s7.Executor)
    with Installation("s7", tmp_path) as installed:
        engine = TenstorrentEngine()
        load(engine, installed, sampling="device")
        changed = msgspec.structs.replace(PRESENCE, max_tokens=20)
        said = reply(engine, FIRST, DRAWN, change={5: changed})[0]
        assert said == expected(installed, FIRST, 20, lambda place: changed, said[:5])
        assert reply(engine, SECOND)[0] == expected(installed, SECOND)
        engine.close()


Flags = Callable[[Any, families.Step], dict[str, Any]]


def forgets(name: str) -> Flags:
    """The flag is always false."""

    def flags(model: Any, step: families.Step) -> dict[str, Any]:
        return {**type(model)._right(model, step), name: False}

    return flags


def always(name: str) -> Flags:
    """The flag is always true."""

    def flags(model: Any, step: families.Step) -> dict[str, Any]:
        return {**type(model)._right(model, step), name: True}

    return flags


def without(*names: str) -> Flags:
    def flags(model: Any, step: families.Step) -> dict[str, Any]:
        return {k: v for k, v in type(model)._right(model, step).items() if k not in names}

    return flags


def keeps_page_table(model: Any, step: families.Step) -> dict[str, Any]:
    before = model._generator.prev_page_table
    flags: dict[str, Any] = type(model)._right(model, step)
    model._generator.prev_page_table = before
    return flags


WRONG: list[tuple[str, type[Any], Flags]] = [
    ("s3", families.PageTableModel, keeps_page_table),
    ("s4", families.LegacyResetModel, keeps_page_table),
    ("s4", families.LegacyResetModel, forgets("reset_batch")),
    ("s4", families.LegacyResetModel, always("reset_batch")),
    ("s4", families.LegacyResetModel, without("reset_batch")),
    ("s4", families.LegacyResetModel, without("output_tokens")),
    ("s4", families.LegacyResetModel, without("prompt_tokens")),
    ("s5", families.ResetModel, forgets("reset_batch")),
    ("s5", families.ResetModel, always("reset_batch")),
    ("s5", families.ResetModel, without("output_tokens")),
    ("s5", families.ResetModel, without("prompt_tokens")),
    ("s6", families.ContractModel, forgets("reload_inputs")),
    ("s6", families.ContractModel, forgets("reload_sampling_params")),
    ("s6", families.ContractModel, forgets("reset_sampling_state")),
    ("s6", families.ContractModel, always("reload_page_table")),
    ("s6", families.ContractModel, always("reset_sampling_state")),
    ("s6", families.ContractModel, without("reload_page_table")),
    ("s6", families.ContractModel, without("output_tokens")),
    ("s6", families.ContractModel, without("prompt_tokens")),
]


@pytest.mark.parametrize(
    "name", ["reload_inputs", "reload_sampling_params", "reset_sampling_state", "reset_batch"]
)
def test_a_forgotten_flag_of_the_package_is_detected(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """Newer executors have three flags, older ones one."""
    if name == "reset_batch":
        monkeypatch.setattr(s7, "ReloadingExecutor", s7.Executor)
    right = package.ExecutorModel._drawn_flags
    monkeypatch.setattr(
        package.ExecutorModel,
        "_drawn_flags",
        lambda model, is_first, is_anew: {**right(model, is_first, is_anew), name: False},
    )
    said, wanted = _conversation(tmp_path, "s7")
    assert said != wanted


@pytest.mark.parametrize(
    ("generation", "family", "flags"), WRONG, ids=lambda value: getattr(value, "__qualname__", str(value))
)
def test_a_wrong_flag_is_detected(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    generation: str,
    family: type[Any],
    flags: Flags,
) -> None:
    """With any one flag of a family wrong, the replies above change or the generation raises."""
    monkeypatch.setattr(family, "_right", family._flags, raising=False)
    monkeypatch.setattr(family, "_flags", flags)
    said, wanted = _conversation(tmp_path, generation)
    assert said != wanted


@pytest.mark.parametrize("installed", ["s4"], indirect=True)
def test_suppressed_tokens_are_never_drawn_by_the_host_and_noted_where_the_card_draws(
    engine: TenstorrentEngine, installed: Installation
) -> None:
    load(engine, installed)
    plain = {*reply(engine)[0]}
    file = installed.checkpoint / "generation_config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "suppress_tokens": [*plain]}))
    assert not any("suppresses" in note for note in load(engine, installed).notes)
    assert not plain & {*reply(engine)[0]}
    assert any("suppresses" in note for note in load(engine, installed, sampling="device").notes)


def _conversation(folder: Path, generation: str) -> tuple[list[Any], list[Any]]:
    """Replies of every kind, or why there are none; and the expected ones."""
    with Installation(generation, folder) as installed:
        turns = (FIRST, SECOND, FIRST)  # The third compiles nothing, so that the trace is not recorded anew.
        wanted = [expected(installed, messages) for messages in turns]
        engine = TenstorrentEngine()
        try:
            info = load(engine, installed, sampling="device")
            if "is not possible" in info.notes[0]:
                return [info.notes[0]], wanted
            said = [reply(engine, messages)[0] for messages in turns]
            for penalty in (REPETITION, PRESENCE) if generation in WITH_PARAMETERS else ():
                said += [reply(engine, WORDY, penalty)[0] for _ in range(2)]
                wanted += [expected(installed, WORDY, sampling=lambda place, p=penalty: p)] * 2
                changed = reply(engine, FIRST, DRAWN, change={4: penalty})[0]
                said.append(changed)
                wanted.append(expected(installed, FIRST, 24, lambda place, p=penalty: p, changed[:4]))
        except Exception as error:
            return [str(error)], wanted
        finally:
            engine.close()
        return said, wanted
