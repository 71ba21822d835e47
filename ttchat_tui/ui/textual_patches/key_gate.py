"""Ordered input: a key, paste or click enters the app when the previous one has taken effect.

Reads `MessagePump._running`, `_closing`, `_closed`, `_message_queue` and `_next_callbacks` of Textual 8.2.8. Textual posts
a key to the focused widget's queue; without a handler there it bubbles, queue by queue, to the app, which runs its binding.
A letter typed after a backspace has a shorter way and overtakes it. A letter typed after a key that moves the focus or
opens a dialog goes to the old widget. Letters for one text field need not wait for each other: they take the same way.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterable
from typing import Final

from textual import events
from textual.message import Message
from textual.message_pump import MessagePump

GATED: Final = (events.InputEvent, events.Paste, events.AppFocus, events.AppBlur, events.Callback)
"""Input, the events that decide where it goes, and what a driver has the app do after it."""
QUICK_TURNS: Final = 200
"""Iterations of the event loop without a pause. Most keys have taken effect after a dozen."""
PAUSE_S: Final = 0.005
MOST_PAUSES: Final = 400
"""After so many pauses the next key is let in anyway: the app may be waiting for it. Counted in iterations of the loop, not
by the clock, since a busy machine needs longer."""
MOST_LETTERS: Final = 200
"""Letters that are let in without a wait. The screen is drawn between such runs: a terminal without bracketed paste sends
thousands at once."""


def is_idle(pump: MessagePump) -> bool:
    """Whether `pump` has handled all its messages, or has ended."""
    if not pump._running:
        return pump._closing or pump._closed
    ready = pump._message_queue.ready_event
    return not ready.is_set() and bool(getattr(ready, "_waiters", None)) and not pump._next_callbacks


def _is_letter(message: Message) -> bool:
    return isinstance(message, events.Key) and message.is_printable


class KeyGate:
    """Holds input until all message pumps of the app are idle."""

    def __init__(
        self,
        pumps: Callable[[], Iterable[MessagePump]],
        let_in: Callable[[Message], bool],
        is_text_edited: Callable[[], bool],
    ) -> None:
        """
        Args:
            pumps: all pumps that a key may pass through.
            let_in: posts a message to the app.
            is_text_edited: whether keys go into a text field now.
        """
        self._pumps = pumps
        self._let_in = let_in
        self._is_text_edited = is_text_edited
        self._has_begun = asyncio.Event()
        self._waiting: deque[Message] = deque()
        self._task: asyncio.Task[None] | None = None
        self._is_open = False
        """The app has been idle once, with its screen mounted."""
        self._letters = 0
        """Letters let in since the app was last idle; 0 after any other message."""

    def begin(self) -> None:
        """Let input in from now on: there is a screen."""
        self._has_begun.set()

    def accept(self, message: Message) -> None:
        """Let `message` in as soon as all messages before it have taken effect."""
        if isinstance(message, events.MouseMove):
            self._accept_move(message)
            return
        self._waiting.append(message)
        self._start()

    def close(self) -> None:
        """Drop all input from now on."""
        self._waiting.clear()
        if self._task is not None:
            self._task.cancel()

    def _accept_move(self, move: events.MouseMove) -> None:
        """Keep a move in order, but let nothing wait for it: there are hundreds a second, and only the last one counts."""
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
