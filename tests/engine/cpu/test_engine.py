"""The CPU engine as its host sees it: load, count, generate, refuse, unload. Tiny models, but for the start-up time."""

from __future__ import annotations

import json
import subprocess
import sys
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import torch

from tests.engine.cpu.native_kernel import kernel_folder
from tests.engine.cpu.tiny_models import build, described, save
from ttchat_tui.domain.chat import ChatMessage
from ttchat_tui.domain.events import (
    GenerationEvent,
    GenerationFinished,
    GenerationStarted,
    LoadProgress,
    PrefillProgress,
    TokenEvent,
)
from ttchat_tui.domain.generation import Candidate, GenerationControl, GenerationRequest
from ttchat_tui.domain.model_spec import CpuOptions, EngineInfo, ModelSpec
from ttchat_tui.domain.sampling import SamplingParams
from ttchat_tui.engine.base import EngineError, LoadCancelled, MissingDependency, ModelLoadError, OutOfMemory
from ttchat_tui.engine.cpu import loading, torch_model
from ttchat_tui.engine.cpu.engine import CpuEngine
from ttchat_tui.engine.cpu.warm_up import usable_cores
from ttchat_tui.engine.cpu.weights.kernels import working_kernels
from ttchat_tui.engine.text.generation_config import recommended_sampling, suppressed_ids, unapplied_notes

GREEDY = SamplingParams(temperature=0.0, top_k=0, top_p=1.0, max_tokens=12)
HELLO = (ChatMessage("user", "hello"),)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save(build("llama"), tmp_path_factory.mktemp("llama"))


def load(
    engine: CpuEngine, folder: Path, precision: Any = "auto", *, threads: int = 1, **fields: Any
) -> tuple[EngineInfo, list[LoadProgress]]:
    seen: list[LoadProgress] = []
    options = CpuOptions(threads=threads, precision=precision)
    spec = ModelSpec(name="tiny", path=str(folder), options=options, **fields)
    return engine.load(spec, seen.append), seen


@pytest.fixture(scope="module")
def engine(folder: Path) -> Iterator[CpuEngine]:
    """Shared by all tests that only generate."""
    engine = CpuEngine()
    load(engine, folder)
    yield engine
    engine.close()


@pytest.fixture
def own_engine(folder: Path) -> Iterator[CpuEngine]:
    """An engine that the test may unload."""
    engine = CpuEngine()
    load(engine, folder)
    yield engine
    engine.close()


def reply(
    engine: CpuEngine, messages: tuple[ChatMessage, ...], sampling: SamplingParams = GREEDY, **options: Any
) -> list[GenerationEvent]:
    request = GenerationRequest(id=1, messages=messages, sampling=sampling, seed=5, **options)
    return list(engine.generate(request, GenerationControl(sampling)))


def text_and_ids(events: list[GenerationEvent]) -> tuple[str, list[int]]:
    text, ids = "", []
    for event in events:
        if isinstance(event, TokenEvent | GenerationFinished):
            text += event.text
        if isinstance(event, TokenEvent):
            ids += event.token_ids
    return text, ids


def started(events: list[GenerationEvent]) -> GenerationStarted:
    assert isinstance(events[0], GenerationStarted)
    return events[0]


def finished(events: list[GenerationEvent]) -> GenerationFinished:
    assert isinstance(events[-1], GenerationFinished)
    return events[-1]


def test_a_load_reports_its_phases_in_order(folder: Path) -> None:
    info, seen = load(CpuEngine(), folder)
    assert list(dict.fromkeys(progress.phase for progress in seen)) == ["start", "read", "convert", "warm up"]
    layers = [progress for progress in seen if progress.phase == "convert"]
    assert [progress.done for progress in layers] == list(range(layers[-1].total + 1))
    assert info.model == "tiny"
    assert info.engine == "cpu"
    assert info.label in ("cpu f16", "cpu fp32")
    assert (info.context_length, info.vocab_size, info.threads) == (512, 260, 1)
    assert info.capabilities.kv_reuse
    assert info.parameters == pytest.approx(sum(p.numel() for p in build("llama").parameters()), rel=0.02)


@pytest.mark.parametrize("phase", ["start", "read", "convert", "warm up"])
def test_a_load_that_is_cancelled_leaves_the_engine_empty_and_usable(folder: Path, phase: str) -> None:
    engine = CpuEngine()

    def report(progress: LoadProgress) -> None:
        if progress.phase == phase:
            raise LoadCancelled("cancelled")

    with pytest.raises(LoadCancelled):
        engine.load(ModelSpec(name="tiny", path=str(folder), options=CpuOptions(threads=1)), report)
    with pytest.raises(EngineError):
        engine.count(1, HELLO)
    load(engine, folder)
    assert engine.count(1, HELLO).prompt_tokens > 0


def test_a_new_load_replaces_the_model_and_a_failed_one_leaves_none(
    own_engine: CpuEngine, tmp_path: Path
) -> None:
    with pytest.raises(ModelLoadError, match="no model at"):
        load(own_engine, tmp_path / "none")
    assert finished(reply(own_engine, HELLO)).error is not None


def test_a_reply_streams_its_tokens(engine: CpuEngine) -> None:
    events = reply(engine, HELLO)
    text, ids = text_and_ids(events)
    assert len(ids) == 12
    assert text
    assert finished(events).reason == "length"
    assert finished(events).stats.completion_tokens == 12


def test_the_same_seed_gives_the_same_reply(engine: CpuEngine) -> None:
    sampling = SamplingParams(temperature=1.0, top_k=0, top_p=1.0, max_tokens=12)
    assert text_and_ids(reply(engine, HELLO, sampling)) == text_and_ids(reply(engine, HELLO, sampling))


def test_the_next_turn_computes_only_what_is_new(engine: CpuEngine) -> None:
    first = reply(engine, HELLO)
    text, ids = text_and_ids(first)
    messages = (*HELLO, ChatMessage("assistant", text), ChatMessage("user", "go on"))
    second = started(reply(engine, messages))
    # The last id of a reply is never fed back: nothing is left to predict from it.
    assert second.cached_tokens == started(first).prompt_tokens + len(ids) - 1
    assert second.prompt_tokens > second.cached_tokens


def test_a_kept_cache_changes_no_reply(engine: CpuEngine, folder: Path) -> None:
    text, _ = text_and_ids(reply(engine, HELLO))
    messages = (*HELLO, ChatMessage("assistant", text), ChatMessage("user", "go on"))
    warm = text_and_ids(reply(engine, messages))
    fresh = CpuEngine()
    load(fresh, folder)
    text_and_ids(reply(fresh, HELLO))
    assert text_and_ids(reply(fresh, messages)) == warm


def test_a_count_predicts_the_prompt(engine: CpuEngine) -> None:
    counted = engine.count(7, HELLO)
    assert counted.count_id == 7
    assert counted.prompt_tokens == started(reply(engine, HELLO)).prompt_tokens


def test_old_turns_fall_out_visibly(engine: CpuEngine) -> None:
    long = tuple(ChatMessage("assistant" if n % 2 else "user", "x" * 100) for n in range(7))
    event = started(reply(engine, long))
    assert event.dropped_messages == engine.count(1, long).dropped_messages > 0
    assert event.prompt_tokens <= event.context_length


def test_a_message_that_cannot_fit_is_refused_with_both_numbers(engine: CpuEngine) -> None:
    messages = (ChatMessage("user", "x" * 600),)
    (only,) = reply(engine, messages)
    assert isinstance(only, GenerationFinished)
    assert only.reason == "error"
    assert only.error is not None
    assert only.error.kind == "prompt_too_long"
    assert f"{engine.count(1, messages).prompt_tokens:,}" in only.error.message
    assert "512" in only.error.message


def test_a_reply_can_be_continued(engine: CpuEngine) -> None:
    whole, whole_ids = text_and_ids(reply(engine, HELLO))
    half, half_ids = text_and_ids(reply(engine, HELLO, SamplingParams(temperature=0.0, max_tokens=6)))
    unfinished = (*HELLO, ChatMessage("assistant", half))
    rest, rest_ids = text_and_ids(reply(engine, unfinished, written_ids=half_ids, continue_last=True))
    assert rest_ids[:6] == whole_ids[6:]
    assert (half + rest).startswith(whole)


def test_an_unloaded_engine_says_so(own_engine: CpuEngine) -> None:
    own_engine.unload()
    own_engine.unload()
    error = finished(reply(own_engine, HELLO)).error
    assert error is not None
    assert error.kind == "not_ready"


def test_an_unloaded_model_is_freed(own_engine: CpuEngine) -> None:
    reply(own_engine, HELLO)
    responder = own_engine._responder  # pyright: ignore[reportPrivateUsage]
    assert responder is not None
    stepper = weakref.ref(responder._stepper)  # pyright: ignore[reportPrivateUsage]
    del responder
    own_engine.unload()
    assert stepper() is None


def test_a_shorter_context_is_kept_and_a_longer_one_noted(folder: Path) -> None:
    assert load(CpuEngine(), folder, context_length=128)[0].context_length == 128
    info, _ = load(CpuEngine(), folder, context_length=4096)
    assert info.context_length == 512
    assert any("4,096" in note for note in info.notes)


@pytest.mark.parametrize(("cores", "fastest"), [(2, 1), (8, 4)])
def test_prompts_and_candidates_run_on_all_cores_where_a_step_is_bound_by_memory(
    cores: int, fastest: int, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    used: list[int] = []
    monkeypatch.setattr(loading, "usable_cores", lambda: cores)
    monkeypatch.setattr(loading, "warm_up", lambda *args: fastest)
    monkeypatch.setattr(torch, "set_num_threads", used.append)
    engine = CpuEngine()
    load(engine, folder, threads=0)
    used.clear()  # weights are converted on one thread
    reply(engine, HELLO, GREEDY)
    assert used == [cores, fastest], "the prompt, then the steps"
    request = GenerationRequest(
        id=2, messages=HELLO, sampling=GREEDY, seed=1, candidates=(Candidate(seed=2),)
    )
    for _ in engine.generate(request, GenerationControl(GREEDY)):
        pass
    assert used == [cores, fastest, cores], "rows of candidates"
    engine.close()


def test_more_threads_than_cores_are_named_in_a_note(folder: Path) -> None:
    cores = usable_cores()
    for threads, is_named in ((cores, False), (cores + 1, True)):
        info, _ = load(CpuEngine(), folder, threads=threads)
        assert any(f"[cpu] threads = {threads} on {cores} core" in note for note in info.notes) == is_named


@pytest.mark.parametrize("precision", ["fp32", "f16", "bf16", "int8", "int4"])
def test_precisions_are_what_was_asked_for_or_refused(folder: Path, precision: Any) -> None:
    if precision == "fp32" or precision in working_kernels():
        info, _ = load(CpuEngine(), folder, precision=precision)
        assert info.label.removesuffix(" prefill-bf16") == f"cpu {precision}"
    else:
        with pytest.raises(ModelLoadError, match="no working"):
            load(CpuEngine(), folder, precision=precision)


def test_without_the_f16_kernel_auto_is_fp32(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch_model, "working_kernels", frozenset)
    assert load(CpuEngine(), folder)[0].label == "cpu fp32"
    with pytest.raises(ModelLoadError, match="no working float16 kernel"):
        load(CpuEngine(), folder, precision="f16")


def test_a_model_larger_than_memory_is_refused_before_it_is_read(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch_model, "available_bytes", lambda: 2**20)
    with pytest.raises(OutOfMemory, match="GB are free"):
        load(CpuEngine(), folder)


@pytest.mark.parametrize(
    "failure", [MemoryError(), RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to …")]
)
def test_memory_that_runs_out_while_loading_is_reported(
    folder: Path, monkeypatch: pytest.MonkeyPatch, failure: Exception
) -> None:
    def fail(*_args: Any) -> None:
        raise failure

    monkeypatch.setattr(loading, "load_model", fail)
    with pytest.raises(OutOfMemory):
        load(CpuEngine(), folder)


def test_missing_torch_names_the_cure(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> None:
        raise ModuleNotFoundError("No module named 'torch'", name="torch")

    monkeypatch.setattr(loading, "import_torch", fail)
    with pytest.raises(MissingDependency, match="'torch'") as caught:
        load(CpuEngine(), folder)
    assert "ttchat-tui[cpu]" in caught.value.info.cure


def test_a_model_without_a_template_is_noted_and_stops_at_the_next_turn(tmp_path: Path) -> None:
    folder = save(build("llama"), tmp_path, template="")
    info, _ = load(CpuEngine(), folder)
    assert any("no chat template" in note for note in info.notes)


def test_generation_config_is_recommended_before_the_catalog(tmp_path: Path) -> None:
    folder, catalog = save(build("llama"), tmp_path), SamplingParams(temperature=0.1)
    # save_pretrained writes a generation_config without sampling.
    assert load(CpuEngine(), folder, recommended=catalog)[0].recommended == catalog
    (folder / "generation_config.json").write_text(json.dumps({"temperature": 0.6, "top_p": 0.9}))
    got = load(CpuEngine(), folder, recommended=catalog)[0].recommended
    assert got == SamplingParams(temperature=0.6, top_p=0.9, top_k=0)


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ({}, None),
        ({"eos_token_id": 2}, None),
        ({"temperature": 99.0}, None),
        ({"do_sample": False, "repetition_penalty": 1.1},
         SamplingParams(temperature=0.0, top_k=0, top_p=1.0, repetition_penalty=1.1)),
        ({"do_sample": True, "top_k": 20, "temperature": 0.6, "top_p": 0.95},
         SamplingParams(temperature=0.6, top_k=20, top_p=0.95)),
    ],
)  # fmt: skip
def test_sampling_that_the_authors_recommend(config: dict[str, Any], expected: SamplingParams | None) -> None:
    assert recommended_sampling(config) == expected


@pytest.mark.parametrize("family", ["llama", "gpt2"])  # Our own forward, and transformers.
def test_tokens_that_the_authors_suppress_are_never_drawn(family: str, tmp_path: Path) -> None:
    engine, folder = CpuEngine(), save(build(family), tmp_path)
    load(engine, folder)
    _, plain = text_and_ids(reply(engine, HELLO))
    for suppressed in ({"suppress_tokens": plain[:6]}, {"bad_words_ids": [[each] for each in plain[:6]]}):
        (folder / "generation_config.json").write_text(json.dumps(suppressed))
        load(engine, folder)
        _, ids = text_and_ids(reply(engine, HELLO))
        assert ids
        assert not {*ids} & {*plain[:6]}


@pytest.mark.parametrize(
    ("config", "suppressed", "unapplied"),
    [
        ({}, [], ""),
        ({"suppress_tokens": [3, 3, -1, "x", True], "bad_words_ids": [[4], [9], [5, 6]]}, [3, 4], "bad_words_ids of several tokens"),
        ({"suppress_tokens": None, "bad_words_ids": 7, "typical_p": 1.0, "no_repeat_ngram_size": 0}, [], ""),
        ({"begin_suppress_tokens": [1], "no_repeat_ngram_size": 3}, [], "begin_suppress_tokens, no_repeat_ngram_size"),
    ],
)  # fmt: skip
def test_what_the_authors_never_want(config: dict[str, Any], suppressed: list[int], unapplied: str) -> None:
    assert suppressed_ids(config, end_ids=[9]) == {*suppressed}
    notes = unapplied_notes(config)
    assert notes == (
        [f"The model's generation config has {unapplied}, which this app does not apply."] * bool(unapplied)
    )


def test_what_the_authors_want_and_the_sampler_does_not_do_is_noted(tmp_path: Path) -> None:
    folder = save(build("llama"), tmp_path)
    (folder / "generation_config.json").write_text(json.dumps({"no_repeat_ngram_size": 3}))
    assert any("no_repeat_ngram_size" in note for note in load(CpuEngine(), folder)[0].notes)


@pytest.mark.parametrize("threads", [1, 0])  # 0: with a governor around the stepper.
def test_a_reply_that_makes_a_longrope_conversation_long_says_that_it_is_read_anew(
    threads: int, tmp_path: Path
) -> None:
    engine = CpuEngine()
    load(engine, save(described("phi4-mini"), tmp_path, "{{ messages[0].content }}"), threads=threads)
    sampling = msgspec.structs.replace(GREEDY, max_tokens=60)
    events = reply(engine, HELLO, sampling)
    again = [event for event in events if isinstance(event, PrefillProgress) and event.time_s is None]
    assert [(event.done, event.total) for event in again] == [(33, 33)], "the original context is 32"


_TALK = """
import sys
from ttchat_tui.domain.chat import ChatMessage
from ttchat_tui.domain.constraint import Constraint
from ttchat_tui.domain.events import GenerationFinished
from ttchat_tui.domain.generation import Candidate, GenerationControl, GenerationRequest, Given
from ttchat_tui.domain.model_spec import CpuOptions, ModelSpec
from ttchat_tui.domain.sampling import SamplingParams
from ttchat_tui.engine.cpu.engine import CpuEngine

engine = CpuEngine()
spec = ModelSpec(name="smollm2", path=sys.argv[1], kernel_dir=sys.argv[2], options=CpuOptions(threads=1))
assert engine.load(spec, lambda progress: None).label == "cpu q4_1 native"

def run(text, is_previewed=False, constraint=None, **fields):
    sampling = SamplingParams(max_tokens=6, constraint=constraint)
    messages = (ChatMessage("user", text),) if text else ()
    control = GenerationControl(sampling)
    control.set_previewed(is_previewed)
    request = GenerationRequest(id=1, messages=messages, sampling=sampling, seed=1, **fields)
    last = list(engine.generate(request, control))[-1]
    assert isinstance(last, GenerationFinished) and last.reason == "length", last

run("Hello.", is_previewed=True, record="full")
run("Hello.", candidates=(Candidate(seed=2),))
run("Repeat: one two three one two three one two three", record="chosen")
run("Hello.", constraint=Constraint("regex", "[0-9]{20}"))
run("", given=Given(text="The sky is blue."))
engine.close()
print(*{"torch", "transformers", "gguf", "accelerate"} & set(sys.modules))
"""


@pytest.mark.model
def test_the_compiled_kernel_talks_without_torch(short_model_path: Path) -> None:
    """They take seconds to import, and hundreds of megabytes; `benchmarks/bench_startup.py` has the figures."""
    pytest.importorskip("llguidance")
    command = [sys.executable, "-c", _TALK, str(short_model_path), str(kernel_folder())]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == []
