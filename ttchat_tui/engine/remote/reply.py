"""One reply as it comes from a server: chunks in, token events out, its figures by the client's clock."""

from __future__ import annotations

from typing import Final

import msgspec

from ttchat_tui.domain.events import PrefillProgress, TokenEvent
from ttchat_tui.domain.generation import FinishReason, GenerationStats
from ttchat_tui.engine.meter import Meter
from ttchat_tui.engine.remote.chunks import Choice, Chunk, Usage
from ttchat_tui.engine.text_stream import TextStream, WholeText

THINK_BEGINS = "<think>\n"
THINK_ENDS = "\n</think>\n\n"

_REASONS: dict[str, FinishReason] = {
    "stop": "stop",
    "eos": "stop",
    "eos_token": "stop",
    "end_turn": "stop",
    "stop_sequence": "stop",
    "tool_calls": "stop",
    "function_call": "stop",
    "length": "length",
    "max_tokens": "length",
}


class Seam(msgspec.Struct, frozen=True):
    """Where a reply goes on, if it is one that is continued."""

    is_thinking: bool = False
    """It ends within a think block."""
    is_exact: bool = True
    """The server goes on at the very token; otherwise the model was asked in words for the rest."""
    last: str = ""
    """Its last character."""


WHOLE: Final = Seam()
"""A reply from its beginning."""


class RemoteReply:
    """Text, thinking and figures of one row. Chunks are not tokens: how many tokens one is, is taken from the usage
    that comes with it, else from its log-probabilities, else it counts as one until the server says better."""

    def __init__(
        self, request_id: int, row: int, stop: tuple[str, ...], *, seam: Seam = WHOLE, prompt_tokens: int
    ) -> None:
        self.finish_reason = ""
        """The server's word; empty until it has said one."""
        self.meter = Meter()
        self.text = TextStream(WholeText(), stop)
        self.request_id = request_id
        self._row = row
        self._seam = seam
        self._is_thinking = seam.is_thinking
        self._has_said = False
        self._usage = Usage()
        self._cached_tokens: int | None = None
        self._prompt_tokens = prompt_tokens
        self._tokens = 0
        self._is_counted = True
        """Every chunk said how many tokens it is."""
        self._times_s: list[float] = []

    @property
    def has_begun(self) -> bool:
        return bool(self._times_s)

    @property
    def reason(self) -> FinishReason | None:
        """Why it is over by the server's word; None where there is none (or one that is an error)."""
        return _REASONS.get(self.finish_reason.lower())

    def take(self, chunk: Chunk, time_s: float) -> list[TokenEvent | PrefillProgress]:
        """`time_s` in seconds from the receipt of the request."""
        events: list[TokenEvent | PrefillProgress] = []
        if chunk.prompt_progress is not None and not self.has_begun:
            progress = chunk.prompt_progress
            events.append(PrefillProgress(self.request_id, progress.processed, progress.total))
        choice = next(iter(chunk.choices or ()), None)
        if choice is not None:
            event = self._token_event(choice, chunk.usage, time_s)
            events.extend([event] if event is not None else [])
            self.finish_reason = choice.finish_reason or self.finish_reason
        if chunk.usage is not None:
            self._take_usage(chunk.usage)
        if chunk.timings is not None and chunk.timings.cache_n is not None:
            self._cached_tokens = chunk.timings.cache_n
        return events

    def flush(self) -> str:
        """Text held back; called once, at the end. Thinking that came to its end without an answer is closed."""
        closing = "\n</think>\n" if self._is_thinking and self.reason is not None else ""
        return self.text.flush() + closing

    def stats(self, *, context_length: int, dropped: int, total_s: float) -> GenerationStats:
        """The figures: tokens by the server's usage where it gave one; the rate is that of the tokens in all chunks
        from the third on, taking chunks as equally large: n (c - 2) / c tokens in t_c - t_2."""
        chunks, usage = len(self._times_s), self._usage
        tokens = usage.completion_tokens if usage.completion_tokens is not None else self._tokens
        prompt = usage.prompt_tokens if usage.prompt_tokens is not None else self._prompt_tokens
        steady_s = self._times_s[-1] - self._times_s[1] if chunks > 2 else 0.0
        return msgspec.structs.replace(
            self.meter.stats(),
            prompt_tokens=prompt,
            cached_tokens=self._cached_tokens or 0,
            completion_tokens=tokens,
            context_length=context_length,
            dropped_messages=dropped,
            decode_tps=tokens * (chunks - 2) / chunks / steady_s if steady_s > 0.0 else None,
            total_s=total_s,
            chunks=chunks,
            is_estimate=usage.prompt_tokens is None
            or (usage.completion_tokens is None and not self._is_counted),
        )

    @property
    def prompt_tokens(self) -> int | None:
        """As the server counted them."""
        return self._usage.prompt_tokens

    def _take_usage(self, usage: Usage) -> None:
        if usage.prompt_tokens is not None or usage.completion_tokens is not None:
            self._usage = usage
        details = usage.prompt_tokens_details
        if details is not None and details.cached_tokens is not None:
            self._cached_tokens = details.cached_tokens

    def _token_event(self, choice: Choice, usage: Usage | None, time_s: float) -> TokenEvent | None:
        delta = choice.delta or choice.message
        thinking, said = (delta.thinking, delta.text) if delta is not None else ("", "")
        values = tuple(
            token.logprob or 0.0 for token in (choice.logprobs.content or () if choice.logprobs else ())
        )
        if not thinking and not said and not values:
            return None  # a role, an end, a sign of life
        count = self._count(usage, len(values))
        self._tokens += count
        self._times_s.append(time_s)
        self.meter.token(time_s)
        return TokenEvent(
            request_id=self.request_id,
            token_ids=(),
            text=self._shown(thinking, said),
            times_s=(time_s,) * count,
            logprobs=values if len(values) == count else (),
            row=self._row,
        )

    def _count(self, usage: Usage | None, values: int) -> int:
        if usage is not None and usage.completion_tokens is not None:
            return max(usage.completion_tokens - self._tokens, 1)
        self._is_counted = self._is_counted and values > 0
        return values or 1

    def _shown(self, thinking: str, said: str) -> str:
        text = ""
        if thinking and (
            self._seam.is_exact or self._is_thinking
        ):  # else it would stand in the middle of the answer
            text += thinking if self._is_thinking else THINK_BEGINS + thinking
            self._is_thinking = True
        if said:
            text += THINK_ENDS if self._is_thinking else ""
            self._is_thinking = False
            text += self._space_before(said) + self.text.take(said)
            self._has_said = True
        return text

    def _space_before(self, said: str) -> str:
        """What holds two words apart where the rest was asked for in words: replies begin without a space."""
        is_first, self._has_said = not self._has_said, True
        if not is_first or self._seam.is_exact or self._seam.is_thinking:
            return ""
        return " " if self._seam.last.strip() and said[0].isalnum() else ""
