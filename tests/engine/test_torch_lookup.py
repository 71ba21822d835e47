"""Speculation on real weights and real text: the same ids as without, in fewer forwards."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import msgspec
import pytest

from tests.engine.tiny_models import build, save
from ttchat_tui.domain.chat import ChatMessage
from ttchat_tui.domain.events import EngineEvent, GenerationFinished, TokenEvent
from ttchat_tui.domain.generation import GenerationControl, GenerationRequest, GenerationStats
from ttchat_tui.domain.model_spec import ModelSpec
from ttchat_tui.domain.sampling import SamplingParams
from ttchat_tui.engine.torch_engine.engine import TorchEngine

TEXT: Final = (
    "The harbour was quiet that morning. Two boats lay at the pier, and a man with a red scarf mended his nets beside "
    "the smaller one. Nobody had told him that the ferry would not come. He looked up when the bell rang."
)
QUOTING: Final = f"Repeat the following text word for word:\n\n{TEXT}"
STORY: Final = "Write a story about a lighthouse keeper who finds a letter."


def loaded(path: Path, speculation: Any, precision: Any = "fp32") -> TorchEngine:
    engine = TorchEngine()
    # One thread: with two, the barriers of OpenMP collapse where other tests run beside this one.
    spec = ModelSpec(name="model", path=str(path), precision=precision, threads=1, speculation=speculation)
    info = engine.load(spec, lambda _progress: None)
    assert info.is_speculating == (speculation == "auto")
    return engine


def reply(
    engine: TorchEngine, text: str, temperature: float, tokens: int
) -> tuple[list[int], GenerationStats]:
    sampling = SamplingParams(temperature=temperature, top_k=40, top_p=0.95, max_tokens=tokens)
    messages = (ChatMessage("user", text),)
    request = GenerationRequest(id=1, messages=messages, sampling=sampling, seed=11)
    events: list[EngineEvent] = list(engine.generate(request, GenerationControl(sampling)))
    assert isinstance(events[-1], GenerationFinished)
    return [i for event in events if isinstance(event, TokenEvent) for i in event.token_ids], events[-1].stats


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save(build("llama"), tmp_path_factory.mktemp("llama"))


def test_switched_off_it_counts_no_forwards(tiny: Path) -> None:
    _, stats = reply(loaded(tiny, "off"), "hello", 0.0, 20)
    assert stats.decode_forwards is None


def test_a_tiny_model_that_repeats_itself_takes_fewer_forwards(tiny: Path) -> None:
    """Random weights fall into a loop greedily, which is the most that a draft can win."""
    plain, _ = reply(loaded(tiny, "off"), "hello", 0.0, 200)
    same, stats = reply(loaded(tiny, "auto"), "hello", 0.0, 200)
    assert same == plain
    assert stats.decode_forwards is not None
    assert stats.decode_forwards < 150


@pytest.mark.model
@pytest.mark.timeout(240)
@pytest.mark.parametrize("precision", ["fp32", "f16"])
def test_a_quoted_text_is_the_same_in_far_fewer_forwards(default_model_path: Path, precision: str) -> None:
    engine = loaded(default_model_path, "auto", precision)
    speculating: Any = engine._model  # pyright: ignore[reportPrivateUsage]
    plain = msgspec.structs.replace(speculating, lookup=None)  # Loaded once: it is the longest part.
    for prompt, temperature, tokens in ((QUOTING, 0.0, 40), (QUOTING, 0.8, 24), (STORY, 0.0, 24)):
        engine._model = plain  # pyright: ignore[reportPrivateUsage]
        expected, _ = reply(engine, prompt, temperature, tokens)
        engine._model = speculating  # pyright: ignore[reportPrivateUsage]
        same, stats = reply(engine, prompt, temperature, tokens)
        assert same == expected, (prompt, temperature)
        assert stats.decode_forwards is not None
        print(f"{precision}, temperature {temperature}: {len(same)} tokens, {stats.decode_forwards} forwards")
        if prompt is QUOTING and temperature == 0.0:
            assert stats.decode_forwards < len(same) / 2
