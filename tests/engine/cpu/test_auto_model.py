"""Models outside our families run through transformers behind the same stepper."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.engine.cpu.tiny_models import VOCAB, build, random_model, save
from tests.engine.engine_subject import Subject
from tests.engine.recorded_subject import fork_holds, recording_holds
from tests.late_transformers import from_transformers
from tests.size import IS_NIGHTLY
from ttchat_tui.domain.chat import ChatMessage
from ttchat_tui.domain.events import GenerationFinished, GenerationStarted, TokenEvent
from ttchat_tui.domain.generation import Forced, GenerationControl, GenerationRequest
from ttchat_tui.domain.logit_bias import BAN, text_of
from ttchat_tui.domain.model_spec import CpuOptions, ModelSpec
from ttchat_tui.domain.recording import listed
from ttchat_tui.domain.sampling import SamplingParams
from ttchat_tui.engine.base import ModelLoadError
from ttchat_tui.engine.cpu.checkpoints.checkpoint import TEXT_ONLY
from ttchat_tui.engine.cpu.engine import CpuEngine
from ttchat_tui.engine.decoding.loop import PrefillAborted

if TYPE_CHECKING:
    from ttchat_tui.engine.cpu.auto_model import AutoModel, AutoStepper


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


def loaded_auto(folder: Path) -> AutoModel:
    from ttchat_tui.engine.cpu.auto_model import load_auto_model  # with transformers

    return load_auto_model(folder)


def stepper(folder: Path) -> AutoStepper:
    return loaded_auto(folder).stepper


def stepper_over(model: Any) -> AutoStepper:
    from ttchat_tui.engine.cpu.auto_model import AutoStepper  # with transformers

    return AutoStepper(model)


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


def test_the_threads_are_chosen_before_each_forward_by_its_rows(folder: Path, oracle: Any) -> None:
    own, rows = stepper(folder), list[int]()
    own.before_forward = rows.append
    own.prefill(oracle[0][:7], go_on)
    own.step(1)
    own.prefill(oracle[0], go_on)
    assert rows == [7, 1, len(oracle[0]) - 7]


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


_SMALL: dict[str, Any] = {
    "vocab_size": VOCAB, "hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2,
    "num_key_value_heads": 1,
}  # fmt: skip
_SSM: dict[str, Any] = {"mamba_n_heads": 2, "mamba_d_head": 32, "mamba_n_groups": 1, "mamba_d_state": 4}
RECURRENT: dict[str, tuple[dict[str, Any], str]] = {
    "Lfm2": ({**_SMALL, "layer_types": ["conv", "full_attention"]}, "chunks"),
    "Bamba": ({**_SMALL, **_SSM, "attn_layer_indices": [1]}, "chunks"),
    "Mamba": ({"vocab_size": VOCAB, "hidden_size": 16, "num_hidden_layers": 2, "state_size": 4}, "steps"),
    "FalconMamba": ({"vocab_size": VOCAB, "hidden_size": 16, "num_hidden_layers": 2, "state_size": 4}, "steps"),
    "RecurrentGemma": (
        {"vocab_size": VOCAB, "hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 3, "num_attention_heads": 2, "lru_width": 32, "attention_window_size": 64},
        "steps",
    ),
}  # fmt: skip
"""With layers whose state cannot be cut, and what their caches can do."""


@pytest.mark.parametrize("family", list(RECURRENT))
def test_models_with_a_state_that_cannot_be_cut_are_computed_anew_where_a_prompt_differs(family: str) -> None:
    config, continuation = RECURRENT[family]
    torch.manual_seed(5)
    model = random_model(family, **config).float().eval()
    auto = stepper_over(model)
    assert (auto.keeps_prefixes, auto._use.continuation) == (False, continuation)  # pyright: ignore[reportPrivateUsage]
    ids = torch.randint(0, VOCAB, (300,), generator=torch.Generator().manual_seed(3)).tolist()
    with torch.inference_mode():
        expected = model(torch.tensor([ids])).logits[0].numpy()
    np.testing.assert_allclose(auto.prefill(ids[:290], go_on), expected[289], atol=1e-4)
    np.testing.assert_allclose(auto.step(ids[290]), expected[290], atol=1e-4)
    known = auto.cached_prefix(ids)
    assert known == (291 if continuation == "chunks" else 0)
    np.testing.assert_allclose(auto.prefill(ids, go_on), expected[299], atol=1e-4)
    assert auto.cached_prefix(ids[:20]) == 0
    np.testing.assert_allclose(auto.prefill(ids[:20], go_on), expected[19], atol=1e-4)


def test_a_model_with_one_step_left_takes_it_from_the_state() -> None:
    torch.manual_seed(5)
    auto = stepper_over(random_model("FalconMamba", **RECURRENT["FalconMamba"][0]).float().eval())
    auto.prefill(range(9), go_on)
    assert auto.cached_prefix(range(10)) == 9


@pytest.mark.skipif(not IS_NIGHTLY, reason="imports for 2 s; nightly")
def test_a_model_that_sees_images_answers_to_text(tmp_path: Path) -> None:
    torch.manual_seed(5)
    model = vision_model()
    loaded = loaded_auto(save(model, tmp_path))
    ids = list(range(1, 40))
    with torch.inference_mode():
        expected = model.eval()(input_ids=torch.tensor([ids])).logits[0, -1].numpy()
    np.testing.assert_allclose(loaded.stepper.prefill(ids, go_on), expected, atol=1e-4)
    assert (loaded.vocab_size, loaded.context_length) == (VOCAB, 128)
    assert TEXT_ONLY in loaded.notes


def vision_model() -> Any:
    """LLaVA over a tiny Llama: no class of causal language models has it."""
    text = {**_SMALL, "max_position_embeddings": 128, "model_type": "llama"}
    vision = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "image_size": 16, "patch_size": 8, "model_type": "clip_vision_model"}  # fmt: skip
    config = from_transformers("LlavaConfig")(
        text_config=text, vision_config=vision, image_token_index=VOCAB - 1
    )
    return from_transformers("LlavaForConditionalGeneration")(config)


def test_weights_that_are_missing_are_no_random_numbers(folder: Path, tmp_path: Path) -> None:
    for file in folder.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    weights = load_file(tmp_path / "model.safetensors")
    gone = next(name for name in weights if "mlp" in name)
    del weights[gone]
    save_file({**weights, "extra.weight": torch.ones(2)}, tmp_path / "model.safetensors", {"format": "pt"})
    with pytest.raises(ModelLoadError, match=f"no weights .*{gone.rpartition('.')[0]}"):
        loaded_auto(tmp_path)


def test_tensors_that_transformers_leaves_out_are_named(folder: Path, tmp_path: Path) -> None:
    for file in folder.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    weights = load_file(tmp_path / "model.safetensors")
    save_file({**weights, "extra.weight": torch.ones(2)}, tmp_path / "model.safetensors", {"format": "pt"})
    assert any("extra.weight" in note for note in loaded_auto(tmp_path).notes)


@pytest.mark.parametrize("rows", [1, 255, VOCAB - 1])
def test_a_tokenizer_with_more_tokens_than_embeddings_is_refused_at_load(rows: int, tmp_path: Path) -> None:
    torch.manual_seed(5)
    folder = save(random_model("Llama", **{**_SMALL, "vocab_size": rows}), tmp_path)
    with pytest.raises(
        ModelLoadError, match=rf"\({max(rows, 0):,}\), but the model has only {rows:,} embeddings"
    ):
        CpuEngine().load(ModelSpec(name="tiny", path=str(folder)), lambda _progress: None)
