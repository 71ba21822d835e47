"""A reply again on the CPU: in each format, and through transformers, the prompt's ids and the seed give the same tokens,
whatever was in the cache. The contract suite does the same with the compiled kernel."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from msgspec.structs import replace

from tests.engine.cpu.native_kernel import KERNELS
from tests.engine.cpu.tiny_models import build, save
from tests.engine.engine_subject import ids, recording_of, started, text
from ttchat_tui.domain.chat import ChatMessage
from ttchat_tui.domain.events import GenerationEvent, TokenEvent
from ttchat_tui.domain.generation import Candidate, GenerationControl, GenerationRequest, Given
from ttchat_tui.domain.model_spec import CpuOptions, ModelSpec, Precision
from ttchat_tui.domain.recording import RecordedPrompt
from ttchat_tui.domain.sampling import SamplingParams
from ttchat_tui.engine.base import ModelLoadError
from ttchat_tui.engine.cpu.engine import CpuEngine
from ttchat_tui.session.recorded_prompts import PromptedReply, decoded_before

WARM = SamplingParams(temperature=1.0, top_k=0, top_p=1.0, max_tokens=24)
QUESTION, ANOTHER = ChatMessage("user", "hello"), ChatMessage("user", "and now something else")


@pytest.fixture(scope="module")
def folder_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    return lambda name: save(build(name), tmp_path_factory.mktemp(name))


def loaded(folder: Path, precision: Precision) -> tuple[CpuEngine, str]:
    engine = CpuEngine()
    options = CpuOptions(threads=1, precision=precision)
    spec = ModelSpec(name="tiny", path=str(folder), options=options, kernel_dir=str(KERNELS))
    try:
        return engine, engine.load(spec, lambda _progress: None).label
    except ModelLoadError:
        pytest.skip(f"no {precision} kernel here")


def reply(engine: CpuEngine, request: GenerationRequest) -> list[GenerationEvent]:
    return list(engine.generate(request, GenerationControl(request.sampling)))


def rows_of(events: list[GenerationEvent], rows: int) -> list[list[int]]:
    return [
        [
            token
            for event in events
            if isinstance(event, TokenEvent) and event.row == row
            for token in event.token_ids
        ]
        for row in range(rows)
    ]


@pytest.mark.parametrize(
    ("model", "precision", "label"),
    [
        ("llama", "fp32", "cpu fp32"),
        ("llama", "f16", "cpu f16"),
        ("llama", "int4", "cpu int4"),
        ("gpt2", "auto", "cpu transformers fp32"),
    ],
)
def test_a_reply_in_the_middle_of_a_talk_is_made_again_and_followed(
    folder_of: Callable[[str], Path], model: str, precision: Precision, label: str
) -> None:
    engine, found = loaded(folder_of(model), precision)
    assert found.removesuffix(" prefill-bf16") == label
    request = GenerationRequest(id=1, messages=(QUESTION,), sampling=WARM, seed=11, record="full")
    first = reply(engine, request)
    said = ChatMessage("assistant", text(first))
    talk = replace(request, id=2, messages=(QUESTION, said, ANOTHER))
    events = reply(engine, talk)
    assert started(events).cached_tokens > 0
    reply(engine, replace(request, id=3, messages=(ANOTHER,)))
    given = Given(prompt_ids=started(events).prompt_ids)
    begin = RecordedPrompt(0, 0, started(first).prompt_ids)
    end = RecordedPrompt(0, 0, given.prompt_ids, started(events).cached_tokens)
    (before,) = decoded_before(
        [PromptedReply([begin], (*begin.ids, *ids(first))), PromptedReply([end], ())], 0
    )
    assert len(before.ids) > 20
    reply(engine, replace(request, id=6, given=before))
    again = reply(engine, replace(talk, id=4, messages=(), given=given))
    assert started(again).cached_tokens == started(events).cached_tokens
    assert ids(again) == ids(events)
    follow = replace(talk, id=5, messages=(), given=replace(given, ids=tuple(ids(events))))
    followed = recording_of(reply(engine, follow))
    for own, other in zip(recording_of(again).tokens, followed.tokens, strict=True):
        assert (other.token_id, other.rank) == (own.token_id, own.rank)
        assert other.logprob == pytest.approx(own.logprob, abs=1e-4)


@pytest.mark.parametrize("precision", ["fp32", "int4"])
def test_the_rows_of_a_batch_are_made_again(folder_of: Callable[[str], Path], precision: Precision) -> None:
    engine, _ = loaded(folder_of("llama"), precision)
    others = (Candidate(seed=12), Candidate(seed=13, sampling=replace(WARM, temperature=0.5, max_tokens=9)))
    request = GenerationRequest(
        id=1, messages=(QUESTION,), sampling=WARM, seed=11, record="full", candidates=others
    )
    events = reply(engine, request)
    reply(engine, replace(request, id=2, messages=(ANOTHER,), candidates=()))
    given = Given(prompt_ids=started(events).prompt_ids)
    again = reply(engine, replace(request, id=3, messages=(), given=given))
    assert rows_of(again, 3) == rows_of(events, 3)
