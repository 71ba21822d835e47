"""An engine in one file: a tokenizer and a `Stepper`; `engine.decoding` does the rest."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from types import MappingProxyType
from typing import Final

import numpy as np
from numpy.typing import NDArray

from tests.engine.echo.declaration import EchoOptions
from ttchat_tui.domain.chat import ChatMessage
from ttchat_tui.domain.events import GenerationEvent, LoadPhase, LoadProgress, ProgressReporter, PromptCounted
from ttchat_tui.domain.generation import GenerationControl, GenerationRequest
from ttchat_tui.domain.model_spec import Capabilities, EngineInfo, ModelSpec
from ttchat_tui.domain.sampling import DEFAULTS, SamplingParams
from ttchat_tui.engine.base import ModelLoadError, not_loaded, refusal
from ttchat_tui.engine.decoding.loop import Stepper
from ttchat_tui.engine.decoding.responder import Responder
from ttchat_tui.engine.text.template import ChatTemplate, PromptPiece
from ttchat_tui.engine.text.text_stream import Utf8Decoder

CONTEXT: Final = 4096
VOCABULARY: Final = 4096
PHASES: Final[tuple[LoadPhase, ...]] = ("start", "read", "warm up")
TEMPLATE: Final = "{% for message in messages %}{{ message.content }} {% endfor %}"


class EchoEngine:
    """An `Engine` whose model repeats the prompt until it is stopped."""

    def __init__(self) -> None:
        self._responder: Responder | None = None

    def load(self, spec: ModelSpec, report: ProgressReporter) -> EngineInfo:
        self.unload()
        started_s = time.perf_counter()
        for phase in PHASES:
            report(LoadProgress(phase=phase))
        if spec.path:
            raise ModelLoadError("The echo engine has no model files.", "Name any model: echo:anything.")
        context = min(spec.context_length or CONTEXT, CONTEXT)
        self._responder = Responder(
            tokenizer=WordTokenizer(),
            template=ChatTemplate(TEMPLATE, {}, ()),
            context_length=context,
            stepper=EchoStepper(spec.options_as(EchoOptions).pause_s),
        )
        return EngineInfo(
            model=spec.name,
            engine="echo",
            label="echo",
            context_length=context,
            vocab_size=VOCABULARY,
            load_s=time.perf_counter() - started_s,
            capabilities=Capabilities(
                logprobs=True, follows=True, kv_reuse=True, thinking=self._responder.thinking
            ),
        )

    def count(
        self,
        count_id: int,
        messages: Sequence[ChatMessage],
        sampling: SamplingParams = DEFAULTS,
        keep: Collection[int] = (),
    ) -> PromptCounted:
        if self._responder is None:
            raise not_loaded()
        return self._responder.count(count_id, messages, sampling, keep)

    def generate(self, request: GenerationRequest, control: GenerationControl) -> Iterator[GenerationEvent]:
        if self._responder is None:
            yield refusal(request, not_loaded().info)
            return
        yield from self._responder.generate(request, control)

    def unload(self) -> None:
        self._responder = None

    def close(self) -> None:
        self.unload()


class WordTokenizer:
    """One id for each word with the space before it, in the order in which they first appear."""

    end_ids = frozenset[int]()
    controls = frozenset[str]()
    control_texts = MappingProxyType[int, bytes]({})
    beginning = ()

    def __init__(self) -> None:
        self._words: list[str] = []

    def encode_pieces(self, pieces: Sequence[PromptPiece], start: int = 0) -> list[tuple[int, ...]]:
        return [
            tuple(self._id(word) for word in re.findall(r"\s*\S+|\s+$", piece.text))
            for piece in pieces[start:]
        ]

    def new_decoder(self, *, is_start: bool) -> Utf8Decoder:
        return Utf8Decoder(self.piece_of)

    def piece_of(self, token_id: int) -> bytes:
        return self._words[token_id].encode() if token_id < len(self._words) else b""

    def ids_of(self, text: str) -> tuple[int, ...]:
        return (self._id(text),) if re.fullmatch(r"\s*\S+", text) else ()

    def _id(self, word: str) -> int:
        if word not in self._words:
            self._words.append(word)
        return self._words.index(word)


class EchoStepper(Stepper):
    """Its KV cache is a list of ids, and its logits are sure of the next word of the prompt."""

    def __init__(self, pause_s: float) -> None:
        self._pause_s = pause_s
        self._ids: list[int] = []
        self._prompt_length = 1

    def cached_prefix(self, ids: Sequence[int]) -> int:
        same = 0
        while same < min(len(ids) - 1, len(self._ids)) and ids[same] == self._ids[same]:
            same += 1
        return same

    def prefill(self, ids: Sequence[int], report: Callable[[int, int], bool]) -> NDArray[np.float32]:
        self._ids = list(ids)
        self._prompt_length = len(ids)
        return self._logits()

    def step(self, token_id: int) -> NDArray[np.float32]:
        time.sleep(self._pause_s)
        self._ids.append(token_id)
        return self._logits()

    def _logits(self) -> NDArray[np.float32]:
        logits = np.zeros(VOCABULARY, dtype=np.float32)
        logits[self._ids[len(self._ids) - self._prompt_length]] = 100.0
        return logits
