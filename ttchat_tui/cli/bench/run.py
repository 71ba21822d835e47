"""The figures of `bench` for any engine, by the definitions of tt-metal's simple_text_demo.

compile_prefill   the first prefill after the load, with any compilation and warm-up left
TTFT              the second prefill of a prompt of that length, divided by the rows of its batch
decode t/s/u      (steps - 1) / their time: a row's first step after prefill is left out
decode t/s        t/s/u times the rows
token_ms          the time of the 1st, 128th and 1024th decode step that counts
total t/s         of parallel requests to a server: all their tokens by the time from the first request to the last
                  token. Not the sum of their rates, which is high for a server that runs one after the other.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final, NamedTuple

import msgspec

from ttchat_tui.cli.bench.agreement import Reply
from ttchat_tui.domain.agreement import Agreement
from ttchat_tui.domain.chat import ChatMessage
from ttchat_tui.domain.conversation import Conversation, Message, ReplyRecord
from ttchat_tui.domain.events import GenerationFinished, ProgressReporter, RowFinished, TokenEvent
from ttchat_tui.domain.generation import Candidate, GenerationControl, GenerationRequest, GenerationStats
from ttchat_tui.domain.model_spec import EngineInfo, ModelSpec
from ttchat_tui.domain.recording import Recording, RecordLevel
from ttchat_tui.domain.sampling import SamplingParams
from ttchat_tui.engine.base import Engine, EngineError, require_rows
from ttchat_tui.engine.runtime.load_queue import load_timed
from ttchat_tui.session.recorder import Recorder

MILESTONES: Final = (1, 128, 1024)
_WARM_TOKENS: Final = 4
"""Length of the first reply: enough to compile and trace the decode step."""
_TASK: Final = "Write a very long story, as long as you can. These words must be in it:"
_WORD: Final = " river"
_FINE: Final = " a"
_ids = itertools.count(1)


class Workload(msgspec.Struct, frozen=True, kw_only=True):
    prompt_tokens: int = 128
    tokens: int = 128
    batch: int = 1


class TracedReply(NamedTuple):
    """The measured reply in row 0, as a timeline needs it."""

    model: str
    label: str
    stats: GenerationStats
    recording: Recording
    text: str

    def as_stored(self) -> tuple[Conversation, Message]:
        """As if it had been said in a conversation."""
        message = Message(
            id=1,
            conversation_id=1,
            parent_id=None,
            role="assistant",
            content=self.text,
            created_at=0.0,
            reply=ReplyRecord(model=self.model, engine=self.label, stats=self.stats),
        )
        return Conversation(id=1, title=f"bench of {self.model}", created_at=0.0, updated_at=0.0), message


class StreamFigures(msgspec.Struct, frozen=True):
    """Figures of one of several parallel requests."""

    ttft_ms: float | None
    tokens: int
    decode_tps: float | None


class Figures(msgspec.Struct, frozen=True, kw_only=True):
    """Results. A figure is None if the engine does not report it, or after too few tokens."""

    model: str
    engine: str
    label: str
    prompt_tokens: int
    """Length of the actual prompt, chat template included."""
    cached_tokens: int
    """Prompt tokens from the KV cache: the head of the chat template, if the engine keeps the cache."""
    tokens: int
    """Length of the actual reply in row 0; a model may end it early."""
    batch: int
    concurrency: int = 1
    load_s: float
    compile_prefill_s: float | None
    ttft_ms: float | None
    prefill_tps: float | None
    decode_tps_user: float | None
    decode_tps: float | None
    token_ms: dict[str, float]
    is_speculating: bool = False
    """Tokens may be drafted by prompt lookup: the decode rate depends on how often the text repeats itself."""
    tokens_per_forward: float | None = None
    """Of the tokens after the first in a single reply. None: there are several, or the engine does not count forwards."""
    is_by_pieces: bool = False
    """The server does not report the tokens of its pieces: each piece counts as one."""
    total_tps: float | None = None
    streams: tuple[StreamFigures, ...] = ()
    """One per parallel request; empty for a single one."""
    agreement: Agreement | None = None
    """Of the reply in row 0 with another engine, if that was asked for."""


class _Run(msgspec.Struct, frozen=True):
    """One complete request."""

    begun_s: float
    """Start, by `time.perf_counter`."""
    stats: GenerationStats
    times_s: dict[int, list[float]]
    """Arrival times of the tokens of each row, from `begun_s`."""
    reply: Reply
    """The reply in row 0."""
    row_stats: GenerationStats
    """Of row 0."""
    recorder: Recorder
    """Of row 0, without tokens if nothing was recorded."""


def measure(
    engine: Engine,
    spec: ModelSpec,
    workload: Workload,
    report: ProgressReporter,
    compare: Callable[[Reply], Agreement] | None = None,
    trace: Callable[[TracedReply], None] | None = None,
) -> Figures:
    """Load the model, warm it up, measure one batch. `compare` gets the reply in row 0, and gives the figures' agreement. With
    `trace`, which gets it too, it is recorded, which takes 1 to 3 % of the decode rate.

    Raises:
        EngineError: of the engine; `batch_too_large` for more rows than it supports.
    """
    info = load_timed(engine, spec, report)
    require_rows(workload.batch, info.capabilities.batch_sizes)
    filler = prompt_of(engine, workload.prompt_tokens)
    first = _run(engine, "1", filler, min(_WARM_TOKENS, workload.tokens), workload.batch)
    record: RecordLevel = "chosen" if trace else "off"
    second = _run(engine, "2", filler, workload.tokens, workload.batch, record)
    figures = _figures(info, workload, first, [second])
    if trace:
        recording = second.recorder.recording
        text = b"".join(recording.piece_of(token.token_id) for token in recording.tokens)
        traced = TracedReply(
            info.model, info.label, second.row_stats, recording, text.decode("utf-8", "replace")
        )
        trace(traced)
    return msgspec.structs.replace(figures, agreement=compare(second.reply)) if compare else figures


def measure_concurrently(
    engines: Sequence[Engine], spec: ModelSpec, workload: Workload, report: ProgressReporter
) -> Figures:
    """As `measure`, with one request from each of `engines` at the same time.

    TTFT and t/s/u are means over the requests, each of which is in `streams`.

    Raises:
        EngineError: of any of them.
    """
    infos = [load_timed(engine, spec, report) for engine in engines]
    filler = prompt_of(engines[0], workload.prompt_tokens)
    first = _run(engines[0], "1", filler, min(_WARM_TOKENS, workload.tokens), 1)
    with ThreadPoolExecutor(len(engines)) as threads:
        begun = [
            threads.submit(_run, engine, str(number), filler, workload.tokens, 1)
            for number, engine in enumerate(engines, start=2)
        ]
        runs = [each.result() for each in begun]
    return msgspec.structs.replace(
        _figures(infos[0], workload, first, runs),
        decode_tps=None,
        total_tps=_total_tps(runs),
        streams=tuple(_stream(run) for run in runs),
    )


def prompt_of(engine: Engine, tokens: int) -> str:
    """A user message that makes a prompt of at most `tokens`, as close as words allow, or longer if the task alone is."""

    def cost(words: int, fine: int = 0) -> int:
        return engine.count(next(_ids), _messages("1", _TASK + _WORD * words + _FINE * fine)).prompt_tokens

    low, high = 0, max(1, tokens)
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if cost(middle) <= tokens else (low, middle - 1)
    fine = 0
    while fine < 8 and cost(low, fine + 1) <= tokens:
        fine += 1
    return _TASK + _WORD * low + _FINE * fine


def _messages(mark: str, text: str) -> tuple[ChatMessage, ...]:
    """Messages that differ from the first token on, so that no KV cache makes the second prompt cheaper."""
    return (ChatMessage("system", f"{mark}. You are a writer."), ChatMessage("user", text))


def _run(engine: Engine, mark: str, filler: str, tokens: int, rows: int, record: RecordLevel = "off") -> _Run:
    """Raises EngineError if the reply ends with one."""
    sampling = SamplingParams(temperature=0.0, top_k=0, top_p=1.0, max_tokens=tokens)
    request = GenerationRequest(
        id=next(_ids),
        messages=_messages(mark, filler),
        sampling=sampling,
        seed=1,
        candidates=tuple(Candidate(seed=seed) for seed in range(2, rows + 1)),
        record=record,
    )
    recorder, row_stats = Recorder(), GenerationStats()
    times: dict[int, list[float]] = {}
    ids: list[int] = []
    begun_s = time.perf_counter()
    for event in engine.generate(request, GenerationControl(sampling)):
        if isinstance(event, TokenEvent):
            times.setdefault(event.row, []).extend(event.times_s)
            if event.row == 0 and record != "off":
                recorder.add(event)
            if event.row == 0 and event.token_ids:
                ids.extend(event.token_ids)
        elif isinstance(event, RowFinished) and event.row == 0:
            row_stats = event.stats
        elif isinstance(event, GenerationFinished):
            if event.error is not None:
                raise EngineError(event.error.message, event.error.cure, event.error.kind)
            reply = Reply(
                messages=request.messages,
                prompt_tokens=event.stats.prompt_tokens,
                ids=tuple(ids),
            )
            own = row_stats if rows > 1 else event.stats
            return _Run(begun_s, event.stats, times, reply, own, recorder)
    raise EngineError("The reply did not end.", "The log has the details.", "internal")


def _figures(info: EngineInfo, workload: Workload, first: _Run, runs: Sequence[_Run]) -> Figures:
    stats = runs[0].stats
    rows = [times for run in runs for times in run.times_s.values()]
    rates = [rate for times in rows if (rate := _rate(times)) is not None]
    per_user = sum(rates) / len(rates) if rates else None
    prefills = [_prefill_s(run.stats) for run in runs]
    known = [seconds for seconds in prefills if seconds is not None]
    return Figures(
        model=info.model,
        engine=info.engine,
        label=info.label,
        prompt_tokens=stats.prompt_tokens,
        cached_tokens=stats.cached_tokens,
        tokens=len(rows[0]) if rows else 0,
        batch=workload.batch,
        concurrency=len(runs),
        load_s=info.load_s,
        compile_prefill_s=_prefill_s(first.stats),
        ttft_ms=1000 * sum(known) / len(known) / workload.batch if known else None,
        prefill_tps=stats.prefill_tps,
        decode_tps_user=per_user,
        decode_tps=None if per_user is None else per_user * len(rows),
        token_ms=_milestones(rows[0]) if rows else {},
        is_speculating=info.is_speculating,
        tokens_per_forward=(len(rows[0]) - 1) / stats.decode_forwards
        if len(rows) == 1 and stats.decode_forwards
        else None,
        is_by_pieces=stats.is_estimate and stats.chunks == stats.completion_tokens,
    )


def _stream(run: _Run) -> StreamFigures:
    times, prefill_s = run.times_s.get(0, []), _prefill_s(run.stats)
    return StreamFigures(None if prefill_s is None else 1000 * prefill_s, len(times), _rate(times))


def _total_tps(runs: Sequence[_Run]) -> float | None:
    ends = [run.begun_s + times[-1] for run in runs for times in run.times_s.values()]
    if not ends:
        return None
    tokens = sum(len(times) for run in runs for times in run.times_s.values())
    return tokens / (max(ends) - min(run.begun_s for run in runs))


def _prefill_s(stats: GenerationStats) -> float | None:
    """Prefill time, or the time to first token if the engine (a server) does not report prefill."""
    return stats.ttft_s if stats.prefill_s is None else stats.prefill_s


def _rate(times: Sequence[float]) -> float | None:
    """Steps per second after the first step, which is that of the second token."""
    if len(times) < 3 or times[-1] <= times[1]:
        return None
    return (len(times) - 2) / (times[-1] - times[1])


def _milestones(times: Sequence[float]) -> dict[str, float]:
    """Milliseconds of the n-th counted step: from token n + 1 to token n + 2, since prefill gives the first token."""
    return {str(step): 1000 * (times[step + 1] - times[step]) for step in MILESTONES if step + 1 < len(times)}
