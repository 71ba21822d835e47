"""Models outside our families run through transformers behind the same stepper."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
import torch

from tests.engine.cpu.tiny_models import VOCAB, build, save
from tests.engine.engine_subject import Subject
from tests.engine.recorded_subject import fork_holds, recording_holds
from ttchat_tui.domain.chat import ChatMessage
from ttchat_tui.domain.events import GenerationFinished, GenerationStarted, TokenEvent
from ttchat_tui.domain.generation import Forced, GenerationControl, GenerationRequest
from ttchat_tui.domain.logit_bias import BAN, text_of
from ttchat_tui.domain.model_spec import CpuOptions, ModelSpec
from ttchat_tui.domain.recording import listed
from ttchat_tui.domain.sampling import SamplingParams
from ttchat_tui.engine.base import ModelLoadError
from ttchat_tui.engine.cpu.auto_model import AutoStepper, load_auto_model
from ttchat_tui.engine.cpu.engine import CpuEngine
from ttchat_tui.engine.decoding.loop import PrefillAborted


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save(build("gpt2"), tmp_path_factory.mktemp("gpt2"))


@pytest.fixture(scope="module")
def oracle() -> Any:
    ids = torch.randint(0, VOCAB, (120,), generator=torch.Generator().manual_seed(3)).tolist()
    with torch.inference_mode():
        return ids, build("gpt2")(torch.tensor([ids])).logits[0].numpy()


def go_on(_done: int, _total: int) -> bool:
    return True


def stepper(folder: Path) -> AutoStepper:
    return load_auto_model(folder)[0]


def test_logits_are_those_of_one_whole_forward(folder: Path, oracle: Any) -> None:
    ids, expected = oracle
    auto = stepper(folder)
    np.testing.assert_allclose(auto.prefill(ids[:50], go_on), expected[49], atol=1e-4)
    for position in range(50, 60):
        np.testing.assert_allclose(auto.step(ids[position]), expected[position], atol=1e-4)
    np.testing.assert_allclose(auto.prefill(ids, go_on), expected[-1], atol=1e-4)


def test_a_cache_that_was_cut_back_agrees(folder: Path, oracle: Any) -> None:
    ids, expected = oracle
    auto = stepper(folder)
    auto.prefill([*ids[:70], 1, 2, 3], go_on)
    assert auto.cached_prefix(ids) == 70
    np.testing.assert_allclose(auto.prefill(ids, go_on), expected[-1], atol=1e-4)
    auto.reset()
    assert auto.cached_prefix(ids) == 0
    np.testing.assert_allclose(auto.prefill(ids[:9], go_on), expected[8], atol=1e-4)


def test_an_aborted_prefill_keeps_what_it_computed(folder: Path) -> None:
    auto = stepper(folder)
    with pytest.raises(PrefillAborted):
        auto.prefill(range(100), lambda _done, _total: False)
    assert auto.cached_prefix(range(100)) == 99


def test_the_engine_runs_it_and_says_how(folder: Path) -> None:
    engine = CpuEngine()
    info = engine.load(
        ModelSpec(name="tiny", path=str(folder), options=CpuOptions(threads=1)), lambda _progress: None
    )
    assert info.label == "cpu transformers fp32"
    assert (info.context_length, info.vocab_size) == (256, VOCAB)
    assert any("'gpt2'" in note for note in info.notes)
    sampling = SamplingParams(temperature=0.0, max_tokens=8)
    messages: tuple[ChatMessage, ...] = (ChatMessage("user", "hello"),)
    prompts: list[GenerationStarted] = []
    for turn in range(2):
        text = ""
        request = GenerationRequest(id=turn, messages=messages, sampling=sampling, seed=0)
        for event in engine.generate(request, GenerationControl(sampling)):
            if isinstance(event, GenerationStarted):
                prompts.append(event)
            if isinstance(event, TokenEvent | GenerationFinished):
                text += event.text
        messages = (*messages, ChatMessage("assistant", text), ChatMessage("user", "go on"))
    assert prompts[1].cached_tokens > prompts[0].prompt_tokens
    pause_and_choose(engine, sampling)


def pause_and_choose(engine: CpuEngine, sampling: SamplingParams) -> None:
    """It pauses, steps, and takes bans and the user's tokens as the other paths do."""
    request = GenerationRequest(
        id=9, messages=(ChatMessage("user", "hello"),), sampling=sampling, seed=0, record="full"
    )
    said = [
        event
        for event in engine.generate(request, GenerationControl(sampling))
        if isinstance(event, TokenEvent)
    ]
    first, other = said[0].token_ids[0], listed(said[0].distributions[0].alternatives)[5].token_id  # type: ignore[union-attr]
    control = GenerationControl(sampling)
    control.pause()
    control.step()
    ids: list[int] = []
    for event in engine.generate(request, control):
        if not isinstance(event, TokenEvent):
            continue
        if event.replaces is not None:
            ids.pop()
        ids += event.token_ids
        if len(ids) == 1 and event.replaces is None:
            control.force(Forced(other, instead_of=0))
            bias = {text_of(said[0].pieces[first]): BAN}
            control.set_sampling(msgspec.structs.replace(sampling, logit_bias=bias))
            control.resume()
    assert ids[0] == other
    assert len(ids) == 8
    assert first not in ids


def test_a_rope_scaling_that_our_forward_lacks_runs_through_transformers(tmp_path: Path) -> None:
    model, folder, engine = "llama-dynamic-rope", save(build("llama-dynamic-rope"), tmp_path), CpuEngine()
    info = engine.load(
        ModelSpec(name="tiny", path=str(folder), options=CpuOptions(threads=1)), lambda _progress: None
    )
    assert info.label == "cpu transformers fp32"
    assert any("'dynamic' rope scaling" in note for note in info.notes)
    assert not info.is_speculating
    engine.close()
    ids = [n * 7 % VOCAB for n in range(90)]
    with torch.inference_mode():
        expected = build(model)(torch.tensor([ids])).logits[0, -1].numpy()
    np.testing.assert_allclose(stepper(folder).prefill(ids, go_on), expected, atol=1e-4)


@pytest.mark.parametrize("model", ["gpt2", "llama"])
def test_recordings_and_forks_through_transformers_and_in_float32(model: str, tmp_path: Path) -> None:
    spec = ModelSpec(
        name="tiny",
        path=str(save(build(model), tmp_path)),
        options=CpuOptions(threads=1, precision="fp32"),
    )
    subject = Subject(CpuEngine(), spec, None, late=0)
    assert subject.loaded().label == ("cpu fp32" if model == "llama" else "cpu transformers fp32")
    recording_holds(subject)
    fork_holds(subject)
    subject.engine.close()


def test_a_reply_can_be_cancelled(folder: Path) -> None:
    engine, sampling = CpuEngine(), SamplingParams(temperature=0.0, max_tokens=50)
    engine.load(
        ModelSpec(name="tiny", path=str(folder), options=CpuOptions(threads=1)), lambda _progress: None
    )
    control = GenerationControl(sampling)
    request = GenerationRequest(id=1, messages=(ChatMessage("user", "hello"),), sampling=sampling, seed=0)
    tokens = 0
    for event in engine.generate(request, control):
        if isinstance(event, TokenEvent):
            tokens += 1
            control.cancel()
        if isinstance(event, GenerationFinished):
            assert event.reason == "cancelled"
    assert tokens == 1


def test_other_precisions_are_refused(folder: Path) -> None:
    with pytest.raises(ModelLoadError, match="f16"):
        CpuEngine().load(
            ModelSpec(name="tiny", path=str(folder), options=CpuOptions(precision="f16")),
            lambda _progress: None,
        )


def test_a_model_that_transformers_does_not_know_is_refused_with_a_sentence(
    folder: Path, tmp_path: Path
) -> None:
    for file in folder.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "no-such-model"}))
    with pytest.raises(ModelLoadError, match="no-such-model"):
        CpuEngine().load(ModelSpec(name="tiny", path=str(tmp_path)), lambda _progress: None)
