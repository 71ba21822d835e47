"""A `ChatSession` driven from a thread that may block: until the model is loaded, until the reply has ended."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import count
from typing import Final, TypeAlias

from ttchat_tui.cli.errors import notify, show_error
from ttchat_tui.cli.headless.interrupts import Interrupts, noted_interrupts
from ttchat_tui.domain.conversation import Message
from ttchat_tui.domain.errors import ErrorInfo
from ttchat_tui.domain.events import (
    EngineEvent,
    EngineFailed,
    EngineLoaded,
    GenerationFinished,
    LoadProgress,
    RowFinished,
    TokenEvent,
)
from ttchat_tui.domain.generation import GenerationStats
from ttchat_tui.domain.model_spec import EngineInfo
from ttchat_tui.domain.thoughts import CLOSING, extract_answer
from ttchat_tui.domain.updates import (
    DraftReturned,
    EngineFault,
    Notice,
    ReplyDelayed,
    ReplyEnded,
    ReplyRewritten,
    ReplyStarted,
    ReplyStreamed,
    Update,
)
from ttchat_tui.session import ChatSession, left_out

POLL_S: Final = 0.1
"""Interval at which a wait checks for signals: a signal's handler cannot set the event that it waits for."""

TextEvent: TypeAlias = TokenEvent | RowFinished | GenerationFinished
"""Events that carry text."""
ShowLoad: TypeAlias = Callable[[LoadProgress], None]
ShowText: TypeAlias = Callable[[TextEvent, str], None]
"""Receives an event and its text. May raise BrokenPipeError: stdout is closed."""

POLLS_PER_TRY: Final = 5
"""Polls between two attempts to send a message while another window answers: each one reads the database."""

ANSWERS_ELSEWHERE: Final = (
    "Another window answers in this conversation: waiting for the end of its reply. ctrl+c gives up."
)
PAUSED_ELSEWHERE: Final = "The reply is paused in that window: space resumes it there."
NOT_SENT: Final = "Nothing was sent."
ENGINE_GONE: Final = ErrorInfo(
    kind="engine_died", message="The engine thread has ended.", cure="Start again."
)
EMPTY_REPLY: Final = "The reply is empty."
NOTHING_BUT_THOUGHTS: Final = "The reply contains only thoughts and no answer."


@dataclass(frozen=True)
class Loaded:
    """How a load ended: with `info`, with `error`, or with both when the previous model stays loaded."""

    info: EngineInfo | None = None
    error: ErrorInfo | None = None
    is_reloading: bool = False
    """With `error`: the previous model is being loaded again, which `wait_for_load` waits for too."""
    signal_number: int = 0


@dataclass
class Replied:
    """How a reply ended. `message` is None if nothing was generated or kept."""

    message: Message | None = None
    siblings: tuple[Message, ...] = ()
    """The other candidates of a batch."""
    batch: GenerationStats | None = None
    """Figures of all candidates together."""
    error: ErrorInfo | None = None
    signal_number: int = 0
    is_reader_gone: bool = False
    is_kept: bool = True
    """Whether the reply could be stored."""

    @property
    def notes(self) -> tuple[str, ...]:
        """Notes on a complete reply, in sentences."""
        if self.message is None or self.message.reply is None:
            return ()
        reply = self.message.reply
        notes = reply.stats.notes if reply.stats else ()
        if (
            not notes
            and reply.finish_reason in ("stop", "length")
            and not extract_answer(self.message.content).strip()
        ):
            return (NOTHING_BUT_THOUGHTS if self.message.content.strip() else EMPTY_REPLY,)
        return notes


def write_text(event: TextEvent, text: str, write: Callable[[str], None]) -> None:
    """Write `text` of `event`. `write` must flush.

    A tag that ends a thought without an opening tag is omitted. The thought is written already, so a note on stderr
    explains it.
    """
    if not isinstance(event, TokenEvent) or not event.ends_thought:
        write(text)
        return
    thought, _, answer = text.partition(CLOSING.strip())
    write(thought.rstrip("\n") + "\n")
    notify("The text above is the model's thinking; its answer follows.")
    write(answer.lstrip("\n"))


class Driver:
    """Receives the engine's events on the calling thread, which must be the main thread because of signals."""

    def __init__(self, session: ChatSession) -> None:
        self.session = session
        self.report: Callable[[ErrorInfo], None] = show_error
        """Receives the errors of what is waited for."""
        self._wakeup = threading.Event()
        self._pending: deque[EngineEvent] = deque()
        session.set_waker(self._wakeup.set)

    def apply_pending(self) -> None:
        """Apply the events that arrived between two waits."""
        self._pending.extend(self.session.events())
        while self._pending:
            self.session.apply(self._pending.popleft())

    def wait_for_load(self, show: ShowLoad) -> Loaded:
        """Wait for the requested load. An interrupt cancels it; the wait ends when it is cancelled.

        Raises:
            KeyboardInterrupt: on a second interrupt.
        """
        with noted_interrupts() as interrupts:
            is_cancelled = False
            for event in self._events():
                if interrupts.signal_number and not is_cancelled:
                    is_cancelled = True
                    self.session.cancel_load()
                match event:
                    case None:
                        if not self.session.is_engine_alive:
                            return Loaded(error=ENGINE_GONE)
                        continue
                    case LoadProgress():
                        show(event)
                    case EngineLoaded(info):
                        self.session.apply(event)
                        return Loaded(info=info, signal_number=interrupts.signal_number)
                    case EngineFailed():
                        (update,) = self.session.apply(event)
                        return Loaded(
                            info=self.session.info,
                            error=update.error if isinstance(update, Notice | EngineFault) else event.error,
                            is_reloading=event.previous == "reloading",
                            signal_number=interrupts.signal_number,
                        )
                    case _:
                        pass
                self.session.apply(event)
        raise AssertionError("the stream of events does not end")

    def wait_for_count(self, draft: str = "") -> list[Update]:
        """Wait until the tokens of the next prompt are counted and its parameters are checked, or the engine cannot do that.
        Returns what has changed."""
        updates = self.session.context.count(draft)
        for event in self._events():
            if event is not None:
                updates += self.session.apply(event)
            if not (self.session.context.is_counting and self.session.is_engine_alive):
                break
        return updates

    def wait_for_reply(self, begin: Callable[[], Sequence[Update]], show: ShowText) -> Replied:
        """Wait for the end of a reply and show its text as it streams. `begin` asks for it, as `submit`, and is called when no
        other window answers in the conversation.

        An interrupt or a closed stdout stops the reply; the text until then is kept.

        Raises:
            KeyboardInterrupt: on a second interrupt.
        """
        replied = Replied()
        with noted_interrupts() as interrupts:
            self._record(self._begun(begin, interrupts), replied)
            if self._is_over:
                replied.signal_number = interrupts.signal_number
                return replied
            for event in self._events():
                if interrupts.signal_number:
                    replied.signal_number = interrupts.signal_number
                    self.session.stop()
                if event is None:
                    self._record(self.session.tick(), replied)
                    if not self.session.is_engine_alive:
                        replied.error = ENGINE_GONE
                        return replied
                    continue
                updates = self.session.apply(event)
                self._show(event, updates, show, replied)
                self._record(updates, replied)
                if self._is_over:
                    break
        return replied

    @property
    def _is_over(self) -> bool:
        """No reply runs, and no candidate waits for the load of its model."""
        return not self.session.is_busy and not self.session.candidates.is_running

    def _begun(self, begin: Callable[[], Sequence[Update]], interrupts: Interrupts) -> Sequence[Update]:
        """What `begin` returns once no other window answers in the conversation; nothing if an interrupt ends the wait."""
        begun, waits, was_paused = begin(), count(), False
        for event in self._events():
            refused = [each.error for each in begun if isinstance(each, DraftReturned | Notice)]
            if all(error.kind != "reply_busy" for error in refused):
                return begun
            if event is not None:
                self.session.apply(event)
                continue
            wait = next(waits)
            if wait == 0:
                notify(ANSWERS_ELSEWHERE)
            if interrupts.signal_number:
                notify(NOT_SENT)
                return ()
            if (is_paused := self.session.other_windows.is_paused) and not was_paused:
                notify(PAUSED_ELSEWHERE)
            was_paused = is_paused
            if wait % POLLS_PER_TRY == 0:
                begun = begin()
        raise AssertionError("the stream of events does not end")

    def _events(self) -> Iterator[EngineEvent | None]:
        """Every event in order, and None in between at least every `POLL_S`."""
        while True:
            self._wakeup.clear()
            self._pending.extend(self.session.events())
            while self._pending:  # events that one wait leaves are the next one's
                yield self._pending.popleft()
            yield None
            self._wakeup.wait(POLL_S)

    def _show(self, event: EngineEvent, updates: Sequence[Update], show: ShowText, replied: Replied) -> None:
        if replied.is_reader_gone or not isinstance(event, TextEvent):
            return
        try:
            if isinstance(event, TokenEvent | RowFinished) and event.row:
                show(event, event.text)  # the session streams row 0 only
            for update in updates:
                if isinstance(update, ReplyStreamed):
                    show(event, update.text)
                elif isinstance(update, ReplyRewritten):
                    show(event, event.text)
        except BrokenPipeError:
            replied.is_reader_gone = True
            self.session.stop()

    def _record(self, updates: Sequence[Update], replied: Replied) -> None:
        for update in updates:
            match update:
                case ReplyEnded(message, error, siblings, batch):
                    replied.message, replied.error = message, error
                    replied.siblings, replied.batch = siblings, batch
                case DraftReturned(_, error):
                    replied.error = error
                    self.session.save_draft("")  # there is no prompt to which it could return
                case Notice(error):
                    self.report(error)
                case ReplyDelayed(_, words):
                    notify(f"{words}.")
                case ReplyStarted(_, dropped) if dropped:
                    notify(left_out(dropped))
                case _:
                    pass
