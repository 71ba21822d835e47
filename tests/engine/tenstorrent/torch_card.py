"""The engine over tt-metal's own model code (TT_METAL_HOME) on a card that computes with torch, and the CPU engine beside
it with the same model in float32."""

from __future__ import annotations

import importlib.util
import itertools
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Final

import msgspec
import pytest

from tests.tt.torch_ttnn import small_models
from tests.tt.torch_ttnn.emulation.device import OPENED, MeshDevice
from tests.tt.torch_ttnn.emulation.tensor import Box
from ttchat_tui.domain.chat import ChatMessage
from ttchat_tui.domain.events import GenerationEvent, GenerationFinished, TokenEvent
from ttchat_tui.domain.generation import Candidate, GenerationControl, GenerationRequest
from ttchat_tui.domain.model_spec import CpuOptions, EngineInfo, ModelSpec, TenstorrentOptions
from ttchat_tui.domain.sampling import SamplingParams
from ttchat_tui.engine.base import Engine
from ttchat_tui.engine.factory import create_engine

LLAMA, QWEN, MISTRAL = (
    msgspec.structs.replace(model, hidden=256, ffn=512, kv_heads=2, head_dim=32)
    for model in (small_models.LLAMA, small_models.QWEN, small_models.MISTRAL)
)
SITE: Final = Path(__file__).parents[2] / "tt" / "torch_ttnn" / "site"
_ITS_MODULES: Final = ("ttnn", "models", "loguru", "pydantic", "PIL", "llama_models")
_IDS: Final = itertools.count(1)
Steer = Callable[[GenerationControl, list[list[int]]], None]
"""Called after each event of a reply, with the ids of each row so far."""


def require_checkout() -> None:
    """Skip the test where tt-metal's model code is not there, or the real ttnn is."""
    home = os.environ.get("TT_METAL_HOME", "")
    if not home or not any(Path(home).glob("models/*/tt/generator.py")):
        pytest.skip("TT_METAL_HOME names no tt-metal checkout (its models/ is enough)")
    if importlib.util.find_spec("ttnn") is not None:
        pytest.skip("ttnn is installed: `make test-tt` runs the model code over it")


class Site:
    """Makes what stands for ttnn, and for what is not installed, importable. The card does not round, and its traces
    overwrite programs that were compiled after them."""

    def __enter__(self) -> None:
        self._patch = pytest.MonkeyPatch()
        self._path, self._environ = list(sys.path), dict(os.environ)
        sys.path.append(str(SITE))
        self._patch.setattr(Box, "rounds", False)
        self._patch.setattr(MeshDevice, "shares_scratch", True)
        # In thousands of positions. Longer prompts are prefilled in chunks.
        self._patch.setenv("MAX_PREFILL_CHUNK_SIZE", "2")

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._patch.undo()
        sys.path[:] = self._path
        os.environ.clear()
        os.environ.update(self._environ)
        for name in list(sys.modules):
            if name.partition(".")[0] in _ITS_MODULES:
                del sys.modules[name]


class CardAndReference:
    """Both engines with one model."""

    def __init__(self, model: Path, cache: Path, context: int, **options: object) -> None:
        self.card = create_engine("tt")
        self._float32 = create_engine("cpu")
        self._cache = cache
        self._context = context
        self._options = options
        self.load(model)

    def load(self, model: Path) -> None:
        options = TenstorrentOptions(cache_dir=str(self._cache), **self._options)  # type: ignore[arg-type]
        for engine, name, settings in (
            (self._float32, "cpu", CpuOptions(precision="fp32", kernel="off", threads=1, speculation="off")),
            (self.card, "tt", options),
        ):
            spec = ModelSpec(
                engine=name, name="tiny", path=str(model), context_length=self._context, options=settings
            )
            self.info: EngineInfo = engine.load(spec, lambda progress: None)

    @property
    def device(self) -> MeshDevice:
        return OPENED[-1]

    def close(self) -> None:
        self.card.close()
        self._float32.close()

    def agree(self, request: GenerationRequest, steer: Steer | None = None) -> list[list[int]]:
        """Ids of each row. Both engines reply with the same ones, and end for the same reason."""
        card, float32 = (reply(engine, request, steer=steer) for engine in (self.card, self._float32))
        assert ids_of(card, request) == ids_of(float32, request)
        assert _end(card) == _end(float32)
        return ids_of(card, request)


def said(length: int, start: str = "The quick brown fox jumps over the lazy dog. ") -> ChatMessage:
    """A message that makes a prompt of this many ids: one for each letter, and the template's two."""
    text = start * (length // len(start) + 1)
    return ChatMessage("user", text[: length - 2])


def request(
    *messages: ChatMessage,
    tokens: int = 12,
    candidates: Sequence[Candidate] = (),
    seed: int = 1,
    temperature: float = 0.0,
    continue_last: bool = False,
) -> GenerationRequest:
    return GenerationRequest(
        id=next(_IDS),
        messages=messages,
        sampling=SamplingParams(temperature=temperature, top_k=0, top_p=1.0, max_tokens=tokens),
        seed=seed,
        candidates=tuple(candidates),
        continue_last=continue_last,
    )


def reply(
    engine: Engine, asked: GenerationRequest, cancel_after: int = 0, steer: Steer | None = None
) -> list[GenerationEvent]:
    control = GenerationControl(asked.sampling)
    events: list[GenerationEvent] = []
    for event in engine.generate(asked, control):
        events.append(event)
        if cancel_after and sum(isinstance(each, TokenEvent) for each in events) == cancel_after:
            control.cancel()
        if steer is not None:
            steer(control, ids_of(events, asked))
    return events


def ids_of(events: Sequence[GenerationEvent], asked: GenerationRequest) -> list[list[int]]:
    """Ids of each row."""
    rows: list[list[int]] = [[] for _ in range(asked.rows)]
    for event in events:
        if isinstance(event, TokenEvent):
            if event.replaces is not None:
                rows[event.row].pop()
            rows[event.row] += event.token_ids
    return rows


def _end(events: Sequence[GenerationEvent]) -> tuple[object, ...]:
    last = events[-1]
    assert isinstance(last, GenerationFinished)
    return last.reason, last.error, last.stats.prompt_tokens, last.stats.completion_tokens
