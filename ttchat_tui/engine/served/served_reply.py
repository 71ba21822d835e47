"""One reply from a server: chunks in, token events out, timed by the client's clock."""

from __future__ import annotations

from typing import Final, Literal, TypeAlias

import msgspec

from ttchat_tui.domain.events import PrefillProgress, TokenEvent
from ttchat_tui.domain.generation import FinishReason, GenerationStats
from ttchat_tui.domain.meter import HONEST_S, Meter
from ttchat_tui.engine.served.chunks import ChunkChoice, StreamChunk, Usage
from ttchat_tui.engine.served.listed_tokens import distribution_of
from ttchat_tui.engine.served.reply_assembler import WHOLE, ReplyAssembler, ReplyPiece, Seam
from ttchat_tui.engine.served.side_content import SideContent
from ttchat_tui.engine.text.text_stream import TextStream, WholeText

_LENGTH: Final = frozenset(
    {"length", "max_tokens", "max_length", "model_length", "max_output_tokens", "incomplete"}
    | {"model_context_window_exceeded"}
)
_BROKEN_OFF: Final = frozenset(
    {"abort", "aborted", "cancel", "cancelled", "canceled", "interrupted", "network_error", "load"}
    | {"insufficient_system_resource", "timeout"}
)
"""The server aborted the reply: vLLM, SGLang; Zhipu; DeepSeek."""
_FILTERED: Final = frozenset(
    {"content_filter", "content-filter", "safety", "recitation", "blocklist", "prohibited_content", "spii"}
    | {"sensitive", "guardrail_intervened", "content_filtered", "refusal", "image_safety", "language"}
)
"""OpenAI; Gemini; Zhipu; Bedrock; Anthropic."""
_FAILED: Final = frozenset({"error", "failed", "malformed_function_call"})

_MOST_IN_A_CHUNK: Final = 4096
"""Most plausible tokens in one chunk; a usage that claims more is ignored."""
_HONEST_CHUNKS: Final = 5
"""Fewest chunks for a rate. Fewer arrive together, so that they would show the network's rate."""


FinishKind: TypeAlias = Literal["stop", "length", "broken off", "filtered", "failed"]


class ServedReply:
    """Text, thoughts and figures of one row. A chunk is not a token: its number of tokens comes from the usage in it, else
    from its log-probabilities, else it counts as one until the server's usage corrects it."""

    def __init__(
        self,
        request_id: int,
        row: int,
        stop: tuple[str, ...],
        *,
        seam: Seam = WHOLE,
        prompt_tokens: int,
        is_recorded: bool = False,
    ) -> None:
        self.finish_reason = ""
        """The server's finish reason; empty until it comes."""
        self.stray = ""
        """An ignored line of the stream, if there was no finish reason."""
        self.meter = Meter()
        self.text = TextStream(WholeText(), stop)
        self.request_id = request_id
        self._row = row
        self._assembler = ReplyAssembler(seam)
        self._side_content = SideContent()
        self._usage = Usage()
        self._prompt_tokens = prompt_tokens
        self._tokens = 0
        self._is_counted = True
        """Every chunk stated its number of tokens."""
        self._times_s: list[float] = []
        self._is_recorded = is_recorded
        self._pieces: dict[int, bytes] = {}
        """Of the tokens so far and their alternatives."""

    @property
    def has_begun(self) -> bool:
        return bool(self._times_s)

    @property
    def ending(self) -> FinishKind | None:
        """How the server says it ended; None if it does not say. An unknown word counts as a normal end."""
        word = self.finish_reason.lower().removeprefix("finish_reason_")
        if not word:
            return None
        kinds: tuple[tuple[frozenset[str], FinishKind], ...] = (
            (_LENGTH, "length"),
            (_BROKEN_OFF, "broken off"),
            (_FILTERED, "filtered"),
            (_FAILED, "failed"),
        )
        for words, ending in kinds:
            if word in words:
                return ending
        return "stop"

    def add_chunk(self, chunk: StreamChunk, time_s: float) -> list[TokenEvent | PrefillProgress]:
        """Add a chunk that arrived `time_s` seconds after the request."""
        events: list[TokenEvent | PrefillProgress] = []
        if chunk.progress is not None and not self.has_begun:
            events.append(PrefillProgress(self.request_id, chunk.progress.done, chunk.progress.total))
        for choice in self._assembler.ours(chunk.choices):
            event = self._token_event(choice, chunk.usage, time_s)
            events.extend([event] if event is not None else [])
            self.finish_reason = choice.finish_reason or self.finish_reason
        self._add_usage(chunk.usage)
        return events

    def flush(self) -> str:
        """The text held back. Call once, at the end. Closes thoughts that no answer followed."""
        if self.text.is_stopped:
            return ""
        rest = self._filtered(self._assembler.rest()) + self.text.flush() + self._assembler.late_thoughts()
        is_over = self.ending in ("stop", "length") and not rest
        if self.ending == "stop":
            rest += self._assembler.misread()
        return rest + (self._assembler.closed() if is_over else "")

    def notes(self, reason: FinishReason) -> tuple[str, ...]:
        """Sentences for the user besides the text; `reason` is how it ended."""
        notes = self._side_content.notes()
        if self._assembler.has_thought_unseen:
            notes += ("What the model thought before it continued is not shown.",)
        if self.stray:
            notes += (f"The server also sent data that is not part of a reply: {self.stray!r}.",)
        if reason in ("stop", "length") and not notes and not self._assembler.has_said:
            what = "nothing but thoughts" if self._assembler.has_thought else "an empty reply"
            notes = (f"The server sent {what}.",)
        return notes

    def stats(
        self, reason: FinishReason, *, context_length: int, dropped: int, total_s: float
    ) -> GenerationStats:
        """The reply's figures. Token counts are the server's usage if it gave one. The decode rate covers the chunks from
        the third on, taken as equally large: n (c - 2) / c tokens in t_c - t_2 seconds. It is None for too few chunks,
        or chunks too close together."""
        chunks, usage = len(self._times_s), self._usage
        tokens = usage.completion_tokens if usage.completion_tokens is not None else self._tokens
        prompt = usage.prompt_tokens if usage.prompt_tokens is not None else self._prompt_tokens
        steady_s = self._times_s[-1] - self._times_s[1] if chunks >= _HONEST_CHUNKS else 0.0
        return msgspec.structs.replace(
            self.meter.stats(),
            prompt_tokens=prompt,
            cached_tokens=min(usage.cached_tokens or 0, prompt),
            completion_tokens=tokens,
            context_length=context_length,
            dropped_messages=dropped,
            decode_tps=tokens * (chunks - 2) / chunks / steady_s if steady_s >= HONEST_S else None,
            total_s=total_s,
            chunks=chunks,
            is_estimate=usage.prompt_tokens is None
            or (usage.completion_tokens is None and not self._is_counted),
            notes=self.notes(reason),
        )

    @property
    def prompt_tokens(self) -> int | None:
        """Prompt tokens as counted by the server; None if it does not say."""
        return self._usage.prompt_tokens

    def _add_usage(self, usage: Usage) -> None:
        known = {name: value for name, value in msgspec.structs.asdict(usage).items() if value is not None}
        if known.get("completion_tokens") == 0 and self.has_begun:
            del known["completion_tokens"]  # text came, so this server does not count
        self._usage = msgspec.structs.replace(self._usage, **known)

    def _token_event(self, choice: ChunkChoice, usage: Usage, time_s: float) -> TokenEvent | None:
        piece = self._assembler.add(choice)
        self._side_content.add(choice)
        tokens = choice.tokens
        if not piece.thinking and not piece.said and not tokens:
            return None  # a role, a finish reason, a keep-alive
        count = self._count(usage, len(tokens))
        is_listed = len(tokens) == count
        pieces: dict[int, bytes] = {}
        distributions = (
            tuple(distribution_of(token, self._pieces, pieces) for token in tokens)
            if is_listed and self._is_recorded
            else ()
        )
        self._tokens += count
        self._times_s.append(time_s)
        self.meter.token(time_s)
        return TokenEvent(
            request_id=self.request_id,
            token_ids=(),
            text=self._filtered(piece),
            times_s=(time_s,) * count,
            logprobs=tuple(token.logprob for token in tokens) if is_listed else (),
            row=self._row,
            ends_thought=piece.ends_thought,
            distributions=distributions,
            pieces=pieces,
        )

    def _filtered(self, piece: ReplyPiece) -> str:
        """The text up to a stop string; only the answer is searched for them."""
        before = self.text.flush() + piece.thinking if piece.thinking else ""
        return before + self.text.push_text(piece.said)

    def _count(self, usage: Usage, values: int) -> int:
        if usage.completion_tokens is not None:
            count = usage.completion_tokens - self._tokens
            if count <= _MOST_IN_A_CHUNK:
                return max(count, 1)
        self._is_counted = self._is_counted and values > 0
        return values or 1
