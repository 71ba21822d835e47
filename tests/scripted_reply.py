"""One reply of the scripted engine: its words as tokens, made-up times, and its end."""

from __future__ import annotations

import math
import re
from array import array
from collections import deque
from collections.abc import Iterator, Sequence
from zlib import crc32

import msgspec

from ttchat_tui.domain.errors import ErrorInfo
from ttchat_tui.domain.events import (
    GenerationFinished,
    GenerationStarted,
    RowFinished,
    StepScores,
    TokenEvent,
)
from ttchat_tui.domain.generation import (
    END_OF_THOUGHT,
    FinishReason,
    GenerationControl,
    GenerationRequest,
    GenerationStats,
)
from ttchat_tui.domain.logit_bias import BAN
from ttchat_tui.domain.recording import (
    ALTERNATIVES,
    Cut,
    Distribution,
    Pause,
    RecordedToken,
    SamplingChange,
    alternatives_of,
    packed,
)
from ttchat_tui.domain.reply_settings import differing
from ttchat_tui.domain.sampling import SamplingParams
from ttchat_tui.domain.thoughts import end_of_open_thought
from ttchat_tui.domain.timeline import PrefillChunk, StepParts, Timeline

PREFILL_S, STEP_S = 0.1, 0.02
"""The made-up clock: the first token comes after 0.1 s, each further one 0.02 s later (50 tokens/s)."""
VOCABULARY = 65_536
PAUSED_S = 8.0
"""Every pause."""
TEMPLATE_S, TOKENISE_S, STARTED_S, READ_S = 0.004, 0.002, 0.01, 0.085
FIRST = StepParts(sample_s=0.003, detokenise_s=0.002)
STEP = StepParts(send_s=0.001, forward_s=0.016, sample_s=0.002, detokenise_s=0.001)
"""Where that time goes."""


class ScriptedReply:
    """One reply as it grows: ids, made-up times, and the text that may be the start of a stop string."""

    def __init__(
        self,
        request: GenerationRequest,
        context_length: int,
        row: int = 0,
        *,
        has_logprobs: bool = False,
        script: Sequence[str] = (),
    ) -> None:
        """`script`: the words that the user may choose by their ids."""
        self.request = request
        self.row = row
        candidate = request.candidates[row - 1] if row else None
        self.seed = candidate.seed if candidate else request.seed
        self.own = candidate.sampling if candidate else None
        self.reason: FinishReason | None = None
        self.context_length = context_length
        self.prompt_tokens = 0
        self.dropped = 0
        self.count = 0
        self.is_stopped = False
        self.has_logprobs = has_logprobs
        self._held = ""
        self.pauses: list[Pause] = []
        """Before its next token."""
        self.paused_s = 0.0
        self.forced_taken = 0
        """Of what the user has chosen."""
        self.text = ""
        self._chosen = deque[int]()
        self._ending = deque[str]()
        self._before = request.messages[-1].content if request.continue_last else ""
        self._latest: TokenEvent | None = None
        self._words = {token_id(word): word for word in script}
        self._sampling_before = self.own or request.sampling
        self._differing = differing([request.sampling, self._sampling_before])

    def started(self) -> GenerationStarted:
        return GenerationStarted(self.request.id, self.prompt_tokens, 0, self.context_length, self.dropped)

    def pause(self) -> None:
        self.pauses.append(Pause(0, PAUSED_S))
        self.paused_s += PAUSED_S

    def sampling(self, control: GenerationControl) -> SamplingParams:
        own = {name: getattr(self.own, name) for name in self._differing} if self.own else {}
        return msgspec.structs.replace(control.sampling, **own)

    def take_forced(self, control: GenerationControl) -> Iterator[TokenEvent]:
        """What the user has chosen since the last call: the next words, or another latest token."""
        new = control.forced[self.forced_taken :]
        self.forced_taken += len(new)
        for forced in new:
            if forced.token_id == END_OF_THOUGHT:
                is_open = bool(end_of_open_thought(self._before + self.text))
                self._ending += ["\n</think>", "\n\nSo"] if is_open else []
            elif forced.instead_of is None:
                self._chosen.append(forced.token_id)
            elif self._latest is not None and forced.instead_of == self.count - 1:
                yield self._replaced(forced.token_id)

    def _replaced(self, token_id: int) -> TokenEvent:
        assert self._latest is not None
        word = self._word_of(token_id)
        self.text = self.text.removesuffix(self._latest.text) + word
        self._latest = msgspec.structs.replace(
            self._latest,
            token_ids=(token_id,),
            text=word,
            pauses=(),
            forced=(True,),
            replaces=len(self._latest.text),
        )
        return self._latest

    def next_word(self, words: deque[str], control: GenerationControl) -> tuple[str, bool]:
        """The next word, and whether the user chose it, in the place of one of `words`. A banned one is another."""
        if self._ending:
            return self._ending.popleft(), True
        word = words.popleft()
        if self._chosen:
            return self._word_of(self._chosen.popleft()), True
        is_banned = self.sampling(control).logit_bias.get(word, 0.0) <= BAN
        return (" instead" if is_banned else word), False

    def _word_of(self, token_id: int) -> str:
        return self._words.get(token_id, f" word{token_id}")

    def token(self, text: str, control: GenerationControl, *, is_forced: bool = False) -> TokenEvent:
        self._latest = self._token(text, control, is_forced)
        self._words |= {each: piece.decode() for each, piece in self._latest.pieces.items()}
        self._words[token_id(text)] = text
        self.text += self._latest.text
        return self._latest

    def _token(self, text: str, control: GenerationControl, is_forced: bool) -> TokenEvent:
        time_s = PREFILL_S + STEP_S * self.count
        self.count += 1
        sampling, before = self.sampling(control), self._sampling_before
        self._sampling_before = sampling
        event = TokenEvent(
            self.request.id,
            (token_id(text),),
            self._release(text, sampling.stop),
            (time_s,),
            row=self.row,
            sampling_changes=(SamplingChange(0, sampling),) if sampling != before else (),
            pauses=tuple(self.pauses),
            forced=(True,) if is_forced else (),
            spent=() if self.request.record == "off" else (FIRST if self.count == 1 else STEP,),
        )
        self.pauses.clear()
        if self.request.record == "off":
            return event
        if not self.has_logprobs:
            return msgspec.structs.replace(event, pieces={token_id(text): text.encode()})
        logprob, distribution, pieces = made_up(text, self.count)
        return msgspec.structs.replace(
            event, logprobs=(logprob,), distributions=(distribution,), pieces=pieces
        )

    def end(self, sampling: SamplingParams) -> FinishReason | None:
        if self.is_stopped:
            return "stop"
        if self.count >= sampling.max_tokens:
            return "length"
        return "context" if self.prompt_tokens + self.count >= self.context_length else None

    def finished(self, reason: FinishReason, error: ErrorInfo | None = None) -> GenerationFinished:
        return GenerationFinished(self.request.id, reason, self._stats(), self._held, error)

    def row_finished(self, reason: FinishReason) -> RowFinished:
        self.reason = reason
        return RowFinished(self.request.id, self.row, reason, self._stats(), self._held)

    def _release(self, text: str, stop: tuple[str, ...]) -> str:
        text = self._held + text
        found = [text.index(string) for string in stop if string in text]
        if found:
            self.is_stopped, self._held = True, ""
            return text[: min(found)]
        starts = [at for at in range(len(text)) if any(string.startswith(text[at:]) for string in stop)]
        sure = starts[0] if starts else len(text)
        self._held = text[sure:]
        return text[:sure]

    def _stats(self) -> GenerationStats:
        n = self.count
        return GenerationStats(
            prompt_tokens=self.prompt_tokens,
            completion_tokens=n,
            context_length=self.context_length,
            ttft_s=PREFILL_S if n else None,
            prefill_s=PREFILL_S if n else None,
            prefill_tps=self.prompt_tokens / PREFILL_S if n else None,
            decode_tps=1 / STEP_S if n > 2 else None,
            first_step_s=STEP_S if n > 1 else None,
            itl_p50_s=STEP_S if n > 2 else None,
            itl_p95_s=STEP_S if n > 2 else None,
            itl_p99_s=STEP_S if n > 2 else None,
            total_s=PREFILL_S + STEP_S * max(0, n - 1),
            paused_s=self.paused_s,
            dropped_messages=self.dropped,
            timeline=self._timeline(),
        )

    def _timeline(self) -> Timeline:
        steady = max(0, self.count - 2)
        return Timeline(
            template_s=TEMPLATE_S,
            tokenise_s=TOKENISE_S,
            started_s=STARTED_S,
            chunks=(PrefillChunk(self.prompt_tokens, READ_S),),
            first_token=FIRST if self.count else None,
            first_step=STEP if self.count > 1 else None,
            steady=StepParts.of((round(each * steady, 6) for each in STEP.numbers), "") if steady else None,
            steady_steps=steady,
            last_token_s=PREFILL_S + STEP_S * (self.count - 1) if self.count else None,
        )


def made_up(text: str, count: int) -> tuple[float, Distribution, dict[int, bytes]]:
    """The log-probability of the `count`-th token, its distribution, and the pieces in it: twenty tokens, each half as
    probable as the one before. The chosen one is the most probable, every third time the second. Top-p leaves three."""
    rank = int(count % 3 == 0)
    others = [f" other{number}" for number in range(ALTERNATIVES - 1)]
    words = [*others[:rank], text, *others[rank:]]
    logprobs = [-(place + 1) * math.log(2) for place in range(ALTERNATIVES)]
    ids = [token_id(word) for word in words]
    cuts: list[Cut] = ["kept" if place < 3 else "top-p" for place in range(ALTERNATIVES)]
    entropy = -sum(each * math.exp(each) for each in logprobs)
    distribution = Distribution(rank, entropy, packed(list(zip(ids, logprobs, cuts, strict=True))))
    pieces = {each: word.encode() for each, word in zip(ids, words, strict=True)}
    return logprobs[rank], distribution, pieces


def made_up_scores(reply: ScriptedReply, text: str) -> StepScores:
    """The scores of the reply's last token, which is the most probable: those of `made_up`, and no other can be drawn."""
    _, distribution, pieces = made_up(text, 1)
    logits = array("f", [-math.inf]) * VOCABULARY
    for each in alternatives_of(RecordedToken(0, 0.0, alternatives=distribution.alternatives)):
        logits[each.token_id] = each.logprob
    return StepScores(
        reply.request.id,
        reply.count - 1,
        token_id(text),
        logits.tobytes(),
        b"",
        b"",
        b"",
        b"",
        b"",
        b"",
        pieces,
    )


def batch_finished(rows: Sequence[ScriptedReply]) -> GenerationFinished:
    """The figures of all rows together, as if one had waited for the longest."""
    stats = [reply.row_finished(reply.reason or "error").stats for reply in rows]
    longest = max(stats, key=lambda one: one.completion_tokens)
    rates = [one.decode_tps for one in stats if one.decode_tps]
    together = msgspec.structs.replace(
        longest,
        completion_tokens=sum(one.completion_tokens for one in stats),
        decode_tps=sum(rates) if rates else None,
    )
    was_cancelled = any(reply.reason == "cancelled" for reply in rows)
    reason = "cancelled" if was_cancelled else rows[0].reason or "error"
    return GenerationFinished(rows[0].request.id, reason, together)


def tokenize(text: str) -> list[str]:
    """Words with the space before them, and what space is left at the end."""
    return re.findall(r"\s*\S+|\s+$", text)


def token_id(token: str) -> int:
    return crc32(token.encode()) & 0xFFFF
