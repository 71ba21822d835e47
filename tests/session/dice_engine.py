"""An engine whose model throws dice: the real decode loop over scores that depend on every id before, and in a batch on which rows
are decoded together, as rounding does. Its
tokens are letters, parts of one character, tags of thoughts, a control token without a text, and two ends of a turn."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from ttchat_tui.domain.chat import ChatMessage
from ttchat_tui.domain.events import GenerationEvent, ProgressReporter, PromptCounted
from ttchat_tui.domain.generation import GenerationControl, GenerationRequest
from ttchat_tui.domain.logit_bias import piece_of
from ttchat_tui.domain.model_spec import Capabilities, EngineInfo, ModelSpec
from ttchat_tui.domain.sampling import DEFAULTS, SamplingParams
from ttchat_tui.engine.decoding.loop import BatchStepper
from ttchat_tui.engine.decoding.responder import Responder
from ttchat_tui.engine.text.template import ChatTemplate, PromptPiece
from ttchat_tui.engine.text.text_stream import Utf8Decoder

CONTEXT: Final = 400
TEMPLATE: Final = (
    "{% for message in messages %}<turn>{{ message.content }}<end>{% endfor %}"
    "{% if add_generation_prompt %}<turn>{% endif %}"
)
_CONTROLS: Final = ("<turn>", "<end>", "<stop>", "<mark>", "<think>", "</think>")
_PIECES: Final = (
    *(bytes([each]) for each in b"abcdefghijklmnopqrstuvwxyz .?<>/"),
    b"\xe2",
    b"\x80",
    b"\x94",
    b"a\xe2",
)
VOCABULARY: Final = len(_PIECES) + len(_CONTROLS)


def token(piece: bytes | str) -> int:
    """The id of a token by its bytes, or of a control token by its name."""
    if isinstance(piece, str):
        return len(_PIECES) + _CONTROLS.index(piece)
    return _PIECES.index(piece)


class DiceTokens:
    end_ids = frozenset({token("<end>"), token("<stop>")})
    controls = _CONTROLS
    control_ids = tuple(range(len(_PIECES), VOCABULARY))
    beginning = ()
    size = VOCABULARY
    has_bytes = True

    @property
    def control_texts(self) -> dict[int, bytes]:
        return {each: self.token_bytes(each) for each in self.control_ids}

    def encode_text(self, text: str) -> tuple[int, ...]:
        """Byte by byte; one that has no token is a full stop."""
        return tuple(token(piece if (piece := bytes([each])) in _PIECES else b".") for each in text.encode())

    def encode_pieces(self, pieces: Sequence[PromptPiece], start: int = 0) -> list[tuple[int, ...]]:
        return [
            (token(piece.text),) if piece.is_control else self.encode_text(piece.text)
            for piece in pieces[start:]
        ]

    def token_bytes(self, token_id: int) -> bytes:
        if token_id < len(_PIECES):
            return _PIECES[token_id]
        return {"<think>": b"<think>\n", "</think>": b"\n</think>\n"}.get(
            _CONTROLS[token_id - len(_PIECES)], b""
        )

    def piece_of(self, token_id: int) -> bytes:
        return _PIECES[token_id] if token_id < len(_PIECES) else _CONTROLS[token_id - len(_PIECES)].encode()

    def ids_of(self, text: str) -> tuple[int, ...]:
        piece = piece_of(text)
        return (token(text if text in _CONTROLS else piece),) if text in _CONTROLS or piece in _PIECES else ()

    def new_decoder(self, *, is_start: bool) -> Utf8Decoder:
        return Utf8Decoder(self.token_bytes)


class DiceStepper(BatchStepper):
    def __init__(self, dice: int) -> None:
        self._dice = dice
        self._ids: list[int] = []
        self._rows: dict[int, list[int]] = {}

    def cached_prefix(self, ids: Sequence[int]) -> int:
        return 0

    def prefill(self, ids: Sequence[int], report: Callable[[int, int], bool]) -> NDArray[np.float32]:
        self._ids = list(ids)
        return self._scores(self._ids)

    def step(self, token_id: int) -> NDArray[np.float32]:
        self._ids.append(token_id)
        return self._scores(self._ids)

    def fork(self, rows: int) -> None:
        self._rows = {row: list(self._ids) for row in range(rows)}

    def step_rows(self, ids: Sequence[int]) -> NDArray[np.float32]:
        for held, token_id in zip(self._rows.values(), ids, strict=True):
            held.append(token_id)
        return np.stack([self._scores([*self._rows, -1, *held]) for held in self._rows.values()])

    def freeze(self, row: int) -> None:
        del self._rows[row]

    def join(self) -> None:
        self._rows = {}

    def _scores(self, ids: Sequence[int]) -> NDArray[np.float32]:
        mixed = hash((self._dice, *ids)) & 0xFFFF_FFFF
        scores = np.random.default_rng(mixed).normal(size=VOCABULARY).astype(np.float32)
        scores[list(DiceTokens.end_ids)] += 1.0
        scores[token("<turn>")] = -30.0
        return scores


class DiceEngine:
    """See `engine.base.Engine`."""

    def __init__(self, dice: int, template: str = TEMPLATE) -> None:
        self.gate = threading.Event()
        """Requests wait for it."""
        self.gate.set()
        tokens, stepper = DiceTokens(), DiceStepper(dice)
        self._responder = Responder(
            tokenizer=tokens,
            template=ChatTemplate(template, {}, _CONTROLS),
            context_length=CONTEXT,
            stepper=stepper,
            batch=stepper,
            batch_sizes=(1, 2, 3),
            constraint_tokenizer=tokens,
        )

    def load(self, spec: ModelSpec, report: ProgressReporter) -> EngineInfo:
        return EngineInfo(
            model=spec.name,
            engine=spec.engine,
            label="dice",
            context_length=CONTEXT,
            vocab_size=VOCABULARY,
            load_s=0.1,
            capabilities=Capabilities(
                sampling=self._responder.sampling, logprobs=True, follows=True, batch_sizes=(1, 2, 3)
            ),
            end_ids=self._responder.end_ids,
        )

    def count(
        self,
        count_id: int,
        messages: Sequence[ChatMessage],
        sampling: SamplingParams = DEFAULTS,
        keep: Collection[int] = (),
    ) -> PromptCounted:
        return self._responder.count(count_id, messages, sampling, keep)

    def generate(self, request: GenerationRequest, control: GenerationControl) -> Iterator[GenerationEvent]:
        self.gate.wait()
        yield from self._responder.generate(request, control)

    def unload(self) -> None: ...

    def close(self) -> None: ...
