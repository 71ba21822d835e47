"""A scripted engine: instantaneous or stepped by hand, deterministic to the last figure, with faults on demand.

In a thread:    engine = ScriptedEngine(Script(replies=("Hi!",)))
By hand:        gate = Gate(); engine = ScriptedEngine(Script(stepped=True), gate); ...; gate.release(3)
In a process:   IsolatedEngine(factory=SCRIPTED, environment=script.environment(), ...)
For the UI:     host = scripted_host(Script(...)); host.start(); host.load("scripted"); Recorder(host).until(EngineLoaded)
"""

from __future__ import annotations

import ctypes
import itertools
import os
import select
import signal
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any, Literal, Protocol, TypeVar

import msgspec

from tests.patience import Patience
from tests.scripted_reply import (
    VOCABULARY,
    ScriptedReply,
    batch_finished,
    made_up_scores,
    token_id,
    tokenize,
)
from ttchat_tui.domain.chat import ChatMessage
from ttchat_tui.domain.constraint import Constraint
from ttchat_tui.domain.events import (
    EngineEvent,
    GenerationEvent,
    GenerationFinished,
    LoadPhase,
    LoadProgress,
    PrefillProgress,
    ProgressReporter,
    PromptCounted,
    RequestAdapted,
    Retrying,
    TokenEvent,
)
from ttchat_tui.domain.generation import FinishReason, GenerationControl, GenerationRequest
from ttchat_tui.domain.model_spec import Capabilities, EngineInfo, ModelSpec
from ttchat_tui.domain.sampling import DEFAULTS, SamplingParams, Thinking
from ttchat_tui.engine.base import (
    CannotFollow,
    Engine,
    EngineError,
    ModelLoadError,
    PromptTooLong,
    UnusableConstraint,
    problem_of,
    require_no_constraint,
    require_rows,
)
from ttchat_tui.engine.runtime.host import EngineHost
from ttchat_tui.engine.text.bias_ids import NoSingleToken
from ttchat_tui.engine.text.template import FittedMessages, shorten

SCRIPTED = "tests.fakes:create_scripted"
"""The factory name for `IsolatedEngine`."""
SCRIPT_VARIABLE = "TTCHAT_TEST_SCRIPT"
LOAD_S = 0.5
SHOUT = 2.0
"""At this temperature the reply is in capitals: the visible effect of a change of sampling."""
MODEL_MISSING = "missing"
"""Loading a model of this name fails."""

UNFOLLOWED = "unfollowed"
"""A constraint with this in its text is refused."""

Fault = Literal[
    "", "raise", "bug", "exit", "kill", "abort", "segfault", "hang", "hang_gil", "noise", "unknown_kind"
]
T = TypeVar("T")


class Script(msgspec.Struct, frozen=True, kw_only=True):
    """What the engine does. Empty `replies` echo the last message."""

    replies: tuple[str, ...] = ("Hello! This is a scripted reply, twelve words long, as you see.",)
    """Answer n goes to the n-th user message; after the last one they start again."""
    context_length: int = 256
    batch_sizes: tuple[int, ...] = (1,)
    honours: frozenset[str] = Capabilities().sampling
    """Sampling parameters that the engine says it honours. With `constraint` it replies as the script says all the same."""
    thinking: tuple[Thinking, ...] = ()
    """What the engine says of thinking."""
    logprobs: bool = False
    """Each token comes with made-up probabilities, and with its scores for the preview."""
    end_word: str = ""
    """A token that ends a reply."""
    notes: tuple[str, ...] = ()
    """Notes of a load."""
    refuses: tuple[str, Capabilities] | None = None
    """A note about what a server rejects of each request, and the capabilities without it."""
    busy: str = ""
    """Why a server is busy: the request is retried "in 5 s", without any wait."""
    stepped: bool = False
    """Every token waits for the gate."""
    stepped_load: bool = False
    """Every step of a load waits for the gate."""
    gate: str = ""
    """Path of a FIFO that `Gate(path)` made, for an engine in another process."""
    load_steps: tuple[LoadPhase, ...] = ("start", "read", "convert", "warm up")
    recommended: SamplingParams = SamplingParams(temperature=0.6)
    fault: Fault = ""
    fault_at: int | Literal["load", "count"] = 0
    """The token before which the fault happens (0-based), or the method."""

    def environment(self) -> dict[str, str]:
        """For the child of an `IsolatedEngine`."""
        return {SCRIPT_VARIABLE: msgspec.json.encode(self).decode()}


class Steps(Protocol):
    """What a stepped engine waits at: a `Gate`, or one passage of a served engine's."""

    def wait(self, asking: Callable[[], Any]) -> None: ...


class Gate:
    """Lets tokens of a stepped engine pass, one by one; over a FIFO also in another process."""

    def __init__(self, path: str = "") -> None:
        if path:
            if not os.path.exists(path):
                os.mkfifo(path)
            self._reader = self._writer = os.open(path, os.O_RDWR | os.O_NONBLOCK)
        else:
            self._reader, self._writer = os.pipe()
            os.set_blocking(self._reader, False)

    def __del__(self) -> None:
        for end in {self._reader, self._writer}:
            os.close(end)

    def release(self, steps: int = 1) -> None:
        """Let `steps` tokens (or load steps) pass."""
        os.write(self._writer, b"." * steps)

    def open(self) -> None:
        """Let everything of the next few replies pass."""
        self.release(4000)

    def shut(self) -> None:
        """Withdraw steps that were released and not used."""
        while self._has_step(0):
            os.read(self._reader, 4096)

    def wait(self, asking: Callable[[], Any]) -> None:
        """Wait for one step. Calls `asking` every 10 ms; an exception in it ends the wait."""
        while not self._has_step(0.01):
            asking()
        os.read(self._reader, 1)

    def _has_step(self, timeout_s: float) -> bool:
        """`poll`, since a process of many tests has descriptors that are too large for `select`."""
        poll = select.poll()
        poll.register(self._reader, select.POLLIN)
        return bool(poll.poll(timeout_s * 1_000))


class _Cancelled(Exception):
    """The reply was cancelled at the gate."""


class ScriptedEngine:
    """See `engine.base.Engine`; follows the whole contract, and `Script`."""

    def __init__(self, script: Script | None = None, gate: Steps | None = None) -> None:
        self.script = script or Script()
        script = self.script
        has_steps = script.stepped or script.stepped_load or script.gate
        self.gate: Steps | None = gate or (Gate(script.gate) if has_steps else None)
        self.calls: list[str] = []
        """Names of the methods called, in order: for tests of the host."""
        self.requests: list[GenerationRequest] = []
        self.counted = DEFAULTS
        """The sampling of the last count."""
        self._spec: ModelSpec | None = None
        self._asked: dict[tuple[int, ...], tuple[ChatMessage, ...]] = {}
        """What each prompt was made of, so that its ids can be given."""
        self._words: dict[int, str] = {}
        """Every token so far."""

    def load(self, spec: ModelSpec, report: ProgressReporter) -> EngineInfo:
        self.calls.append("load")
        self._spec = None
        steps = self.script.load_steps
        for done, phase in enumerate(steps):
            progress = LoadProgress(phase=phase, done=done, total=len(steps), unit="steps")
            report(progress)
            if self.script.fault_at == "load" and done == 1:
                fail(self.script.fault)
            if self.script.stepped_load and self.gate:
                self.gate.wait(lambda progress=progress: report(progress))
        if spec.name == MODEL_MISSING:
            raise ModelLoadError(f"There is no model {spec.name!r}.", cure="Choose another.")
        self._spec = spec
        return EngineInfo(
            model=spec.name,
            engine=spec.engine,
            label="scripted",
            context_length=self.script.context_length,
            vocab_size=VOCABULARY,
            load_s=LOAD_S / 10,
            threads=1,
            capabilities=Capabilities(
                sampling=self.script.honours,
                thinking=self.script.thinking,
                logprobs=self.script.logprobs,
                follows=self.script.logprobs,
                kv_reuse=True,
                batch_sizes=self.script.batch_sizes,
            ),
            end_ids=frozenset({token_id(self.script.end_word)} if self.script.end_word else ()),
            notes=self.script.notes,
            recommended=self.script.recommended,
            parameters=134_515_008,
        )

    def count(
        self,
        count_id: int,
        messages: Sequence[ChatMessage],
        sampling: SamplingParams = DEFAULTS,
        keep: Collection[int] = (),
    ) -> PromptCounted:
        self.calls.append("count")
        self.counted = sampling
        self._require_model()
        if self.script.fault_at == "count":
            fail(self.script.fault)
        fitted = self._shorten(messages, keep)
        return PromptCounted(
            count_id,
            fitted.tokens,
            self.script.context_length,
            fitted.dropped,
            message_tokens=tuple(len(tokenize(message.content)) for message in messages),
            fallen=fitted.fallen,
            bias_problem=next((_no_single_token(text).info for text in _several(sampling.logit_bias)), None),
            constraint_problem=problem_of(lambda: self._require(sampling.constraint)),
        )

    def generate(self, request: GenerationRequest, control: GenerationControl) -> Iterator[GenerationEvent]:
        self.calls.append("generate")
        self.requests.append(request)
        request = self._with_messages(request)
        length, has_logprobs = self.script.context_length, self.script.logprobs
        script = tokenize(" ".join(self.script.replies))
        rows = [
            ScriptedReply(request, length, row, has_logprobs=has_logprobs, script=script)
            for row in range(request.rows)
        ]
        reply = rows[0]
        try:
            self._require_model()
            if request.given.is_followed and not self.script.logprobs:
                raise CannotFollow("The script gives no probabilities.", "Use another script.")
            require_rows(request.rows, self.script.batch_sizes)
            for text in _several(request.sampling.logit_bias):
                raise _no_single_token(text)
            if "constraint" not in self.script.honours:
                require_no_constraint(request, "The script has no constraints.")
            self._require(request.sampling.constraint)
            fitted = self._shorten(request.messages, request.keep)
            tokens, reply.dropped = fitted.tokens, fitted.dropped
            if tokens >= self.script.context_length:
                raise PromptTooLong(f"The message needs {tokens} of {self.script.context_length} tokens.")
            reply.prompt_tokens = len(tokenize(request.given.text)) or tokens
            yield msgspec.structs.replace(reply.started(), prompt_ids=self._prompt_ids(request))
            if self.script.busy:
                yield Retrying(request.id, self.script.busy, 5.0, attempt=2, attempts=4)
            if self.script.refuses is not None:
                note, capabilities = self.script.refuses
                yield RequestAdapted(request.id, (note,), capabilities)
            yield PrefillProgress(request.id, reply.prompt_tokens, reply.prompt_tokens)
            yield from self._rows(rows, control) if request.candidates else self._tokens(reply, control)
        except EngineError as error:
            yield reply.finished("error", error.info)

    def unload(self) -> None:
        self.calls.append("unload")
        self._spec = None

    def close(self) -> None:
        self.calls.append("close")
        self._spec = None

    @staticmethod
    def _require(constraint: Constraint | None) -> None:
        if constraint is not None and UNFOLLOWED in constraint.text:
            raise UnusableConstraint(f"The {constraint.kind} cannot be used.", "Correct it.", "usage")

    def _require_model(self) -> None:
        if self._spec is None:
            raise EngineError("No model is loaded.", kind="not_ready")

    def _tokens(self, reply: ScriptedReply, control: GenerationControl) -> Iterator[GenerationEvent]:
        given, index = reply.request.given, 0
        followed = [self._words[each] for each in given.ids] or tokenize(given.text)
        words = deque(followed or tokenize(self._answer(reply.request)))
        while words:
            for change in given.changes:
                if change.at == index:
                    control.set_sampling(change.sampling)
            try:
                yield from self._await_step([reply], control)
            except _Cancelled:
                yield reply.finished("cancelled")
                return
            if index == self.script.fault_at:
                fail(self.script.fault)
            word, is_forced = reply.next_word(words, control)
            if index in given.chosen:
                word, is_forced = self._words[given.chosen[index]], True
            self._words[token_id(word)] = word
            index += 1
            shown = word.upper() if control.sampling.temperature >= SHOUT else word
            yield reply.token(shown, control, is_forced=is_forced)
            if self.script.logprobs and control.is_previewed:
                yield made_up_scores(reply, shown)
            reason = None if followed else reply.end(control.sampling)
            if reason is not None:
                yield reply.finished(reason)
                return
        yield reply.finished("length" if followed else "stop")

    def _with_messages(self, request: GenerationRequest) -> GenerationRequest:
        """With the messages of its prompt, or the text that it follows as one."""
        given = request.given
        if given.text:
            return msgspec.structs.replace(request, messages=(ChatMessage("user", "A text."),))
        asked = self._asked.get(given.prompt_ids, request.messages)
        return msgspec.structs.replace(request, messages=asked)

    def _prompt_ids(self, request: GenerationRequest) -> tuple[int, ...]:
        """One id for each token of `prompt_length`, if the request asks for a recording."""
        if request.record == "off":
            return ()
        ids = [1]
        for message in request.messages:
            ids += [2, *map(token_id, tokenize(message.content)), 3]
        self._asked[tuple(ids)] = request.messages
        return tuple(ids)

    def _rows(self, rows: list[ScriptedReply], control: GenerationControl) -> Iterator[GenerationEvent]:
        """A batch: the gate lets one step of all rows pass."""
        request = rows[0].request
        words = {reply.row: deque(tokenize(self._answer(request, reply.seed))) for reply in rows}
        live = list(rows)
        step = 0
        while live:
            try:
                yield from self._await_step(live, control)
            except _Cancelled:
                for reply in live:
                    yield reply.row_finished("cancelled")
                break
            if step == self.script.fault_at:
                fail(self.script.fault)
            for reply in live:
                if reply.row in control.stopped_rows:
                    yield reply.row_finished("cancelled")
                    continue
                yield from self._row_step(reply, words[reply.row], control)
            live = [reply for reply in live if not reply.reason]
            step += 1
        yield batch_finished(rows)

    def _row_step(
        self, reply: ScriptedReply, words: deque[str], control: GenerationControl
    ) -> Iterator[GenerationEvent]:
        sampling = reply.sampling(control)
        reason: FinishReason | None = "stop"
        if words:
            word, is_forced = reply.next_word(words, control)
            shown = word.upper() if sampling.temperature >= SHOUT else word
            yield reply.token(shown, control, is_forced=is_forced)
            reason = reply.end(sampling)
        if reason is not None:
            yield reply.row_finished(reason)

    def _await_step(self, live: list[ScriptedReply], control: GenerationControl) -> Iterator[GenerationEvent]:
        def asking() -> None:
            if control.is_cancelled:
                raise _Cancelled

        asking()
        if self.script.stepped and self.gate:
            self.gate.wait(asking)
        if control.is_paused:
            while not control.await_step(live[0].forced_taken):
                yield from live[0].take_forced(control)
            for reply in live:
                reply.pause()
        yield from live[0].take_forced(control)
        asking()

    def _answer(self, request: GenerationRequest, seed: int | None = None) -> str:
        """The answer; with a seed other than the request's, it names the seed."""
        said = [message.content for message in request.messages if message.role == "user"]
        replies = self.script.replies
        answer = replies[(len(said) - 1) % len(replies)] if replies else said[-1]
        if request.continue_last:
            answer = answer.removeprefix(request.messages[-1].content)
        return answer if seed in (None, request.seed) else f"{answer} (seed {seed})"

    def _shorten(self, messages: Sequence[ChatMessage], keep: Collection[int]) -> FittedMessages:
        """Drop the oldest turns until the prompt and one token of reply fit."""
        return shorten(messages, prompt_length, self.script.context_length - 1, keep)


def prompt_length(messages: Sequence[ChatMessage]) -> int:
    """Two tokens of template around each message, and one to open the reply."""
    return 1 + sum(2 + len(tokenize(message.content)) for message in messages)


def _several(bias: Mapping[str, float]) -> list[str]:
    """The texts that are not one token."""
    return [text for text in bias if len(tokenize(text)) != 1]


def _no_single_token(text: str) -> NoSingleToken:
    return NoSingleToken(f"{text!r} is several tokens.")


def fail(fault: Fault) -> None:
    """Cause the fault now."""
    match fault:
        case "raise":
            raise EngineError("The script says so.")
        case "unknown_kind":
            raise EngineError("The script says so.", kind="no_such_kind")  # type: ignore[arg-type]
        case "bug":
            raise ZeroDivisionError("the script says so")
        case "exit":
            os._exit(7)
        case "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        case "abort":
            os.write(2, b"TT_FATAL: the script says so\n")
            os.abort()
        case "segfault":
            ctypes.string_at(0)
        case "hang":
            time.sleep(3600)
        case "hang_gil":
            ctypes.PyDLL(None).sleep(3600)
        case "noise":
            make_noise()
        case "":
            pass


def make_noise() -> None:
    """Write to the terminal as native libraries do: escape sequences, warnings, progress bars."""
    os.write(1, b"\x1b[2J\x1b[31mNOISE on fd 1\n")
    os.write(2, b"\x1b]0;NOISE\x07 NOISE on fd 2\r\n")
    print("NOISE by print", flush=True)
    print("NOISE on stderr", file=sys.stderr, flush=True)


def create_scripted(_kind: str) -> ScriptedEngine:
    """The factory for a child process. The script is in its environment."""
    return ScriptedEngine(msgspec.json.decode(os.environ.get(SCRIPT_VARIABLE, "{}"), type=Script))


def prepare_scripted(name: str, report: ProgressReporter) -> ModelSpec:
    """In place of a download: every model is on disk."""
    report(LoadProgress(phase="verify"))
    return ModelSpec(name=name)


def scripted_host(script: Script | None = None, gate: Gate | None = None) -> EngineHost:
    """A host, not yet started, on a scripted engine in its own thread."""
    return host_of(ScriptedEngine(script, gate))


def host_of(engine: Engine) -> EngineHost:
    """A host whose clock advances by half a second at each reading: a load takes that long."""
    return EngineHost(engine, prepare_scripted, clock=itertools.count(0.0, LOAD_S).__next__)


class EventRecorder:
    """All events of a host in order; waits for the next ones without sleeping."""

    def __init__(self, host: EngineHost) -> None:
        self.events: list[EngineEvent] = []
        self._host = host
        self._news = threading.Event()
        self._read = 0
        host.set_waker(self._news.set)

    def until(self, kind: type[T] | tuple[type[T], ...], timeout_s: float = 20.0, **fields: object) -> T:
        """The next event of this kind, with these field values, that was not returned before.

        Raises:
            AssertionError: it does not come. The message has all events so far.
        """
        patience = Patience(timeout_s)
        while True:
            self._news.clear()
            self.events += self._host.drain()
            while self._read < len(self.events):
                event = self.events[self._read]
                self._read += 1
                if isinstance(event, kind) and _matches(event, fields):
                    return event
            while not self._news.wait(0.2):
                if patience.is_out():
                    raise AssertionError(f"no {kind} {fields} among {self.events}")

    def of(self, kind: type[T]) -> list[T]:
        """All events of one kind seen so far."""
        return [event for event in self.events if isinstance(event, kind)]

    def text(self, request_id: int) -> str:
        """The reply's text so far."""
        parts = [e for e in self.events if isinstance(e, TokenEvent | GenerationFinished)]
        return "".join(part.text for part in parts if part.request_id == request_id)


def _matches(event: object, fields: Mapping[str, object]) -> bool:
    return all(getattr(event, name) == value for name, value in fields.items())
