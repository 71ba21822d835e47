"""The responder of every in-process engine: messages in, generation events out, over one loaded model."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Final, Protocol

import msgspec

from ttchat_tui.domain.chat import ChatMessage
from ttchat_tui.domain.events import GenerationEvent, PromptCounted, TokenEvent
from ttchat_tui.domain.generation import GenerationControl, GenerationRequest
from ttchat_tui.domain.model_spec import Capabilities
from ttchat_tui.domain.sampling import DEFAULTS, SamplingParams, Thinking
from ttchat_tui.domain.thoughts import OPENING, normalised, opening_before, opens_thought
from ttchat_tui.engine.base import EngineError, problem_of, refusal, require_no_constraint, require_rows
from ttchat_tui.engine.decoding.constraint import ConstraintCompiler, ConstraintTokenizer, RowConstraint
from ttchat_tui.engine.decoding.job import PREFILL_CHUNK, ReplyJob
from ttchat_tui.engine.decoding.loop import AnyStepper, BatchStepper, run_batch, run_generation
from ttchat_tui.engine.decoding.passes import NUMPY, Passes
from ttchat_tui.engine.decoding.scoring import run_scoring
from ttchat_tui.engine.decoding.token_bias import BiasTable
from ttchat_tui.engine.text.bias_ids import BiasIds, NamedTokens
from ttchat_tui.engine.text.prompt_builder import EncodedPrompt, PromptBuilder
from ttchat_tui.engine.text.template import ChatTemplate, PromptPiece
from ttchat_tui.engine.text.text_stream import IncrementalDecoder, TextStream
from ttchat_tui.engine.text.thought_end import ThoughtEnd
from ttchat_tui.engine.text.token_ledger import NO_UNFINISHED_REPLY, UnfinishedReply, WrittenReply

_TAIL: Final = 16
"""Tokens at the end of a prompt: enough for a tag."""

_NO_PROMPT: Final = EncodedPrompt((), 0)


class ReplyTokenizer(NamedTokens, Protocol):
    """What a reply needs of a tokenizer (`tokenizer.ChatTokenizer`)."""

    @property
    def beginning(self) -> Sequence[int]:
        """Ids before every text without a chat template."""
        ...

    @property
    def end_ids(self) -> Collection[int]: ...

    @property
    def controls(self) -> Collection[str]: ...

    @property
    def control_texts(self) -> Mapping[int, bytes]:
        """What each control token adds to a reply's text, where that is not its name."""
        ...

    def new_decoder(self, *, is_start: bool) -> IncrementalDecoder: ...


class Responder:
    """Answers requests with one loaded model. Remembers the ids of each reply for the next prompt."""

    def __init__(
        self,
        *,
        tokenizer: ReplyTokenizer,
        template: ChatTemplate,
        context_length: int,
        stepper: AnyStepper,
        batch: BatchStepper | None = None,
        batch_sizes: Sequence[int] = (1,),
        prefill_chunk: int = PREFILL_CHUNK,
        constraint_tokenizer: ConstraintTokenizer | None = None,
        suppressed: Collection[int] = (),
        passes: Passes = NUMPY,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        """
        Args:
            constraint_tokenizer: the tokenizer as constraints need it; None: requests with one are refused.
            batch: decodes candidates, over the same KV cache; None if the engine cannot.
            prefill_chunk: prompt tokens per call of the stepper's `prefill`.
            suppressed: tokens that the model's authors never want; drawn only if the user biases them.
            clock: monotonic, in seconds.
        """
        self._clock = clock
        self._passes = passes
        self._has_replied = False
        self._tokenizer = tokenizer
        self._template = template
        self._context_length = context_length
        self._stepper = stepper
        self._batch = batch
        self._batch_sizes = batch_sizes
        self._prefill_chunk = prefill_chunk
        self._constraints = ConstraintCompiler(constraint_tokenizer) if constraint_tokenizer else None
        self._thought_end = ThoughtEnd(template, tokenizer, tokenizer.controls)
        self._bias_ids = BiasIds(tokenizer)
        self._biases = BiasTable(self._bias_ids, suppressed)
        self._prompts = PromptBuilder(template, tokenizer, context_length, clock, self._as_written)

    @property
    def thinking(self) -> tuple[Thinking, ...]:
        """`Capabilities.thinking`."""
        return self._template.thinking

    @property
    def sampling(self) -> frozenset[str]:
        """`Capabilities.sampling`."""
        can_constrain = self._constraints is not None and self._constraints.is_available
        return Capabilities().sampling | frozenset(["constraint"] if can_constrain else ())

    @property
    def constraint_cure(self) -> str:
        """`Capabilities.constraint_cure`."""
        return self._constraints.cure if self._constraints is not None else ""

    @property
    def end_ids(self) -> frozenset[int]:
        """`EngineInfo.end_ids`."""
        return frozenset(self._tokenizer.end_ids)

    def count(
        self,
        count_id: int,
        messages: Sequence[ChatMessage],
        sampling: SamplingParams = DEFAULTS,
        keep: Collection[int] = (),
    ) -> PromptCounted:
        """As `Engine.count`."""
        counted = self._prompts.count(messages, sampling, keep)
        return PromptCounted(
            count_id=count_id,
            prompt_tokens=counted.tokens,
            context_length=self._context_length,
            dropped_messages=counted.dropped,
            message_tokens=counted.message_tokens,
            fallen=counted.fallen,
            bias_problem=problem_of(lambda: self._bias_ids.require(sampling.logit_bias)),
            constraint_problem=problem_of(lambda: self._require_constraint(sampling)),
        )

    def _require_constraint(self, sampling: SamplingParams) -> None:
        """Raises UnusableConstraint."""
        if sampling.constraint is not None and self._constraints is not None:
            self._constraints.start(sampling.constraint, "", "", ())

    def generate(self, request: GenerationRequest, control: GenerationControl) -> Iterator[GenerationEvent]:
        """As `Engine.generate`."""
        received_s = self._clock()
        if request.given.text:
            yield from self._score(request, control, received_s)
            return
        try:
            require_rows(request.rows, self._batch_sizes)
            for sampling in _samplings(request):
                self._bias_ids.require(sampling.logit_bias)
            unfinished = self._unfinished_reply(request)
            prompt = self._prompt(request, unfinished)
            constraints = self._start_constraints(request, prompt, unfinished)
        except EngineError as error:
            yield refusal(request, error.info)
            return
        # The template opened a thought, and the reply has only its end: its opening tag goes out with the first token.
        opens = not request.continue_last and opens_thought(prompt.tail)
        unopened = set(range(request.rows)) if opens else set[int]()
        reply_ids: list[int] = []
        try:
            for event in self._run(request, control, prompt, constraints, unfinished.ids, received_s):
                if isinstance(event, TokenEvent) and event.row == 0:
                    if event.replaces is not None:
                        reply_ids.pop()
                    reply_ids.extend(event.token_ids)
                if isinstance(event, TokenEvent) and event.row in unopened:
                    unopened.remove(event.row)
                    event = msgspec.structs.replace(event, text=OPENING + event.text)
                yield event
        finally:
            self._prompts.remember(prompt, *self._whole_characters(unfinished.ids, reply_ids))

    def _score(
        self, request: GenerationRequest, control: GenerationControl, received_s: float
    ) -> Iterator[GenerationEvent]:
        (ids,) = self._tokenizer.encode_pieces([PromptPiece(request.given.text, is_control=False)])
        job = self._job(request, control, _NO_PROMPT, (), (), received_s)
        job = msgspec.structs.replace(job, prompt_ids=self._tokenizer.beginning, followed=ids)
        yield from run_scoring(job, self._stepper)

    def _prompt(self, request: GenerationRequest, unfinished: UnfinishedReply) -> EncodedPrompt:
        """Raises EngineError."""
        if ids := request.given.prompt_ids:
            text = b"".join(map(self._tokenizer.piece_of, ids[-_TAIL:])).decode("utf-8", "replace")
            return EncodedPrompt(((PromptPiece(text, is_control=True), ids),), 0)
        return self._prompts.build(
            request.messages,
            keep=request.keep,
            continue_last=request.continue_last,
            unfinished=unfinished,
            sampling=request.sampling,
        )

    def _unfinished_reply(self, request: GenerationRequest) -> UnfinishedReply:
        """The ids and text of the message to continue, if its ids are known and still decode to its text: as it streamed, or
        in the form in which replies with thoughts are stored."""
        ids = request.written_ids
        if not request.continue_last or not ids or self._are_foreign(ids):
            return NO_UNFINISHED_REPLY
        text, raw = (_decode_ids(self._new_decoder(is_start=is_start), ids) for is_start in (True, False))
        content = request.messages[-1].content
        opening = opening_before(text, content)
        if content != opening + text and content != normalised(opening + text):
            return NO_UNFINISHED_REPLY  # a stop string was cut off, or another model wrote it
        return UnfinishedReply(ids, (raw, text), opens_in_prompt=bool(opening))

    def _start_constraints(
        self, request: GenerationRequest, prompt: EncodedPrompt, unfinished: UnfinishedReply
    ) -> list[RowConstraint | None]:
        """One for each row. Raises UnusableConstraint."""
        if self._constraints is None:
            require_no_constraint(request, "This engine cannot constrain replies.")
            return []
        written = request.messages[-1].content if request.continue_last else ""
        return [
            self._constraints.start(sampling.constraint, prompt.tail, written, unfinished.ids)
            if sampling.constraint is not None
            else None
            for sampling in _samplings(request)
        ]

    def _are_foreign(self, ids: Sequence[int]) -> bool:
        """Another model wrote them, even if their text is the same here: one is not in the vocabulary, or ends a turn. Neither
        has a text."""
        tokenizer = self._tokenizer
        return any(each in tokenizer.end_ids or not tokenizer.piece_of(each) for each in ids)

    def _as_written(self, ids: tuple[int, ...]) -> WrittenReply:
        """As `written_pieces` wants it; without ids if another model wrote it."""
        if self._are_foreign(ids):
            return WrittenReply("", ())
        kept, text = self._whole_characters((), ids)
        return WrittenReply(text, tuple(kept))

    def _whole_characters(self, written: Sequence[int], ids: Sequence[int]) -> tuple[Sequence[int], str]:
        """The ids after `written` up to the last whole character, and their text."""
        while True:
            decoder = self._new_decoder(written)
            text = _decode_ids(decoder, ids)
            if not ids or decoder.is_whole:
                return ids, text + decoder.flush()
            ids = ids[:-1]

    def _new_decoder(self, seen: Sequence[int] = (), *, is_start: bool = False) -> IncrementalDecoder:
        """A decoder that has seen the ids before the reply."""
        decoder = self._tokenizer.new_decoder(is_start=is_start)
        _decode_ids(decoder, seen)
        return decoder

    def _run(
        self,
        request: GenerationRequest,
        control: GenerationControl,
        prompt: EncodedPrompt,
        constraints: Sequence[RowConstraint | None],
        written: Sequence[int],
        received_s: float,
    ) -> Iterator[GenerationEvent]:
        job = self._job(request, control, prompt, constraints, written, received_s)
        self._has_replied = True
        if request.candidates and self._batch is not None:
            return run_batch(job, self._batch)
        return run_generation(job, self._stepper)

    def _job(
        self,
        request: GenerationRequest,
        control: GenerationControl,
        prompt: EncodedPrompt,
        constraints: Sequence[RowConstraint | None],
        written: Sequence[int],
        received_s: float,
    ) -> ReplyJob:
        is_start = bool(written) or not request.continue_last
        before = OPENING if opens_thought(prompt.tail) else ""
        if request.continue_last:
            before = request.messages[-1].content
        return ReplyJob(
            request=request,
            control=control,
            prompt_ids=prompt.ids,
            text_streams=[
                TextStream(
                    self._new_decoder(written, is_start=is_start), (*sampling.stop, *self._template.stop)
                )
                for sampling in _samplings(request)
            ],
            stop_ids=self._tokenizer.end_ids,
            context_length=self._context_length,
            clock=self._clock,
            received_s=received_s,
            template_s=prompt.template_s,
            tokenise_s=prompt.tokenise_s,
            is_first=not self._has_replied,
            piece_of=self._tokenizer.piece_of,
            control_texts=self._tokenizer.control_texts,
            find_bias=self._biases.find,
            thought_end=lambda text: self._thought_end.ids_after(before + text),
            constraints=constraints,
            passes=self._passes,
            followed=request.given.ids,
            dropped_messages=prompt.dropped,
            prefill_chunk=self._prefill_chunk,
        )


def _samplings(request: GenerationRequest) -> Sequence[SamplingParams]:
    """Of each row, at the beginning."""
    return (request.sampling, *(row.sampling or request.sampling for row in request.candidates))


def _decode_ids(decoder: IncrementalDecoder, ids: Sequence[int]) -> str:
    return "".join([decoder.push(token_id) for token_id in ids])
