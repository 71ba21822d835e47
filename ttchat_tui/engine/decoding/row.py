"""One reply as it is decoded: sampled ids, the text that is certain, its figures, and why it ended.

A reply's ids are its text's: the end-of-turn id that ends it is in no event, is not counted and is no text. Only a
stop string leaves ids whose text is not part of the reply; these tokens were generated, and count.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Generator, Sequence
from contextlib import contextmanager
from typing import NamedTuple, Protocol

import msgspec
import numpy as np
from numpy.typing import NDArray

from ttchat_tui.domain.events import ErrorInfo, GenerationFinished, RowFinished, TokenEvent
from ttchat_tui.domain.generation import FinishReason, GenerationStats
from ttchat_tui.domain.meter import Meter
from ttchat_tui.domain.sampling import SamplingParams
from ttchat_tui.engine.base import EngineDied, EngineError
from ttchat_tui.engine.decoding.sampler import Sampler

_log = logging.getLogger(__name__)


class ReplyText(Protocol):
    """Ids in, certain text out, up to the first stop string (`text_stream.TextStream`)."""

    @property
    def is_stopped(self) -> bool:
        """A stop string was found."""
        ...

    def push(self, token_id: int) -> str: ...

    def flush(self) -> str:
        """What was held back and belongs to the reply."""
        ...


class Drawn(NamedTuple):
    """A token that the model's own device drew: its logits never came to the host, so its probability is not known."""

    token_id: int


class Ending:
    """How something ended, errors included; `reason` is None while it goes on."""

    def __init__(self) -> None:
        self.reason: FinishReason | None = None
        self.error: ErrorInfo | None = None

    def fail(self, error: ErrorInfo) -> None:
        """The first error is the one that counts."""
        self.reason, self.error = "error", self.error or error

    @contextmanager
    def guard(self, what: str) -> Generator[None, None, None]:
        """Whatever is raised inside ends this with an error and goes no further; only `EngineDied` is passed on."""
        try:
            yield
        except EngineDied:
            raise
        except EngineError as failure:
            self.fail(failure.info)
        except Exception as failure:  # noqa: BLE001 - the boundary: an engine's exceptions are not ours to know
            _log.exception("%s failed", what)
            self.fail(_internal(failure))


class ReplyRow(Ending):
    """One reply: logits or drawn tokens in, token events out, until `reason` says why it is over."""

    def __init__(
        self,
        request_id: int,
        row: int = 0,
        *,
        seed: int,
        sampling: Callable[[], SamplingParams],
        prompt_ids: Sequence[int],
        text_stream: ReplyText,
        stop_ids: Collection[int],
        context_length: int,
        now_s: Callable[[], float],
    ) -> None:
        """`sampling` is asked anew for each token; `now_s` is in seconds from the engine's receipt of the request."""
        super().__init__()
        self.row = row
        self.meter = Meter()
        """Of this row alone. It must be shown the events of the prompt; tokens it sees by itself."""
        self.last_id = -1
        """The token that came last, which the model has not seen yet."""
        self._request_id = request_id
        self._seed = seed
        self._sampling = sampling
        self._prompt_ids = prompt_ids
        self._text_stream = text_stream
        self._stop_ids = stop_ids
        self._context_length = context_length
        self._now_s = now_s
        self._sampler: Sampler | None = None
        self._sampling_before = sampling()
        self._sampling_changes = 0

    def take(self, following: NDArray[np.float32] | Drawn, *, is_drafted: bool = False) -> TokenEvent | None:
        """The next token: sampled from logits [vocab], or as it was drawn; None, and `reason` stop, where it is the
        end of the turn. `is_drafted`: the logits were there with those before.

        After the event has gone out, `settle` says whether the reply goes on.
        """
        token_id, logprobs = self._drawn(following)
        if token_id in self._stop_ids:
            self.reason = "stop"
            return None
        self.last_id = token_id
        event = TokenEvent(
            request_id=self._request_id,
            token_ids=(token_id,),
            text=self._text_stream.push(token_id),
            times_s=(self._now_s(),),
            logprobs=logprobs,
            drafted=(True,) if is_drafted else (),
            row=self.row,
        )
        self.meter.observe(event)
        return event

    def _drawn(self, following: NDArray[np.float32] | Drawn) -> tuple[int, tuple[float, ...]]:
        """A token, and its log probability where the host has seen the logits."""
        if isinstance(following, Drawn):
            return following.token_id, ()
        if self._sampler is None:
            self._sampler = Sampler(len(following), self._seed, self._prompt_ids)
        sampled = self._sampler.sample(following, self._sampling())
        return sampled.token_id, (sampled.logprob,)

    def settle(self) -> None:
        """Find the reason for which the reply is over with the token that just came, if there is one."""
        sampling = self._sampling()
        self._sampling_changes += sampling != self._sampling_before
        self._sampling_before = sampling
        if self._text_stream.is_stopped:
            self.reason = "stop"
        elif self.meter.completion_tokens >= sampling.max_tokens:
            self.reason = "length"
        elif self.meter.context_used >= self._context_length:
            self.reason = "context"

    def finished(self) -> GenerationFinished:
        """The last event of a request of one row; its text is what was still held back. `reason` must be there."""
        text, reason = self._close()
        return GenerationFinished(
            request_id=self._request_id, reason=reason, stats=self._stats(), text=text, error=self.error
        )

    def row_finished(self) -> RowFinished:
        """The last event of this row of a batch, as `finished`."""
        text, reason = self._close()
        return RowFinished(
            request_id=self._request_id,
            row=self.row,
            reason=reason,
            stats=self._stats(),
            text=text,
            error=self.error,
        )

    def _stats(self) -> GenerationStats:
        return msgspec.structs.replace(self.meter.stats(), sampling_changes=self._sampling_changes)

    def _close(self) -> tuple[str, FinishReason]:
        text = ""
        with self.guard(f"reply {self._request_id}: the text held back by row {self.row}"):
            text = self._text_stream.flush()
        self.meter.finished(self._now_s())
        assert self.reason is not None
        return text, self.reason


def _internal(failure: Exception) -> ErrorInfo:
    return ErrorInfo(
        kind="internal",
        message=f"The engine failed: {type(failure).__name__}: {failure}",
        cure="What came is kept; the log has the details. If it goes on, load the model again.",
    )
