"""Speculation with a tiny model: the same ids as without, in fewer forwards. For real weights see `test_accuracy`."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import pytest

from tests.engine.cpu.tiny_models import build, save
from ttchat_tui.domain.chat import ChatMessage
from ttchat_tui.domain.events import EngineEvent, GenerationFinished, TokenEvent
from ttchat_tui.domain.generation import GenerationControl, GenerationRequest, GenerationStats
from ttchat_tui.domain.model_spec import CpuOptions, ModelSpec
from ttchat_tui.domain.sampling import SamplingParams
from ttchat_tui.engine.base import ModelLoadError
from ttchat_tui.engine.cpu.engine import CpuEngine
from ttchat_tui.engine.cpu.loading import LoadedModel, load_model
from ttchat_tui.engine.decoding.loop import Stepper
from ttchat_tui.engine.decoding.responder import Responder


def loaded(path: Path, precision: Any = "fp32", speculation: Any = "auto") -> LoadedModel:
    # One thread: with two, the barriers of OpenMP collapse where other tests run beside this one.
    spec = ModelSpec(
        name="model",
        path=str(path),
        options=CpuOptions(precision=precision, threads=1, speculation=speculation),
    )
    return load_model(spec, lambda _progress: None)


def reply(
    model: LoadedModel, stepper: Stepper, text: str, temperature: float, tokens: int
) -> tuple[list[int], GenerationStats]:
    """Ids and figures of a reply whose prompt is computed as a whole."""
    model.stepper.prefill([0], lambda _done, _total: True)
    responder = Responder(
        tokenizer=model.tokenizer,
        template=model.template,
        context_length=model.context_length,
        stepper=stepper,
    )
    sampling = SamplingParams(temperature=temperature, top_k=40, top_p=0.95, max_tokens=tokens)
    messages = (ChatMessage("user", text),)
    request = GenerationRequest(id=1, messages=messages, sampling=sampling, seed=11)
    events: list[EngineEvent] = list(responder.generate(request, GenerationControl(sampling)))
    assert isinstance(events[-1], GenerationFinished)
    return [i for event in events if isinstance(event, TokenEvent) for i in event.token_ids], events[-1].stats


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save(build("llama"), tmp_path_factory.mktemp("llama"))


def test_switched_off_it_counts_no_forwards(tiny: Path) -> None:
    model = loaded(tiny, speculation="off")
    assert model.lookup is None
    _, stats = reply(model, model.stepper, "hello", 0.0, 20)
    assert stats.decode_forwards is None


def test_the_engine_says_whether_it_speculates_and_counts_forwards(tiny: Path) -> None:
    engine = CpuEngine()
    spec = ModelSpec(name="model", path=str(tiny), options=CpuOptions(threads=1, precision="fp32"))
    assert engine.load(spec, lambda _progress: None).is_speculating
    sampling = SamplingParams(temperature=0.0, max_tokens=10)
    request = GenerationRequest(id=1, messages=(ChatMessage("user", "hello"),), sampling=sampling, seed=1)
    *_, last = engine.generate(request, GenerationControl(sampling))
    assert isinstance(last, GenerationFinished)
    assert last.stats.decode_forwards is not None
    assert 0 < last.stats.decode_forwards < 10


def test_each_token_says_whether_a_forward_was_its_own(tiny: Path) -> None:
    engine = CpuEngine()
    engine.load(
        ModelSpec(name="model", path=str(tiny), options=CpuOptions(threads=1, precision="fp32")),
        lambda _progress: None,
    )
    sampling = SamplingParams(temperature=0.0, max_tokens=200)
    request = GenerationRequest(id=1, messages=(ChatMessage("user", "hello"),), sampling=sampling, seed=1)
    events = list(engine.generate(request, GenerationControl(sampling)))
    tokens = [event for event in events if isinstance(event, TokenEvent)]
    assert isinstance(last := events[-1], GenerationFinished)
    assert last.stats.decode_forwards is not None
    assert sum(not any(event.drafted) for event in tokens) == 1 + last.stats.decode_forwards


def test_a_tiny_model_that_repeats_itself_takes_fewer_forwards(
    tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Random weights fall into a loop greedily, which is the most that a draft can win; every forward takes a second."""
    model = loaded(tiny)
    assert model.lookup is not None
    monkeypatch.setattr(model.lookup, "_clock", itertools.count().__next__)
    plain, _ = reply(model, model.stepper, "hello", 0.0, 200)
    same, stats = reply(model, model.lookup, "hello", 0.0, 200)
    assert same == plain
    assert stats.decode_forwards is not None
    assert stats.decode_forwards < 150


@pytest.mark.parametrize("precision", ["bf16", "int8", "int4"])
def test_formats_that_round_activations_to_bfloat16_are_not_speculated_on(tiny: Path, precision: str) -> None:
    try:
        model = loaded(tiny, precision)
    except ModelLoadError:
        pytest.skip(f"no {precision} kernel here")
    assert model.lookup is None
