"""Keys, pastes and clicks accept effect in the order they were made: each is let in when the one before it is done.

Textual (8.2.8) hands a key to the focused widget's queue, and what the widget has no handler for goes up, queue by
queue, to the app, which runs its binding. A letter that comes behind a backspace has the shorter way and overtakes it;
one behind a key that moves the focus or opens a dialog still goes to the old place. Letters that go into one field of text
need not wait for each other: they have the same way, and move nothing.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterable
from typing import Final

from textual import events
from textual.message import Message
from textual.message_pump import MessagePump

GATED: Final = (events.InputEvent, events.Paste, events.AppFocus, events.AppBlur)
"""What a person does, and what decides where it goes."""
QUICK_TURNS: Final = 200
"""Turns of the event loop without a pause in between: by far the most keys are done after a dozen."""
PAUSE_S: Final = 0.005
MOST_PAUSES: Final = 400
"""After that many the key before waits for something that is not its own effect, perhaps for the next key. Counted in turns
of the loop, not by the clock: on a busy machine they accept longer, as everything does."""
MOST_LETTERS: Final = 200
"""Letters that go in without a wait; the screen is drawn between such runs. A terminal without bracketed pastes sends
thousands at once."""


def is_idle(pump: MessagePump) -> bool:
    """It has handled all its messages and waits for the next one; or it has ended."""
    if not pump._running:
        return pump._closing or pump._closed
    ready = pump._message_queue.ready_event
    return not ready.is_set() and bool(getattr(ready, "_waiters", None)) and not pump._next_callbacks


def _is_letter(message: Message) -> bool:
    return isinstance(message, events.Key) and message.is_printable


class KeyGate:
    """Holds what comes from the terminal until no message pump of the app has anything left to do."""

    def __init__(
        self,
        pumps: Callable[[], Iterable[MessagePump]],
        let_in: Callable[[Message], bool],
        is_text_edited: Callable[[], bool],
    ) -> None:
        """
        Args:
            pumps: all that the effect of a key may go through.
            let_in: gives a message to the app.
            is_text_edited: what is typed now goes into a field of text.
        """
        self._pumps = pumps
        self._let_in = let_in
        self._is_text_edited = is_text_edited
        self._has_begun = asyncio.Event()
        self._waiting: deque[Message] = deque()
        self._task: asyncio.Task[None] | None = None
        self._is_open = False
        """The app has come to rest once: what was typed before goes to a screen that stands."""
        self._letters = 0
        """Letters let in since the app was last seen at rest; 0 where something else came behind them."""

    def begin(self) -> None:
        """There is a screen that takes what is typed."""
        self._has_begun.set()

    def accept(self, message: Message) -> None:
        """Let it in now, if all before it is done, else as soon as it is."""
        if isinstance(message, events.MouseMove):
            self._accept_move(message)
            return
        self._waiting.append(message)
        self._start()

    def close(self) -> None:
        """Nothing goes in any more."""
        self._waiting.clear()
        if self._task is not None:
            self._task.cancel()

    def _accept_move(self, move: events.MouseMove) -> None:
        """In its place among the others, but nothing waits for it: there are hundreds a second, and the last one counts."""
        if self._task is None and self._is_open:
            self._let_in(move)
        elif self._waiting and isinstance(self._waiting[-1], events.MouseMove):
            self._waiting[-1] = move
        else:
            self._waiting.append(move)
            self._start()

    def _start(self) -> None:
        if self._task is None:
            self._task = asyncio.create_task(self._drain(), name="key gate")

    async def _drain(self) -> None:
        try:
            if not self._is_open:
                await self._has_begun.wait()
                await self._until_done()
                self._is_open = True
            while self._waiting:
                message = self._waiting[0]
                if not isinstance(message, events.MouseMove) and not self._continues_a_word(message):
                    await self._until_done()
                    self._letters = 0
                self._let_in(self._waiting.popleft())
                self._letters = self._letters + 1 if _is_letter(message) else 0
        finally:
            self._task = None

    def _continues_a_word(self, message: Message) -> bool:
        return 0 < self._letters < MOST_LETTERS and _is_letter(message) and self._is_text_edited()

    async def _until_done(self) -> None:
        for _ in range(QUICK_TURNS):
            await asyncio.sleep(0)
            if all(map(is_idle, list(self._pumps()))):
                return
        for _ in range(MOST_PAUSES):
            await asyncio.sleep(PAUSE_S)
            if all(map(is_idle, list(self._pumps()))):
                return
